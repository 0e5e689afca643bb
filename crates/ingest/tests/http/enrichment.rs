//! What is derived at the door of what a browser's request says, and what of it is not kept.

use std::path::Path;
use std::sync::Arc;

use footfall_enrich::{EnrichSettings, Enricher};
use footfall_ingest::IngestSettings;
use serde_json::{Value, json};

use crate::server::Server;

const CHROME: &str = "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n";

async fn start(enrich: EnrichSettings) -> Server {
    let enricher = Arc::new(Enricher::new(&enrich).unwrap());
    Server::start(IngestSettings { enricher, proxies: 1, ..Default::default() }).await
}

/// What is kept of one event.
async fn kept(server: &Server, headers: &str, event: Value) -> Value {
    let answer = server.post("/v1/events", headers, event.to_string().as_bytes()).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    server.rows().await.pop().unwrap().json
}

fn landing() -> Value {
    json!({
        "event_id": "e", "event_name": "page_view", "visitor_id": "v",
        "page_url": "https://shop.example/p?utm_source=news&utm_medium=email&email=me%40mail.example",
        "referrer": "https://mail.example/",
    })
}

#[tokio::test]
async fn a_browsers_request_tells_more_than_its_event() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../enrich/src/geo/maxmind.mmdb");
    let server = start(EnrichSettings { geo_database: Some(path), ..Default::default() }).await;
    let headers = format!("{CHROME}X-Forwarded-For: 203.0.113.1, 192.0.2.77\r\n");
    let record = kept(&server, &headers, landing()).await;
    for (column, value) in [
        ("browser", "Chrome"),
        ("os", "Windows"),
        ("device_type", "desktop"),
        ("utm_source", "news"),
        ("utm_medium", "email"),
        ("channel", "Email"),
        ("country", "DE"),
        ("region", "DE-BE"),
        ("ip", "192.0.2.0"),
        ("page_url", "https://shop.example/p?utm_source=news&utm_medium=email&email=REDACTED"),
    ] {
        assert_eq!(record[column], value, "{column} of {record}");
    }
    assert_eq!(record["bot"], Value::Null);
    server.stop().await;
}

/// By Snowplow's header a visitor asks that nobody looks at where the request came from.
#[tokio::test]
async fn who_is_anonymous_has_no_address() {
    let server = start(EnrichSettings::default()).await;
    let headers = format!("{CHROME}X-Forwarded-For: 192.0.2.77\r\nSP-Anonymous: *\r\n");
    let record = kept(&server, &headers, landing()).await;
    assert_eq!((&record["ip"], &record["browser"]), (&Value::Null, &json!("Chrome")));
    server.stop().await;
}

/// A server speaks for its visitor: nothing of its own is the visitor's.
#[tokio::test]
async fn a_servers_request_tells_nothing_of_the_visitor() {
    let server = start(EnrichSettings::default()).await;
    let headers = "User-Agent: python-requests/2.31\r\nX-Forwarded-For: 192.0.2.77\r\n";
    let record = kept(&server, headers, json!({"event_name": "purchase", "visitor_id": "v"})).await;
    for column in ["ip", "browser", "os", "bot", "user_agent", "channel"] {
        assert_eq!(record[column], Value::Null, "{column} of {record}");
    }
    server.stop().await;
}

#[tokio::test]
async fn each_part_can_be_left_out() {
    let server = start(EnrichSettings {
        user_agent: false,
        bots: false,
        channels: false,
        redacted_parameters: Vec::new(),
        ..Default::default()
    })
    .await;
    let headers = CHROME.replace("Chrome", "HeadlessChrome");
    let record = kept(&server, &headers, landing()).await;
    for column in ["browser", "os", "device_type", "bot", "channel", "utm_source", "country"] {
        assert_eq!(record[column], Value::Null, "{column} of {record}");
    }
    assert_eq!(record["page_url"], landing()["page_url"]);
    server.stop().await;
}

/// Finding out about one takes its time: the others are found out about with later requests.
#[tokio::test]
async fn a_request_finds_out_about_a_hundred_user_agents() {
    let server = start(EnrichSettings::default()).await;
    let event = |number: usize| {
        let agent =
            format!("Mozilla/5.0 (X11; Linux x86_64; {number}) Gecko/20100101 Firefox/127.0");
        json!({"event_name": "e", "visitor_id": "v", "user_agent": agent})
    };
    let body = Value::from((0..150).map(event).collect::<Vec<_>>()).to_string();
    for known in [100, 250] {
        assert_eq!(server.post("/v1/events", "", body.as_bytes()).await.status, 202);
        let rows = server.rows().await;
        let found = rows.iter().filter(|row| row.json["browser"] == "Firefox").count();
        assert_eq!(found, known, "of {}", rows.len());
    }
    server.stop().await;
}
