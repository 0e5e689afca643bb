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

#[tokio::test]
async fn each_metric_moves() {
    let server = Server::start(IngestSettings::default()).await;
    let batch = format!("[{},{},5]", event("a", "v"), event("b", "v"));
    server.post("/v1/events", "", batch.as_bytes()).await;
    let track = br#"{"event":"e"}"#;
    server.post("/v1/track", "", track).await;
    server.get("/nowhere").await;
    let expected = [
        ("received_total{protocol=\"events\"}", 3.0),
        ("received_total{protocol=\"segment\"}", 1.0),
        ("accepted_total", 3.0),
        ("rejected_total{reason=\"bad_type\"}", 1.0),
        ("rejected_total{reason=\"bad_json\"}", 0.0),
        ("requests_total{status=\"202\"}", 1.0),
        ("requests_total{status=\"404\"}", 1.0),
        ("acknowledge_seconds_count", 2.0),
        ("bytes_total", (batch.len() + track.len()) as f64),
        ("in_flight", 1.0),
        ("clock_offset_seconds", 0.0),
    ];
    for (name, value) in expected {
        assert_eq!(server.metric(&format!("footfall_ingest_{name}")).await, value, "{name}");
    }
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
