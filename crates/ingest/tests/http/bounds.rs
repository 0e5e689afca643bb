//! Bounds of the whole process: connections, bodies under way, time, and the log's queue.

use std::time::{Duration, Instant};

use footfall_ingest::IngestSettings;

use crate::server::{Server, event};

const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn overload_is_answered_before_the_body_is_read() {
    let settings = IngestSettings {
        event_bytes_max: 10_000,
        body_bytes_max: 60_000,
        inflated_bytes_max: 60_000,
        bodies_bytes_max: 65_000,
        ..Default::default()
    };
    let server = Server::start(settings).await;
    let mut first = server.connect().await;
    let body = format!("{}{}", event("a", "v"), " ".repeat(50_000));
    first.send_head("/v1/events", "", body.len()).await;
    while server.metric("footfall_ingest_in_flight").await < 2.0 {}
    let mut second = server.connect().await;
    second.send_head("/v1/events", "Expect: 100-continue\r\n", 20_000).await;
    let answer = second.answer().await.unwrap();
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.head.contains("retry-after: "), "{}", answer.head);
    assert!(answer.body.contains("bodies_bytes_max"), "{}", answer.body);
    let small = server.post("/v1/events", "", event("b", "v").as_bytes()).await;
    assert_eq!(small.status, 202, "what fits is still taken");
    first.send(body.as_bytes()).await;
    assert_eq!(first.answer().await.unwrap().status, 202);
    let freed = server.post("/v1/events", "", " ".repeat(55_000).as_bytes()).await;
    assert_eq!(freed.status, 400, "the first body's room is free again");
    server.stop().await;
}

#[tokio::test]
async fn a_slow_head_is_cut() {
    let settings = IngestSettings { header_read_timeout: SHORT, ..Default::default() };
    let server = Server::start(settings).await;
    let mut silent = server.connect().await;
    assert!(silent.answer().await.is_none(), "a client that says nothing");
    let mut slow = server.connect().await;
    slow.send(b"POST /v1/events HTTP/1.1\r\nHost:").await;
    assert!(slow.answer().await.is_none(), "a client that stops within its head");
    let mut second = server.connect().await;
    assert_eq!(second.post("/v1/events", "", event("a", "v").as_bytes()).await.status, 202);
    second.send(b"POST /v1/").await;
    assert!(second.answer().await.is_none(), "a second head on a connection");
    server.stop().await;
}

#[tokio::test]
async fn a_busy_connection_outlives_the_time_for_a_head() {
    let settings = IngestSettings { header_read_timeout: SHORT, ..Default::default() };
    let server = Server::start(settings).await;
    let mut client = server.connect().await;
    let until = Instant::now() + 4 * SHORT;
    while Instant::now() < until {
        assert_eq!(client.post("/nowhere", "", b"").await.status, 404, "answered at once");
        assert_eq!(client.post("/v1/events", "", event("a", "v").as_bytes()).await.status, 202);
    }
    server.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_later_than_a_slow_head() {
    let settings = IngestSettings {
        header_read_timeout: Duration::from_secs(3_600),
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
    let settings = IngestSettings { body_read_timeout: SHORT, ..Default::default() };
    let server = Server::start(settings).await;
    let mut client = server.connect().await;
    client.send_head("/v1/events", "", 100).await;
    client.send(b"{").await;
    let answer = client.answer().await.unwrap();
    assert_eq!(answer.status, 408);
    assert!(answer.body.contains("body_read_timeout, 0.05 s"), "{}", answer.body);
    assert!(server.rows().await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_bound_are_told() {
    let server = Server::start(IngestSettings { connections_max: 1, ..Default::default() }).await;
    let mut only = server.connect().await;
    assert_eq!(only.post("/v1/events", "", event("a", "v").as_bytes()).await.status, 202);
    let answer = server.post("/v1/events", "", event("b", "v").as_bytes()).await;
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: "), "{}", answer.head);
    assert!(answer.body.contains("connections_max"), "{}", answer.body);
    drop(only);
    while server.post("/v1/events", "", event("b", "v").as_bytes()).await.status != 202 {}
    assert_eq!(server.rows().await.len(), 2);
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
        connections_max: 0,
        ..Default::default()
    };
    let text = settings.check().unwrap_err().to_string();
    for part in ["`a b`", "event_bytes_max is 900000", "the log takes", "connections_max is 0"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(IngestSettings::default().check().is_ok());
}
