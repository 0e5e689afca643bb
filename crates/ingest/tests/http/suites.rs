//! JSON that others wrote to break parsers (JSONTestSuite), against the door in three places: as a body,
//! as an event of an array, and as a value that an event carries along.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use footfall_ingest::IngestSettings;
use footfall_log::Kind;

use crate::server::{Answer, Server};

/// Beside the checkout; what is in it is not ours to copy.
const SUITE: &str = "../shared/suites/json-test-suite/test_parsing.tar.gz";

/// What a document is: JSON, no JSON, or something that a parser may take or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Json,
    Broken,
    Either,
}

/// A suite of our own, for where there is no other.
const OWN: [(Is, &[u8]); 34] = [
    (Is::Json, b"{}"),
    (Is::Json, b" { \"a\" : [ ] } "),
    (Is::Json, b"[]"),
    (Is::Json, b"[null, true, false]"),
    (Is::Json, b"null"),
    (Is::Json, b"\"\""),
    (Is::Json, b"-0"),
    (Is::Json, b"[1E+2, 0.4e-10]"),
    (Is::Json, b"[\"\\ud834\\udd1e\\u0000\\/\"]"),
    (Is::Json, b"{\"a\":1,\"a\":2}"),
    (Is::Json, b"[\"\x7f\xe2\x80\xa8\xf4\x8f\xbf\xbf\"]"),
    (Is::Json, b"[1\n]"),
    (Is::Broken, b"{"),
    (Is::Broken, b"[1,]"),
    (Is::Broken, b"[,1]"),
    (Is::Broken, b"[1 true]"),
    (Is::Broken, b"[01]"),
    (Is::Broken, b"[1.]"),
    (Is::Broken, b"[.5]"),
    (Is::Broken, b"[+1]"),
    (Is::Broken, b"[NaN]"),
    (Is::Broken, b"[0x1]"),
    (Is::Broken, b"{'a':1}"),
    (Is::Broken, b"{a:1}"),
    (Is::Broken, b"{\"a\":1,}"),
    (Is::Broken, b"[\"\\x41\"]"),
    (Is::Broken, b"[\"\\u00A\"]"),
    (Is::Broken, b"[\"\t\"]"),
    (Is::Broken, b"[\"\xff\"]"),
    (Is::Broken, b"[1]/**/"),
    (Is::Broken, b"[][]"),
    (Is::Either, b"[\"\\ud800\"]"),
    (Is::Either, b"[1e9999]"),
    (Is::Either, b"\xef\xbb\xbf{}"),
];

#[tokio::test]
async fn json_is_told_from_what_is_none() {
    let server = Server::start(IngestSettings::default()).await;
    for (is, document) in OWN {
        check(&server, &String::from_utf8_lossy(document), is, document).await;
    }
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(SUITE);
    if suite.is_file() {
        run_suite(&server, &suite).await;
    } else {
        // The test runner keeps what is printed by its macros to itself.
        let _ = writeln!(std::io::stderr(), "JSONTestSuite was NOT run: there is no {SUITE}");
    }
    server.stop().await;
}

async fn run_suite(server: &Server, suite: &PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let unpacked = Command::new("tar").arg("-xzf").arg(suite).arg("-C").arg(folder.path()).status();
    assert!(unpacked.unwrap().success(), "{} is no archive", suite.display());
    let mut counts = [0; 3];
    for file in std::fs::read_dir(folder.path().join("test_parsing")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is = match &name[..2] {
            "y_" => Is::Json,
            "n_" => Is::Broken,
            _ => Is::Either,
        };
        counts[is as usize] += 1;
        check(server, &name, is, &std::fs::read(&path).unwrap()).await;
    }
    assert_eq!((counts[0], counts[1]), (95, 188), "documents that are JSON, and that are not");
}

async fn check(server: &Server, name: &str, is: Is, document: &[u8]) {
    let body = server.post("/v1/events", "", document).await;
    check_body(name, is, &body);
    let element = server.post("/v1/events", "", &[b"[", document, b"]"].concat()).await;
    assert!([202, 400].contains(&element.status), "{name} in an array: {}", element.body);
    // `[` before it and `]` behind it can mend what is broken: a document of nothing.
    assert!(is != Is::Json || element.status == 202, "{name} in an array: {}", element.body);
    let event = [br#"{"event_name":"e","properties":{"v":"#, document, b"}}"].concat();
    let carried = server.post("/v1/events", "", &event).await;
    match is {
        Is::Json => assert_eq!(carried.status, 202, "{name} in an event: {}", carried.body),
        Is::Broken => assert_refused(name, &carried),
        Is::Either => assert!([202, 400].contains(&carried.status), "{name}: {}", carried.body),
    }
}

/// As a body none of the documents is an event: what is JSON is refused for that, the rest as no JSON.
fn check_body(name: &str, is: Is, body: &Answer) {
    assert!([202, 400].contains(&body.status), "{name}: {} {}", body.status, body.body);
    let rejected = body.body.contains("\"rejected\":");
    let is_bad_json = body.body.contains("\"bad_json\"") || body.body.contains("is not UTF-8");
    assert!(!body.body.contains("\"status\":\"accepted\""), "{name} is taken: {}", body.body);
    match is {
        Is::Json => assert!(!is_bad_json, "{name} as no JSON: {}", body.body),
        // What begins as a number or a list of something is refused for that, before its end is seen.
        Is::Broken if rejected => {
            let is_refused = is_bad_json || body.body.contains("\"rejected\"");
            assert!(is_refused, "{name} is not refused: {}", body.body);
        }
        _ => {}
    }
}

fn assert_refused(name: &str, answer: &Answer) {
    assert_eq!(answer.status, 400, "{name} in an event: {}", answer.body);
    let is_named = ["bad_json", "too_large", "not UTF-8"].iter().any(|r| answer.body.contains(r));
    assert!(is_named, "{name} in an event: {}", answer.body);
}

/// What every kind of refusal leaves, at least once.
#[tokio::test]
async fn what_is_no_json_is_kept_as_rejected() {
    let server = Server::start(IngestSettings::default()).await;
    assert_eq!(server.post("/v1/events", "", b"{\"a\":1,}").await.status, 400);
    let rows = server.rows().await;
    let [row] = rows.as_slice() else { panic!("{} rows", rows.len()) };
    assert_eq!((row.kind, row.json["reason"].as_str()), (Kind::Rejected, Some("bad_json")));
    server.stop().await;
}
