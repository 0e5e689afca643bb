//! Write keys: who is let in, and as which site.

use footfall_ingest::{IngestSettings, Key};
use sha2::{Digest, Sha256};

use crate::server::{Server, event};

fn settings() -> IngestSettings {
    let origins = [("shop", "WK_SHOP", "https://shop.example"), ("blog", "WK_BLOG", "")];
    let keys = origins.map(|(site, key, origin)| Key {
        site: site.to_owned(),
        sha256: Sha256::digest(key).into(),
        origins: origin.split_whitespace().map(str::to_owned).collect(),
    });
    IngestSettings { keys: keys.to_vec(), ..Default::default() }
}

async fn start() -> Server {
    Server::start(settings()).await
}

const BASIC_SHOP: &str = "Authorization: Basic V0tfU0hPUDo=\r\n";

#[tokio::test]
async fn a_key_lets_in_and_decides_the_site() {
    let server = start().await;
    let mut expected = Vec::new();
    let track = br#"{"event":"e","messageId":"s3","writeKey":"WK_BLOG"}"#;
    let batch =
        br#"{"batch":[{"type":"track","event":"e","messageId":"s4"}],"writeKey":"WK_SHOP"}"#;
    let cases: [(&str, &str, &[u8], &str); 5] = [
        ("/v1/events", BASIC_SHOP, br#"{"event_id":"s1","event_name":"e","site":"other"}"#, "shop"),
        (
            "/v1/events",
            "Authorization: Bearer WK_BLOG\r\n",
            br#"{"event_id":"s2","event_name":"e"}"#,
            "blog",
        ),
        ("/v1/track", "", track, "blog"),
        ("/v1/batch", "", batch, "shop"),
        ("/v1/events", BASIC_SHOP, br#"{"event_id":"s5","site":"other"}"#, "shop"),
    ];
    for (i, (path, headers, body, site)) in cases.into_iter().enumerate() {
        let answer = server.post(path, headers, body).await;
        assert!([200, 202, 400].contains(&answer.status), "{}", answer.body);
        expected.push((format!("s{}", i + 1), site.to_owned()));
    }
    let rows = server.rows().await;
    let mut found: Vec<(String, String)> = rows
        .iter()
        .map(|row| {
            let id = row.json["event_id"].as_str().or(row.json["id"].as_str()).unwrap();
            (id.to_owned(), row.json["site"].as_str().unwrap().to_owned())
        })
        .collect();
    found.sort();
    assert_eq!(found, expected);
    let text = rows.iter().map(|row| row.json.to_string()).collect::<String>();
    assert!(!text.contains("WK_"), "a key reached the log: {text}");
    server.stop().await;
}

#[tokio::test]
async fn without_a_known_key_nothing_is_taken() {
    let server = start().await;
    let good = event("x", "v");
    let segment = br#"{"event":"e","writeKey":"WK_OTHER"}"#;
    let large = vec![b' '; 3_000_000];
    let cases: [(&str, &str, &[u8], &str); 9] = [
        ("/v1/events", "", good.as_bytes(), "a write key is required"),
        ("/v1/events", "Authorization: Bearer nope\r\n", good.as_bytes(), "is not known"),
        ("/v1/events", "Authorization: nonsense\r\n", good.as_bytes(), "is not known"),
        ("/v1/track", "", segment, "is not known"),
        ("/v1/track", "", br#"{"event":"e"}"#, "a write key is required"),
        ("/v1/track", "", b"nonsense", "a write key is required"),
        ("/v1/batch", "", b"nonsense", "a write key is required"),
        ("/v1/batch", "", br#"{"batch":[]}"#, "a write key is required"),
        // Sent before the client listens.
        ("/v1/events", "", &large, "a write key is required"),
    ];
    for (path, headers, body, says) in cases {
        let answer = server.post(path, headers, body).await;
        assert_eq!(answer.status, 401, "{}", answer.body);
        assert!(answer.body.contains(says), "{}", answer.body);
        assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
    }
    assert!(server.rows().await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn an_empty_batch_is_told_to_who_is_let_in() {
    let server = start().await;
    let answer = server.post("/v1/batch", "", br#"{"batch":[],"writeKey":"WK_SHOP"}"#).await;
    assert_eq!((answer.status, answer.body.contains("batch: holds no event")), (400, true));
    server.stop().await;
}

#[tokio::test]
async fn a_refused_row_holds_no_key() {
    let server = start().await;
    let refused: [(&str, &str, &[u8]); 3] = [
        ("/v1/track", "", br#"{"event":1,"writeKey":"WK_SHOP"}"#),
        ("/v1/track", BASIC_SHOP, br#"{"event":1,"writeKey":"WK_SHOP""#),
        ("/v1/batch", BASIC_SHOP, b"batch=[]&writeKey=WK_SHOP"),
    ];
    for (path, headers, body) in refused {
        assert_eq!(server.post(path, headers, body).await.status, 400);
    }
    let rows = server.rows().await;
    assert_eq!(rows.len(), 3);
    for row in rows {
        assert!(!row.json.to_string().contains("WK_"), "{}", row.json);
        assert!(row.json["payload"].as_str().unwrap().contains("writeKey"), "{}", row.json);
    }
    server.stop().await;
}

/// A stranger may show a key in the body; until then no more room is kept than it takes.
#[tokio::test]
async fn strangers_that_say_nothing_keep_no_room() {
    let settings = IngestSettings {
        event_bytes_max: 10_000,
        body_bytes_max: 200_000,
        inflated_bytes_max: 200_000,
        bodies_in_flight_bytes_max: 531_072,
        ..settings()
    };
    let server = Server::start(settings).await;
    let mut strangers = Vec::new();
    for _ in 0..4 {
        let mut stranger = server.connect().await;
        stranger.send_head("/v1/batch", "", 190_000).await;
        strangers.push(stranger);
    }
    while server.metric("footfall_ingest_in_flight").await < 5.0 {}
    let body = format!("{}{}", event("a", "v"), " ".repeat(190_000));
    assert_eq!(server.post("/v1/events", BASIC_SHOP, body.as_bytes()).await.status, 202);
    drop(strangers);
    server.stop().await;
}

const SHOP_PAGE: &str = "Origin: https://shop.example\r\n";
const OTHER_PAGE: &str = "Origin: https://evil.example\r\n";

#[tokio::test]
async fn a_page_sends_with_a_key_that_lists_its_origin_alone() {
    let server = start().await;
    let good = event("x", "v");
    let in_body = |key: &str| format!(r#"{{"event":"e","writeKey":"{key}"}}"#);
    let (shop, blog) = (in_body("WK_SHOP"), in_body("WK_BLOG"));
    let cases: [(&str, &str, &str, &str, u16); 8] = [
        ("/v1/events", BASIC_SHOP, SHOP_PAGE, &good, 202),
        ("/v1/events", BASIC_SHOP, OTHER_PAGE, &good, 403),
        ("/v1/events", BASIC_SHOP, "Origin: null\r\n", &good, 403),
        ("/v1/events", "Authorization: Bearer WK_BLOG\r\n", SHOP_PAGE, &good, 403),
        ("/v1/events", "Authorization: Bearer WK_BLOG\r\n", "", &good, 202),
        ("/v1/track", "", SHOP_PAGE, &shop, 200),
        ("/v1/track", "", OTHER_PAGE, &shop, 403),
        ("/v1/track", "", SHOP_PAGE, &blog, 403),
    ];
    for (path, key, page, body, status) in cases {
        let answer = server.post(path, &format!("{key}{page}"), body.as_bytes()).await;
        let case = format!("{path} {key}{page}{body}: {} {}", answer.head, answer.body);
        assert_eq!(answer.status, status, "{case}");
        assert_eq!(answer.body.contains("list it in `origins`"), status == 403, "{case}");
        // A page may read what is wrong with its request, if it may send at all.
        let is_ours = page == SHOP_PAGE;
        let allowed = answer.head.contains("access-control-allow-origin: https://shop.example");
        assert_eq!(allowed, is_ours, "{case}");
    }
    let missing = server.post("/v1/events", SHOP_PAGE, good.as_bytes()).await;
    assert_eq!(missing.status, 401);
    assert!(missing.head.contains("access-control-allow-origin"), "{}", missing.head);
    assert_eq!(server.rows().await.len(), 3);
    server.stop().await;
}

#[tokio::test]
async fn a_browser_that_asks_first_is_told_what_it_may_send() {
    let server = start().await;
    let ask =
        "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n";
    let request = |page: &str| format!("OPTIONS /v1/events HTTP/1.1\r\nHost: x\r\n{page}{ask}\r\n");
    let mut browser = server.connect().await;
    browser.send(request(SHOP_PAGE).as_bytes()).await;
    let head = browser.head().await;
    assert!(head.starts_with("http/1.1 204"), "{head}");
    for said in [
        "access-control-allow-origin: https://shop.example",
        "access-control-allow-methods: get, post",
        "access-control-allow-headers: authorization",
        "vary: origin",
    ] {
        assert!(head.contains(said), "no {said} in {head}");
    }
    browser.send(request(OTHER_PAGE).as_bytes()).await;
    let refused = browser.answer().await.unwrap();
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("`https://evil.example` may not send here"), "{}", refused.body);
    assert!(!refused.head.contains("access-control"), "{}", refused.head);
    server.stop().await;
}
