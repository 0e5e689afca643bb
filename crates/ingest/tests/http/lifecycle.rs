//! Paths, probes, metrics, and the end of a collector.

use std::time::Duration;

use footfall_ingest::IngestSettings;

use crate::server::{Server, event};

#[tokio::test]
async fn paths_that_are_not_there_are_told() {
    let server = Server::start(IngestSettings::default()).await;
    let missing = server.get("/v2/events").await;
    assert_eq!(missing.status, 404);
    assert!(missing.body.contains("`/v2/events`"), "{}", missing.body);
    assert!(missing.body.contains("POST /v1/events"), "{}", missing.body);
    let wrong = server.get("/v1/events").await;
    assert_eq!((wrong.status, wrong.head.contains("allow: post")), (405, true));
    let wrong = server.post("/livez", "", b"").await;
    assert_eq!((wrong.status, wrong.head.contains("allow: get")), (405, true));
    assert_eq!(server.get("/livez").await.status, 200);
    assert_eq!(server.get("/readyz").await.status, 200);
    server.stop().await;
}

/// `clock_offset_seconds` is moved by a test in `clock.rs`, beside a clock that is off.
#[tokio::test]
async fn each_metric_moves() {
    let server = Server::start(IngestSettings::default()).await;
    let batch = format!("[{},{},5]", event("a", "v"), event("b", "v"));
    let old = r#"{"event_name":"e","timestamp":"2020-01-01T00:00:00Z"}"#;
    let long = format!(r#"{{"event_name":"{}"}}"#, "x".repeat(513));
    let large = format!(r#"{{"event_name":"e","p":"{}"}}"#, "x".repeat(65_536));
    let many = format!("[{}5]", "5,".repeat(10_000));
    // Path, header, body, status; all but the last leave a row for each refused event or body.
    let requests: [(&str, &str, &str, u16); 11] = [
        ("/v1/events", "", &batch, 202),
        ("/v1/track", "", r#"{"event":"e"}"#, 200),
        ("/v1/events", "", "{", 400),
        ("/v1/events", "", r#"{"event_name":"e","sent_at":"now"}"#, 400),
        ("/v1/events", "", r#"{"event_name":"e","value":1e13}"#, 400),
        ("/v1/events", "", "{}", 400),
        ("/v1/events", "", &long, 400),
        ("/v1/events", "", old, 400),
        ("/v1/events", "", &large, 400),
        ("/v1/events", "", &many, 413),
        ("/v1/events", "Content-Encoding: br\r\n", "x", 415),
    ];
    let mut bytes = 0;
    for (path, headers, body, status) in requests {
        assert_eq!(server.post(path, headers, body.as_bytes()).await.status, status, "{body:.80}");
        bytes += body.len();
    }
    server.get("/nowhere").await;
    server.get("/v1/events").await;
    let mut waiting = server.connect().await;
    waiting.send_head("/v1/events", "", 10).await;
    while server.metric("footfall_ingest_in_flight").await < 2.0 {}
    let reasons = [
        "bad_json",
        "bad_type",
        "bad_time",
        "bad_value",
        "missing",
        "too_long",
        "too_old",
        "too_large",
        "too_many",
        "unsupported",
    ];
    let rejected = reasons.map(|reason| (format!("rejected_total{{reason=\"{reason}\"}}"), 1.0));
    let statuses = [(202, 1), (400, 7), (404, 1), (405, 1), (413, 1), (415, 1), (503, 0)];
    let answered = statuses.map(|(status, count)| {
        (format!("requests_total{{status=\"{status}\"}}"), f64::from(count))
    });
    let others = [
        ("received_total{protocol=\"events\"}", 12.0),
        ("received_total{protocol=\"segment\"}", 1.0),
        ("accepted_total", 3.0),
        ("acknowledge_seconds_count", 11.0),
        ("bytes_total", bytes as f64),
        ("in_flight", 2.0),
    ];
    let others = others.map(|(name, value)| (name.to_owned(), value));
    for (name, value) in others.into_iter().chain(rejected).chain(answered) {
        assert_eq!(server.metric(&format!("footfall_ingest_{name}")).await, value, "{name}");
    }
    drop(waiting);
    server.stop().await;
}

#[tokio::test]
async fn a_request_under_way_is_finished_at_shutdown() {
    let server = Server::start(IngestSettings::default()).await;
    let mut idle = server.connect().await;
    assert_eq!(idle.post("/v1/events", "", event("a", "v").as_bytes()).await.status, 202);
    let mut busy = server.connect().await;
    let body = event("b", "v");
    busy.send_head("/v1/events", "", body.len()).await;
    while server.metric("footfall_ingest_in_flight").await < 2.0 {}
    server.shutdown.cancel();
    assert!(idle.answer().await.is_none(), "an idle connection is closed at once");
    busy.send(body.as_bytes()).await;
    let answer = busy.answer().await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert!(busy.answer().await.is_none(), "and no further request is taken");
    let rows = server.rows().await.len();
    assert_eq!(rows, 2);
    server.stop().await;
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_hold_up_the_shutdown() {
    let settings =
        IngestSettings { drain_timeout: Duration::from_millis(50), ..Default::default() };
    let server = Server::start(settings).await;
    let mut stuck = server.connect().await;
    stuck.send_head("/v1/events", "", 100).await;
    while server.metric("footfall_ingest_in_flight").await < 2.0 {}
    server.shutdown.cancel();
    assert!(stuck.answer().await.is_none());
    server.stop().await;
}
