//! Segment's endpoints as its server SDKs, and RudderStack's, call them.

use footfall_ingest::IngestSettings;
use footfall_log::Kind;

use crate::server::Server;

#[tokio::test]
async fn sdks_are_answered_as_segment_does() {
    let server = Server::start(IngestSettings::default()).await;
    let batch = br#"{"batch":[
        {"type":"track","event":"Order Completed","messageId":"m1","anonymousId":"a1",
         "timestamp":"2026-11-22T17:57:19.525Z","properties":{"order_id":"o1","revenue":42.5}},
        {"type":"page","messageId":"m2","userId":"u1","anonymousId":null},
        {"type":"track","messageId":"m3","anonymousId":"a1"}],
        "sentAt":"2026-11-22T17:57:20.525Z"}"#;
    let text = "Content-Type: text/plain\r\n";
    let answer = server.post("/v1/batch", text, batch).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.starts_with(r#"{"success":true,"accepted":2,"rejected":1,"#));
    let page = br#"{"anonymousId":"a1","messageId":"m4","properties":{"path":"/p/1"}}"#;
    assert_eq!(server.post("/v1/page", text, page).await.status, 200);
    let identify = br#"{"userId":"u1","messageId":"m5","traits":{"plan":"pro"}}"#;
    assert_eq!(server.post("/v1/identify", text, identify).await.status, 200);

    let rows = server.rows().await;
    let by_id = |id: &str| {
        rows.iter().find(|row| row.json["event_id"] == id || row.json["id"] == id).unwrap()
    };
    let order = &by_id("m1").json;
    assert_eq!((&order["visitor_id"], &order["value"]), (&"a1".into(), &42.5.into()));
    let sent_ago = order["received_time"].as_i64().unwrap() - order["event_time"].as_i64().unwrap();
    assert_eq!(sent_ago, 1_000_000, "the clock is corrected by the batch's sentAt");
    assert_eq!(by_id("m2").json["visitor_id"], "u:u1");
    assert_eq!(by_id("m2").json["event_name"], "page_view");
    let bad = by_id("m3");
    assert_eq!((bad.kind, &bad.json["visitor_id"]), (Kind::Rejected, &"a1".into()));
    assert_eq!(by_id("m4").json["page_path"], "/p/1");
    assert_eq!(by_id("m5").json["properties"]["traits"]["plan"], "pro");
    server.stop().await;
}

#[tokio::test]
async fn bad_calls_are_told() {
    let server = Server::start(IngestSettings::default()).await;
    let cases: [(&str, &[u8], &str); 5] = [
        ("/v1/track", b"{}", "event: is required by `track`"),
        ("/v1/track", b"nonsense", "line 1 column 2"),
        ("/v1/batch", b"{}", "batch: is required"),
        ("/v1/batch", br#"{"batch":[]}"#, "batch: holds no event"),
        ("/v1/batch", br#"[{"type":"page"}]"#, "body: invalid type"),
    ];
    for (path, body, says) in cases {
        let answer = server.post(path, "", body).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
        assert!(answer.json()["error"].as_str().unwrap().contains(says), "{}", answer.body);
    }
    assert_eq!(server.rows().await.len(), 4, "all but the empty batch leave a row");
    server.stop().await;
}
