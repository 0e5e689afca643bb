//! Write keys: who is let in, and as which site.

use footfall_ingest::{IngestSettings, Key};
use sha2::{Digest, Sha256};

use crate::server::{Server, event};

async fn start() -> Server {
    let keys = [("shop", "WK_SHOP"), ("blog", "WK_BLOG")]
        .map(|(site, key)| Key { site: site.to_owned(), sha256: Sha256::digest(key).into() });
    Server::start(IngestSettings { keys: keys.to_vec(), ..Default::default() }).await
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
    let cases: [(&str, &str, &[u8], &str); 7] = [
        ("/v1/events", "", good.as_bytes(), "a write key is required"),
        ("/v1/events", "Authorization: Bearer nope\r\n", good.as_bytes(), "is not known"),
        ("/v1/events", "Authorization: nonsense\r\n", good.as_bytes(), "is not known"),
        ("/v1/track", "", segment, "is not known"),
        ("/v1/track", "", br#"{"event":"e"}"#, "a write key is required"),
        ("/v1/track", "", b"nonsense", "a write key is required"),
        ("/v1/batch", "", b"nonsense", "a write key is required"),
    ];
    for (path, headers, body, says) in cases {
        let answer = server.post(path, headers, body).await;
        assert_eq!(answer.status, 401, "{}", answer.body);
        assert!(answer.body.contains(says), "{}", answer.body);
        assert!(answer.head.contains("www-authenticate: basic"), "{}", answer.head);
    }
    assert!(server.rows().await.is_empty());
    server.stop().await;
}
