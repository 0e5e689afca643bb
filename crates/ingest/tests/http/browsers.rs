//! What browser SDKs do beside their events: they ask for settings, ask whether they may send, and send from a
//! page that is left.

use footfall_ingest::{IngestSettings, Key};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::server::Server;

async fn start() -> Server {
    let key = Key {
        site: "shop".to_owned(),
        sha256: Sha256::digest("WK").into(),
        origins: vec!["https://shop.example".to_owned()],
    };
    Server::start(IngestSettings { keys: vec![key], ..Default::default() }).await
}

#[tokio::test]
async fn segments_sdk_asks_for_its_settings() {
    let server = start().await;
    let settings = server.get("/v1/projects/WK/settings").await;
    assert_eq!(settings.status, 200, "{}", settings.body);
    let segment = &settings.json()["integrations"]["Segment.io"];
    assert_eq!(*segment, json!({"apiKey": "WK", "apiHost": "x/v1"}));
    assert_eq!(settings.json()["metrics"]["sampleRate"], 0);
    assert_eq!(server.get("/v1/projects/other/settings").await.status, 401);
    assert_eq!(server.get("/v1/projects/settings").await.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn rudderstacks_sdk_asks_for_its_source() {
    let server = start().await;
    for path in ["/sourceConfig/?p=npm&writeKey=WK&v=3", "/sourceConfig?writeKey=WK"] {
        let settings = server.get(path).await;
        let source = &settings.json()["source"];
        assert_eq!((&source["enabled"], &source["writeKey"]), (&json!(true), &json!("WK")));
        assert_eq!(source["destinations"], json!([]));
    }
    assert_eq!(server.get("/sourceConfig/?writeKey=other").await.status, 401);
    // By which it finds out whether something in the browser blocks it.
    let mut client = server.connect().await;
    let look =
        "HEAD /sourceConfig/?view=ad HTTP/1.1\r\nHost: x\r\nAuthorization: Basic V0s6\r\n\r\n";
    client.send(look.as_bytes()).await;
    assert!(client.head().await.starts_with("http/1.1 200"));
    assert_eq!(server.get("/sourceConfig/").await.status, 400);
    server.stop().await;
}

/// A proxy asks by the collector's own name, and tells the shop's.
#[tokio::test]
async fn segments_sdk_is_told_the_host_that_its_page_reaches() {
    let server = Server::start(IngestSettings { proxies: 1, ..Default::default() }).await;
    let ask = "GET /v1/projects/WK/settings HTTP/1.1\r\nHost: inner:8080\r\nX-Forwarded-Host: shop.example\r\n\r\n";
    let mut client = server.connect().await;
    client.send(ask.as_bytes()).await;
    let settings = client.answer().await.unwrap().json();
    assert_eq!(settings["integrations"]["Segment.io"]["apiHost"], "shop.example/v1");
    server.stop().await;
}

/// By one letter, as text/plain, with the key in a header, in the query or in the body.
#[tokio::test]
async fn calls_of_a_browser_are_those_of_a_server() {
    let server = start().await;
    let page = "Origin: https://shop.example\r\nContent-Type: text/plain\r\n";
    let basic = format!("{page}Authorization: Basic V0s6\r\n");
    let calls = [
        ("/v1/t", &basic, r#"{"messageId":"t","event":"Product Added","anonymousId":"a"}"#),
        ("/v1/p", &basic, r#"{"messageId":"p","anonymousId":"a","properties":{"path":"/"}}"#),
        ("/v1/s", &basic, r#"{"messageId":"s","anonymousId":"a","name":"Home"}"#),
        ("/v1/i", &basic, r#"{"messageId":"i","anonymousId":"a","userId":"u"}"#),
        ("/v1/g", &basic, r#"{"messageId":"g","anonymousId":"a","groupId":"g"}"#),
        ("/v1/a", &basic, r#"{"messageId":"a","userId":"u","previousId":"a"}"#),
        ("/v1/b", &basic, r#"{"batch":[{"type":"page","messageId":"b","anonymousId":"a"}]}"#),
        // Java's SDK.
        ("/v1/import/", &basic, r#"{"batch":[{"type":"page","messageId":"j","anonymousId":"a"}]}"#),
    ];
    let page = page.to_owned();
    let beacon = r#"{"batch":[{"type":"track","event":"left","messageId":"q","anonymousId":"a"}]}"#;
    let own = r#"{"event_id":"e","event_name":"left","visitor_id":"a"}"#;
    let by_query =
        [("/beacon/v1/batch?writeKey=WK", &page, beacon), ("/v1/events?writeKey=WK", &page, own)];
    for (path, headers, body) in calls.into_iter().chain(by_query) {
        let answer = server.post(path, headers, body.as_bytes()).await;
        assert!([200, 202].contains(&answer.status), "{path}: {}", answer.body);
        assert!(answer.head.contains("access-control-expose-headers: retry-after"));
        assert!(answer.head.contains("access-control-allow-credentials: true"));
    }
    let refused = server.post("/beacon/v1/batch?writeKey=other", &page, beacon.as_bytes()).await;
    assert_eq!(refused.status, 401);
    let mut names: Vec<(String, String)> = server
        .rows()
        .await
        .iter()
        .map(|row| ["event_id", "event_name"].map(|key| row.json[key].as_str().unwrap().to_owned()))
        .map(|[id, name]| (id, name))
        .collect();
    names.sort();
    let names: Vec<(&str, &str)> = names.iter().map(|(id, name)| (&**id, &**name)).collect();
    assert_eq!(
        names,
        [
            ("a", "alias"),
            ("b", "page_view"),
            ("e", "left"),
            ("g", "group"),
            ("i", "identify"),
            ("j", "page_view"),
            ("p", "page_view"),
            ("q", "left"),
            ("s", "screen_view"),
            ("t", "add_to_cart")
        ]
    );
    server.stop().await;
}

#[tokio::test]
async fn a_page_is_told_that_it_may_send_what_its_sdk_wants_to() {
    let server = start().await;
    for path in ["/v1/t", "/sourceConfig/?writeKey=WK", "/v1/projects/WK/settings"] {
        let mut browser = server.connect().await;
        let ask = "Access-Control-Request-Method: POST\r\n\
            Access-Control-Request-Headers: anonymousid,authorization,content-type\r\n";
        let origin = "Origin: https://shop.example\r\n";
        browser
            .send(format!("OPTIONS {path} HTTP/1.1\r\nHost: x\r\n{origin}{ask}\r\n").as_bytes())
            .await;
        let head = browser.head().await;
        assert!(head.starts_with("http/1.1 204"), "{path}: {head}");
        let allowed = "access-control-allow-headers: anonymousid,authorization,content-type";
        assert!(head.contains(allowed), "{head}");
    }
    server.stop().await;
}

/// Without keys an app names its site, also where its event is refused; of no other protocol is anything blanked.
#[tokio::test]
async fn a_refused_event_is_of_its_apps_site() {
    let server = Server::start(IngestSettings::default()).await;
    let path = "/com.snowplowanalytics.snowplow/tp2";
    let tracked = br#"{"data":[{"e":"se","eid":"s1","aid":"outlet","tv":"js-4"}]}"#;
    assert_eq!(server.post(path, "", tracked).await.status, 200);
    let own = br#"[{"event_id":"o1","aid":"kept"}]"#;
    assert_eq!(server.post("/v1/events", "", own).await.status, 202);
    let rows = server.rows().await;
    let of = |id: &str| &rows.iter().find(|row| row.json["id"] == id).unwrap().json;
    assert_eq!(of("s1")["site"], "outlet");
    assert!(of("o1")["payload"].as_str().unwrap().contains("kept"));
    server.stop().await;
}

/// With no keys a collector listens on this machine alone, and asks nobody.
#[tokio::test]
async fn without_keys_every_page_may_send() {
    let server = Server::start(IngestSettings::default()).await;
    let mut browser = server.connect().await;
    let ask = "OPTIONS /v1/t HTTP/1.1\r\nHost: x\r\nOrigin: http://localhost:8000\r\n\r\n";
    browser.send(ask.as_bytes()).await;
    let head = browser.head().await;
    assert!(head.contains("access-control-allow-origin: http://localhost:8000"), "{head}");
    assert_eq!(server.get("/v1/projects/any/settings").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn snowplows_trackers_send_by_post_and_by_get() {
    let server = start().await;
    let page = "Origin: https://shop.example\r\n";
    let body = r#"{"schema":"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4","data":[
        {"e":"pv","eid":"p1","duid":"d","aid":"WK","tv":"js-4"},{"e":"se","eid":"p2","aid":"WK","tv":"js-4"}]}"#;
    let answer = server.post("/com.snowplowanalytics.snowplow/tp2", page, body.as_bytes()).await;
    assert_eq!((answer.status, &answer.json()["accepted"]), (200, &json!(1)), "{}", answer.body);
    let pixel = server.get("/i?e=pv&eid=g1&duid=d&aid=WK&tv=js-4&page=A%20b").await;
    assert_eq!((pixel.status, pixel.body.starts_with("GIF89a")), (200, true), "{}", pixel.body);
    assert!(pixel.head.contains("content-type: image/gif"), "{}", pixel.head);
    assert_eq!(server.get("/i?e=pv&eid=g2&aid=other&tv=js-4").await.status, 401);
    assert_eq!(server.get("/i").await.status, 401);
    let mut rows = server.rows().await;
    rows.sort_by_key(|row| row.json.to_string());
    let told: Vec<(&str, &str)> = rows
        .iter()
        .map(|row| {
            let id = row.json["event_id"].as_str().or(row.json["id"].as_str()).unwrap();
            (id, row.json["site"].as_str().unwrap())
        })
        .collect();
    assert_eq!(told, [("g1", "shop"), ("p1", "shop"), ("p2", "shop")]);
    assert!(rows.iter().all(|row| !row.json.to_string().contains("WK")), "a key is in the log");
    assert_eq!(rows[0].json["page_title"], "A b");
    server.stop().await;
}
