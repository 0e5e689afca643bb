//! Bounds of the whole process: connections, bodies under way, time, and the log's queue.

use std::time::{Duration, Instant};

use footfall_ingest::IngestSettings;

use crate::server::{Client, Server, event};

/// For what shall be cut.
const SHORT: Duration = Duration::from_millis(50);
/// For a good request, which a busy machine may take long to send.
const AMPLE: Duration = Duration::from_secs(2);

/// Room for two bodies of 190,000 bytes and not for three.
fn narrow() -> IngestSettings {
    IngestSettings {
        event_bytes_max: 10_000,
        body_bytes_max: 200_000,
        inflated_bytes_max: 200_000,
        bodies_in_flight_bytes_max: 531_072,
        ..Default::default()
    }
}

/// Connections that announced a body of `bytes` each, and send none of it.
async fn announce<const N: usize>(
    server: &Server,
    path: &str,
    headers: &str,
    bytes: usize,
) -> [Client; N] {
    let mut clients = Vec::new();
    for _ in 0..N {
        let mut client = server.connect().await;
        client.send_head(path, headers, bytes).await;
        clients.push(client);
    }
    // The request for the metric counts too.
    while server.metric("footfall_ingest_in_flight").await < (N + 1) as f64 {}
    clients.try_into().unwrap_or_else(|_| unreachable!("there are N of them"))
}

#[tokio::test]
async fn overload_is_answered_before_the_body_is_read() {
    let server = Server::start(narrow()).await;
    let body = format!("{}{}", event("a", "v"), " ".repeat(190_000));
    let [mut first, mut second] = announce(&server, "/v1/events", "", body.len()).await;
    // What was announced holds no room, what has come does.
    assert_eq!(server.connect().await.ask("/v1/events", body.len()).await, 100);
    for client in [&mut first, &mut second] {
        client.send(&body.as_bytes()[..180_000]).await;
    }
    while server.connect().await.ask("/v1/events", body.len()).await != 503 {}
    let mut asking = server.connect().await;
    asking.send_head("/v1/events", "Expect: 100-continue\r\n", body.len()).await;
    let answer = asking.answer().await.unwrap();
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.head.contains("retry-after: "), "{}", answer.head);
    assert!(answer.body.contains("bodies_in_flight_bytes_max"), "{}", answer.body);
    let small = server.post("/v1/events", "", event("b", "v").as_bytes()).await;
    assert_eq!(small.status, 202, "what fits is still taken");
    first.send(&body.as_bytes()[180_000..]).await;
    assert_eq!(first.answer().await.unwrap().status, 202);
    let freed = server.post("/v1/events", "", body.as_bytes()).await;
    assert_eq!(freed.status, 202, "the first body's room is free again");
    server.stop().await;
}

#[tokio::test]
async fn an_overload_is_told_to_who_sends_before_it_listens() {
    let server = Server::start(IngestSettings {
        bodies_in_flight_bytes_max: 20 * 1024 * 1024 + 131_072,
        ..Default::default()
    })
    .await;
    let mut silent: [Client; 5] = announce(&server, "/v1/events", "", 4_000_000).await;
    let large = vec![b' '; 4_000_000];
    for client in &mut silent {
        client.send(&large[1..]).await;
    }
    while server.connect().await.ask("/v1/events", 4_000_000).await != 503 {}
    assert_eq!(server.post("/v1/events", "", &large).await.status, 503);
    server.stop().await;
}

#[tokio::test]
async fn an_answer_takes_up_room_until_it_is_taken() {
    const ANNOUNCED: usize = 4_000_000;
    let server = Server::start(IngestSettings {
        batch_events_max: 100_000,
        bodies_in_flight_bytes_max: 20 * 1024 * 1024 + 131_072,
        ..Default::default()
    })
    .await;
    let mut reader = server.connect_narrow().await;
    post_many(&mut reader).await;
    while server.metric("footfall_ingest_accepted_total").await < 100_000.0 {}
    // Beside an answer of some 7 MB there is room for three, and without it for five.
    let mut asked = Vec::new();
    for _ in 0..3 {
        let mut client = server.connect().await;
        assert_eq!(client.ask("/v1/events", ANNOUNCED).await, 100);
        client.send(&vec![b' '; ANNOUNCED - 1]).await;
        asked.push(client);
    }
    while server.connect().await.ask("/v1/events", ANNOUNCED).await != 503 {}
    let answer = reader.answer().await.unwrap();
    assert_eq!((answer.status, answer.json()["events"].as_array().unwrap().len()), (202, 100_000));
    while server.connect().await.ask("/v1/events", ANNOUNCED).await != 100 {}
    server.shutdown.cancel();
    drop(asked);
    server.stop().await;
}

