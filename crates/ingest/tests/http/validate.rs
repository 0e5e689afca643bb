//! `/v1/validate` answers what `/v1/events` answers, and keeps nothing.

use footfall_ingest::{IngestSettings, Key};
use sha2::{Digest, Sha256};

use crate::bodies::gzip;
use crate::server::{Server, event};

/// Bodies of every kind, each of which names its ids: those that the door gives differ.
fn bodies() -> Vec<Vec<u8>> {
    let good = event("a", "v");
    let nameless = r#"{"event_id":"b","visitor_id":"v"}"#;
    vec![
        good.clone().into_bytes(),
        nameless.as_bytes().to_vec(),
        format!("[{good},{nameless},5]").into_bytes(),
        format!("{good}\n{nameless}\nnonsense").into_bytes(),
        gzip(good.as_bytes()),
        b"\x1f\x8bnonsense".to_vec(),
        b"{\"event_name\":".to_vec(),
        b"[]".to_vec(),
        b"".to_vec(),
        vec![b' '; 3_000],
        vec![b'x'; 3_000],
        gzip(&[b'x'; 9_000]),
        format!("[{}]", vec![good; 9].join(",")).into_bytes(),
    ]
}

fn settings() -> IngestSettings {
    IngestSettings {
        event_bytes_max: 1_000,
        body_bytes_max: 2_000,
        inflated_bytes_max: 4_000,
        batch_events_max: 8,
        ..Default::default()
    }
}

#[tokio::test]
async fn the_answer_is_that_of_events_and_nothing_is_kept() {
    let server = Server::start(settings()).await;
    let mut statuses = Vec::new();
    for headers in ["", "Content-Encoding: gzip\r\n", "Content-Encoding: br\r\n"] {
        for body in bodies() {
            for query in ["", "?status=summary"] {
                let before = server.rows().await.len();
                let validated = server.post(&format!("/v1/validate{query}"), headers, &body).await;
                assert_eq!(server.rows().await.len(), before, "{}", validated.body);
                let taken = server.post(&format!("/v1/events{query}"), headers, &body).await;
                let shown = String::from_utf8_lossy(&body).chars().take(60).collect::<String>();
                assert_eq!(
                    (validated.status, validated.body),
                    (taken.status, taken.body),
                    "{headers}{shown}"
                );
                statuses.push(taken.status);
            }
        }
    }
    for status in [202, 400, 413, 415] {
        assert!(statuses.contains(&status), "no body was answered {status}: {statuses:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_validated_counts_as_no_event() {
    let server = Server::start(settings()).await;
    for body in bodies() {
        server.post("/v1/validate", "", &body).await;
    }
    let text = server.get("/metrics").await.body;
    let moved: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.ends_with(" 0"))
        .filter(|line| !line.contains("_requests_total") && !line.contains("_in_flight"))
        .collect();
    assert!(moved.is_empty(), "{moved:?}");
    let accepted = server.metric("footfall_ingest_requests_total{status=\"202\"}").await;
    assert_eq!(accepted, 4.0, "requests are counted as any other's");
    server.stop().await;
}

#[tokio::test]
async fn a_key_is_wanted_where_events_want_one() {
    let key =
        Key { site: "shop".to_owned(), sha256: Sha256::digest("WK").into(), origins: Vec::new() };
    let server = Server::start(IngestSettings { keys: vec![key], ..settings() }).await;
    let body = event("a", "v");
    let authorized = "Authorization: Bearer WK\r\n";
    for (headers, status) in [("", 401), ("Authorization: Bearer no\r\n", 401), (authorized, 202)] {
        let answer = server.post("/v1/validate", headers, body.as_bytes()).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    assert!(server.rows().await.is_empty());
    server.stop().await;
}
