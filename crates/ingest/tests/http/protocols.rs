//! GA4's and CloudEvents' requests: keys, paths, answers, and what is kept of the good and of the bad.

use footfall_ingest::{IngestSettings, Key};
use footfall_log::Kind;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::server::Server;

const PAGE: &str = "Origin: https://shop.example\r\nContent-Type: text/plain\r\n";

async fn start() -> Server {
    let key = Key {
        site: "shop".to_owned(),
        sha256: Sha256::digest("G-SHOP").into(),
        origins: vec!["https://shop.example".to_owned()],
    };
    Server::start(IngestSettings { keys: vec![key], ..Default::default() }).await
}

/// The second time it is known by its id, which is that of the first.
#[tokio::test]
async fn the_measurement_protocol_has_its_key_in_the_query() {
    let server = start().await;
    let body = json!({
        "client_id": "1679088078.1677654582", "user_id": "u1",
        "timestamp_micros": footfall_event::Micros::clock().0.to_string(),
        "events": [{"name": "purchase", "params": {"transaction_id": "T1", "value": 42.5}}, {"name": ""}],
    })
    .to_string();
    let path = "/mp/collect?measurement_id=G-1&api_secret=";
    for _ in 0..2 {
        let answer = server.post(&format!("{path}G-SHOP"), "", body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let counts = (&answer.json()["accepted"], &answer.json()["rejected"]);
        assert_eq!(counts, (&json!(1), &json!(1)), "{}", answer.body);
    }
    for key in ["other", ""] {
        let answer = server.post(&format!("{path}{key}"), "", body.as_bytes()).await;
        assert_eq!(answer.status, 401, "{key}: {}", answer.body);
    }
    let rows = server.rows().await;
    assert_eq!(rows.len(), 4);
    let of = |kind: Kind| rows.iter().filter(move |row| row.kind == kind);
    let ids: Vec<&Value> = of(Kind::Event).map(|row| &row.json["event_id"]).collect();
    assert_eq!(ids[0], ids[1]);
    for row in of(Kind::Rejected) {
        let payload: Value = serde_json::from_str(row.json["payload"].as_str().unwrap()).unwrap();
        assert_eq!(payload["events"], json!([{"name": ""}]));
        assert_eq!(payload["client_id"], "1679088078.1677654582");
        assert_eq!(row.json["visitor_id"], "1679088078.1677654582");
    }
    server.stop().await;
}

#[tokio::test]
async fn snowplows_pages_are_held_to_their_origin() {
    let server = start().await;
    let body = br#"{"data":[{"e":"pv","aid":"G-SHOP","duid":"v","eid":"e"}]}"#;
    let path = "/com.snowplowanalytics.snowplow/tp2";
    let foreign = server.post(path, "Origin: https://evil.example\r\n", body).await;
    assert_eq!(foreign.status, 403, "{}", foreign.body);
    assert_eq!(server.post(path, PAGE, body).await.status, 200);
    assert_eq!(server.rows().await.len(), 1);
    server.stop().await;
}

/// A page that cuts a title within an emoji sends half of it.
#[tokio::test]
async fn half_a_character_loses_no_event() {
    let server = start().await;
    let calls = [
        (
            "/v1/events?writeKey=G-SHOP",
            r#"{"event_name":"e","visitor_id":"v","page_title":"a\ud83d"}"#,
        ),
        (
            "/v1/page?writeKey=G-SHOP",
            r#"{"anonymousId":"v","properties":{"title":"a\ud83d","x":"\ude00"}}"#,
        ),
    ];
    for (path, body) in calls {
        let answer = server.post(path, PAGE, body.as_bytes()).await;
        assert!([200, 202].contains(&answer.status), "{path}: {}", answer.body);
    }
    let rows = server.rows().await;
    assert_eq!(rows.len(), calls.len());
    assert!(rows.iter().all(|row| row.json["page_title"] == "a\u{fffd}"));
    server.stop().await;
}

/// By GET, by POST with all in the query, and by POST with a line for each.
#[tokio::test]
async fn gtag_sends_hits() {
    let server = start().await;
    let all = "v=2&cid=1.2&sid=9&dl=https%3A%2F%2Fshop.example%2Fp";
    let hit = |tid: &str, more: &str| format!("/g/collect?{all}&tid={tid}{more}");
    assert_eq!(server.get(&hit("G-SHOP", "&en=page_view")).await.status, 200);
    let view = server.post(&hit("G-SHOP", "&en=view_item"), PAGE, b"").await;
    assert_eq!(view.status, 200, "{}", view.body);
    let lines = b"en=scroll\r\nen=add_to_cart&epn.value=7.5\r\n";
    let several = server.post(&hit("G-SHOP", ""), PAGE, lines).await;
    assert_eq!(several.json()["accepted"], 2, "{}", several.body);
    assert_eq!(server.post(&hit("G-OTHER", "&en=e"), PAGE, b"").await.status, 401);
    assert_eq!(server.post("/g/collect", PAGE, b"").await.status, 401);
    let foreign = "Origin: https://evil.example\r\n";
    assert_eq!(server.post(&hit("G-SHOP", "&en=e"), foreign, b"").await.status, 403);
    let many = "en=e\n".repeat(10_001);
    assert_eq!(server.post(&hit("G-SHOP", ""), PAGE, many.as_bytes()).await.status, 413);
    let wide = format!("&en=e&ep.x={}", "x".repeat(30_000));
    let wide = server.post(&hit("G-SHOP", &wide), PAGE, "a=b\n".repeat(500).as_bytes()).await;
    assert_eq!(wide.status, 413, "{}", wide.body);
    let rows = server.rows().await;
    let rows: Vec<_> = rows.iter().filter(|row| row.kind == Kind::Event).collect();
    let names: Vec<&str> =
        rows.iter().map(|row| row.json["event_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["page_view", "view_item", "scroll", "add_to_cart"]);
    assert!(
        rows.iter().all(|row| row.json["visitor_id"] == "1.2" && row.json["page_path"] == "/p")
    );
    assert!(rows.iter().all(|row| !row.json.to_string().contains("G-SHOP")), "a key was kept");
    server.stop().await;
}

#[tokio::test]
async fn cloudevents_come_alone_and_in_batches() {
    let server = start().await;
    let event = |id: &str| {
        json!({"specversion": "1.0", "id": id, "source": "/shop", "type": "purchase",
               "data": {"visitor_id": "v", "order_id": "o"}})
    };
    let headers = "Authorization: Bearer G-SHOP\r\nContent-Type: application/cloudevents+json\r\n";
    let one = server.post("/v1/cloudevents", headers, event("1").to_string().as_bytes()).await;
    assert_eq!(one.status, 202, "{}", one.body);
    let batch = json!([event("2"), {"specversion": "1.0"}]).to_string();
    let batch = server.post("/v1/cloudevents", headers, batch.as_bytes()).await;
    assert_eq!((batch.status, &batch.json()["rejected"]), (202, &json!(1)), "{}", batch.body);
    let bad = server.post("/v1/cloudevents", headers, b"{\"specversion\":\"2.0\"}").await;
    assert_eq!(bad.status, 400, "{}", bad.body);
    assert_eq!(server.post("/v1/cloudevents", "", b"[]").await.status, 401);
    let rows = server.rows().await;
    let ids: Vec<&str> = rows
        .iter()
        .filter(|row| row.kind == Kind::Event)
        .map(|row| row.json["event_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["/shop#1", "/shop#2"]);
    server.stop().await;
}

/// It becomes part of each record: what is refused is not the whole body, and nothing is asked for again.
#[tokio::test]
async fn what_is_said_beside_events_counts_with_each() {
    let server = start().await;
    let post = async |bytes: usize, events: usize| {
        let events = vec![json!({"name": "e"}); events];
        let body = json!({"user_properties": {"a": "x".repeat(bytes)}, "events": events});
        server.post("/mp/collect?api_secret=G-SHOP", "", body.to_string().as_bytes()).await
    };
    assert_eq!(post(60_000, 2).await.json()["accepted"], 2);
    let large = post(70_000, 2).await;
    assert_eq!((large.status, &large.json()["rejected"]), (200, &json!(2)), "{}", large.body);
    assert_eq!(post(60_000, 300).await.status, 413);
    server.stop().await;
}