/// Sends 100,000 events, whose answer is four times as large as they are.
async fn post_many(client: &mut Client) {
    let body = format!("[{}5]", r#"{"event_name":"e"},"#.repeat(100_000));
    let body = body.replace(",5]", "]");
    client.send_head("/v1/events", "", body.len()).await;
    client.send(body.as_bytes()).await;
}

#[tokio::test]
async fn an_answer_that_is_taken_slowly_is_cut() {
    let settings =
        IngestSettings { batch_events_max: 100_000, body_timeout: AMPLE, ..Default::default() };
    let server = Server::start(settings).await;
    let mut reader = server.connect_narrow().await;
    post_many(&mut reader).await;
    // At this pace the whole answer would take half a minute, in which bytes never cease.
    let pace = Duration::from_millis(20);
    let taken = reader.take_slowly(4_096, pace).await;
    assert!((1..7_000_000).contains(&taken), "{taken} bytes were taken");
    server.stop().await;
}

#[tokio::test]
async fn the_list_of_events_is_left_out_where_it_has_no_room() {
    let server = Server::start(narrow()).await;
    let body = format!("[{}5]", "5,".repeat(1_999));
    let mut silent: [Client; 2] = announce(&server, "/v1/events", "", 190_000).await;
    for client in &mut silent {
        client.send(&[b' '; 189_999]).await;
    }
    while server.connect().await.ask("/v1/events", 190_000).await != 503 {}
    let answer = server.post("/v1/events", "", body.as_bytes()).await;
    assert_eq!((answer.status, answer.body.as_str()), (202, r#"{"accepted":0,"rejected":2000}"#));
    drop(silent);
    loop {
        let answer = server.post("/v1/events", "", body.as_bytes()).await.json();
        let Some(events) = answer["events"].as_array() else { continue };
        assert_eq!(events.len(), 2_000);
        break;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_head_beyond_its_bound_is_refused() {
    let settings = IngestSettings { header_bytes_max: 8 * 1024, ..Default::default() };
    let server = Server::start(settings).await;
    for (bytes, status) in [(7_000, 202), (9_000, 431)] {
        let mut client = server.connect().await;
        let headers = format!("X-Long: {}\r\n", "x".repeat(bytes));
        client.send_head("/v1/events", &headers, event("a", "v").len()).await;
        if status == 202 {
            client.send(event("a", "v").as_bytes()).await;
        }
        assert_eq!(client.answer().await.map(|answer| answer.status), Some(status), "{bytes}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_slow_head_is_cut() {
    let settings = IngestSettings { header_timeout: SHORT, ..Default::default() };
    let server = Server::start(settings).await;
    let mut silent = server.connect().await;
    assert!(silent.answer().await.is_none(), "a client that says nothing");
    let mut slow = server.connect().await;
    slow.send(b"POST /v1/events HTTP/1.1\r\nHost:").await;
    assert!(slow.answer().await.is_none(), "a client that stops within its head");
    server.stop().await;
}

#[tokio::test]
async fn a_slow_second_head_is_cut() {
    let settings = IngestSettings { header_timeout: AMPLE, ..Default::default() };
    let server = Server::start(settings).await;
    let mut second = server.connect().await;
    assert_eq!(second.post("/v1/events", "", event("a", "v").as_bytes()).await.status, 202);
    second.send(b"POST /v1/").await;
    assert!(second.answer().await.is_none());
    server.stop().await;
}

#[tokio::test]
async fn a_busy_connection_outlives_the_time_for_a_head() {
    let settings = IngestSettings { header_timeout: AMPLE, ..Default::default() };
    let server = Server::start(settings).await;
    let mut client = server.connect().await;
    let until = Instant::now() + AMPLE + AMPLE / 2;
    while Instant::now() < until {
        assert_eq!(client.post("/nowhere", "", b"").await.status, 404, "answered at once");
        assert_eq!(client.post("/v1/events", "", event("a", "v").as_bytes()).await.status, 202);
    }
    server.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_later_than_a_slow_head() {
    let settings = IngestSettings {
        header_timeout: Duration::from_secs(3_600),
        keep_alive_timeout: SHORT,
        ..Default::default()
    };
    let server = Server::start(settings).await;
    let mut client = server.connect().await;
    assert_eq!(client.post("/v1/events", "", event("a", "v").as_bytes()).await.status, 202);
    assert!(client.answer().await.is_none());
    server.stop().await;
}

#[tokio::test]
async fn a_slow_body_is_told() {
    let settings = IngestSettings { body_timeout: SHORT, ..Default::default() };
    let server = Server::start(settings).await;
    let mut client = server.connect().await;
    client.send_head("/v1/events", "", 100).await;
    client.send(b"{").await;
    let answer = client.answer().await.unwrap();
    assert_eq!(answer.status, 408);
    assert!(answer.body.contains("within body_timeout, 0.05 s"), "{}", answer.body);
    assert!(server.rows().await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_bound_are_told() {
    let settings = IngestSettings {
        connections_max: 1,
        // However long this test stands still.
        client_wait_min: Duration::from_secs(3_600),
        ..Default::default()
    };
    let server = Server::start(settings).await;
    let mut only = server.connect().await;
    assert_eq!(only.post("/v1/events", "", event("a", "v").as_bytes()).await.status, 202);
    let answer = server.post("/v1/events", "", event("b", "v").as_bytes()).await;
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: "), "{}", answer.head);
    assert!(answer.body.contains("connections_max"), "{}", answer.body);
    let large = vec![b' '; 4_000_000];
    assert_eq!(server.post("/v1/events", "", &large).await.status, 503, "sent before it listens");
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(server.get(path).await.status, 200, "{path} of a busy process");
    }
    drop(only);
    while server.post("/v1/events", "", event("b", "v").as_bytes()).await.status != 202 {}
    assert_eq!(server.rows().await.len(), 2);
    server.stop().await;
}

#[tokio::test]
async fn who_says_nothing_gives_up_its_place() {
    let server = Server::start(IngestSettings { connections_max: 1, ..Default::default() }).await;
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    slow.send(b"POST /v1/events HTTP/1.1\r\nHost:").await;
    let answer = server.post("/v1/events", "", event("a", "v").as_bytes()).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert!(silent.answer().await.is_none() && slow.answer().await.is_none());
    assert_eq!(server.metric("footfall_ingest_turned_out_total").await, 2.0);
    server.stop().await;
}

#[tokio::test]
async fn a_full_log_is_told() {
    let server = Server::start_with(IngestSettings::default(), |log| {
        (log.bytes_max, log.segment_ms) = (Some(1), 40);
    })
    .await;
    let mut taken = 0;
    let answer = loop {
        let answer = server.post("/v1/events", "", event("a", "v").as_bytes()).await;
        match answer.status {
            202 => taken += 1,
            _ => break answer,
        }
    };
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.head.contains("retry-after: "), "{}", answer.head);
    assert_eq!(server.rows().await.len(), taken, "what was answered 503 is not there");
    let asked = server.connect().await.ask("/v1/events", 1_000).await;
    assert_eq!(asked, 503, "the body is not wanted");
    let ready = server.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.body.len() > 20, "a reason in words: {}", ready.body);
    server.stop().await;
}

#[tokio::test]
async fn settings_that_do_not_fit_are_all_told() {
    let settings = IngestSettings {
        default_site: "a b".to_owned(),
        event_bytes_max: 900_000,
        body_bytes_max: 800_000,
        bodies_in_flight_bytes_max: 17_708_287,
        connections_max: 0,
        ..Default::default()
    };
    let text = settings.check().unwrap_err().to_string();
    for part in [
        "`a b`",
        "event_bytes_max is 900000",
        "the log takes",
        "connections_max is 0",
        "bodies_in_flight_bytes_max is 17708287",
        "are 17708288 together",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(IngestSettings::default().check().is_ok());
    assert!(narrow().check().is_ok());
}
