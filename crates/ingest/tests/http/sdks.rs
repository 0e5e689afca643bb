//! What server SDKs send, in the shape that Segment's and RudderStack's were seen to send it: paths,
//! headers, compression, times and nulls are theirs, the events are ours.

use footfall_ingest::{IngestSettings, Key};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::bodies::gzip;
use crate::server::Server;

/// The key as Basic user name, with an empty password.
const BASIC: &str = "Authorization: Basic V0tfVEVTVDo=\r\n";

/// A server that knows the key of the shop.
async fn start() -> Server {
    let key = Key {
        site: "shop".to_owned(),
        sha256: Sha256::digest("WK_TEST").into(),
        origins: Vec::new(),
    };
    Server::start(IngestSettings { keys: vec![key], ..Default::default() }).await
}

/// Posts a batch, of which all must be accepted, and gives the records in its order.
async fn records(headers: &str, body: &[u8], ids: &[&str]) -> Vec<Value> {
    let server = start().await;
    let answer = server.post("/v1/batch", &format!("{BASIC}{headers}"), body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let counts = (&answer.json()["accepted"], &answer.json()["rejected"]);
    assert_eq!(counts, (&json!(ids.len()), &json!(0)), "{}", answer.body);
    let rows = server.rows().await;
    let find = |id: &&str| rows.iter().find(|row| row.json["event_id"] == **id).unwrap();
    let records: Vec<Value> = ids.iter().map(|id| find(id).json.clone()).collect();
    let text = Value::from(records.clone()).to_string();
    assert!(!text.contains("WK_TEST"), "a key reached the log: {text}");
    assert!(records.iter().all(|record| record["site"] == "shop"), "{text}");
    server.stop().await;
    records
}

/// How long before its receipt an event happened, in microseconds.
fn age(record: &Value) -> i64 {
    record["received_time"].as_i64().unwrap() - record["event_time"].as_i64().unwrap()
}

#[tokio::test]
async fn segments_node_sdk() {
    let library = json!({"library": {"name": "@segment/analytics-node", "version": "3.1.0"}});
    let event = |id: &str, kind: &str, other: Value| {
        let mut event = json!({
            "timestamp": "2026-11-22T17:57:19.525Z", "integrations": {}, "type": kind,
            "context": library, "messageId": id,
            "_metadata": {"nodeVersion": "v20.20.2", "jsRuntime": "node"},
        });
        event.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        event
    };
    let lamp =
        json!([{"product_id": "p9", "sku": "s9", "name": "Lamp", "price": 19.9, "quantity": 2}]);
    let order = json!({"order_id": "o9", "currency": "EUR", "revenue": 44.7, "products": lamp});
    let body = json!({
        "batch": [
            event("n1", "identify", json!({"userId": "u9", "anonymousId": "a9", "traits": {"plan": "pro"}})),
            event("n2", "page", json!({"anonymousId": "a9", "name": "Lamps",
                "properties": {"url": "https://shop.example/lamps", "path": "/lamps"}})),
            event("n3", "track", json!({"anonymousId": "a9", "event": "Order Completed", "properties": order})),
            event("n4", "group", json!({"userId": "u9", "groupId": "g9", "traits": {}})),
            event("n5", "alias", json!({"userId": "u9", "previousId": "a9"})),
            event("n6", "screen", json!({"anonymousId": "a9", "name": "Home", "properties": {}})),
        ],
        "writeKey": "WK_TEST",
        "sentAt": "2026-11-22T17:57:20.025Z",
    });
    let headers = "Content-Type: application/json\r\nUser-Agent: analytics-node-next/latest\r\n";
    let ids = ["n1", "n2", "n3", "n4", "n5", "n6"];
    let records = records(headers, body.to_string().as_bytes(), &ids).await;
    let names: Vec<&str> = records.iter().map(|r| r["event_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["identify", "page_view", "purchase", "group", "alias", "screen_view"]);
    assert!(records.iter().all(|record| age(record) == 500_000), "sentAt corrects the clock");
    let visitors: Vec<&str> = records.iter().map(|r| r["visitor_id"].as_str().unwrap()).collect();
    assert_eq!(visitors, ["a9", "a9", "a9", "u:u9", "u:u9", "a9"]);
    assert_eq!(records[1]["page_path"], "/lamps");
    let order = &records[2];
    assert_eq!((&order["order_id"], &order["value"]), (&json!("o9"), &json!(44.7)));
    assert_eq!(order["items"][0]["item_name"], "Lamp");
    assert_eq!(order["properties"]["event"], "Order Completed", "its own name is kept");
    assert_eq!(order["properties"]["products"], lamp, "an item has no column for the sku");
    assert_eq!(order["properties"]["context"], library);
    assert_eq!(order["user_agent"], Value::Null, "a server's says nothing about the visitor");
}

#[tokio::test]
async fn segments_python_sdk_with_gzip() {
    let event = |id: &str, kind: &str, other: Value| {
        let mut event = json!({
            "integrations": {}, "anonymousId": null, "timestamp": "2026-11-22T17:58:25.942+00:00",
            "context": {"library": {"name": "analytics-python", "version": "2.4.0"}},
            "type": kind, "userId": "u9", "messageId": id,
        });
        event.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        event
    };
    let body = json!({
        "batch": [
            event("y1", "identify", json!({"traits": {"plan": "pro"}})),
            event("y2", "page", json!({"name": "Lamps", "category": "Shop", "properties": {"path": "/lamps"}})),
            event("y3", "track", json!({"event": "Cart Viewed", "properties": {"cart_id": "c9"}})),
        ],
        "sentAt": "2026-11-22T17:58:26.442027+00:00",
        "writeKey": "WK_TEST",
    });
    let headers = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n";
    let records = records(headers, &gzip(body.to_string().as_bytes()), &["y1", "y2", "y3"]).await;
    assert!(records.iter().all(|record| record["visitor_id"] == "u:u9"));
    assert!(records.iter().all(|record| age(record) == 500_027), "microseconds are kept");
    assert_eq!(records[1]["properties"]["category"], "Shop");
    assert_eq!(records[2]["cart_id"], "c9");
}

/// It says that its gzipped JSON is a form, and its times by other names.
#[tokio::test]
async fn rudderstacks_node_sdk() {
    let event = |id: &str, kind: &str, other: Value| {
        let mut event = json!({
            "type": kind, "channel": "server", "_metadata": {"nodeVersion": "20.20.2"},
            "context": {"library": {"name": "analytics-node", "version": "3.0.13"}},
            "originalTimestamp": "2026-11-22T17:57:21.410Z", "messageId": id,
            "sentAt": "2026-11-22T17:57:21.610Z",
        });
        event.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        event
    };
    let body = json!({
        "batch": [
            event("r1", "identify", json!({"userId": "u9", "traits": {"plan": "pro"}})),
            event("r2", "page", json!({"anonymousId": "a9", "name": "Lamps", "properties": {"path": "/lamps"}})),
            event("r3", "track", json!({"anonymousId": "a9", "event": "Order Completed",
                "properties": {"order_id": "o9", "currency": "EUR", "revenue": 42.5, "shipping": 4.9}})),
        ],
        "timestamp": "2026-11-22T17:57:21.610Z",
        "sentAt": "2026-11-22T17:57:21.610Z",
    });
    let headers = "Accept: application/json, text/plain, */*\r\n\
        Content-Type: application/x-www-form-urlencoded\r\nContent-Encoding: gzip\r\n";
    let records = records(headers, &gzip(body.to_string().as_bytes()), &["r1", "r2", "r3"]).await;
    assert!(records.iter().all(|record| age(record) == 200_000));
    let visitors: Vec<&str> = records.iter().map(|r| r["visitor_id"].as_str().unwrap()).collect();
    assert_eq!(visitors, ["u:u9", "a9", "a9"]);
    assert_eq!(records[1]["page_path"], "/lamps");
    assert_eq!((&records[2]["value"], &records[2]["currency"]), (&json!(42.5), &json!("EUR")));
    assert_eq!(records[2]["properties"]["shipping"], 4.9);
}
