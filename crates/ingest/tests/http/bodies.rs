//! Footfall's own protocol: every kind of body, its answer, and what it leaves in the log.

use std::collections::HashSet;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use footfall_ingest::IngestSettings;
use footfall_log::Kind;
use serde_json::Value;

use crate::server::{Row, Server, event};

/// A request, and what shall become of it.
struct Case {
    name: &'static str,
    headers: &'static str,
    body: Vec<u8>,
    status: u16,
    /// What the answer's body holds.
    says: &'static str,
    /// `event` and the id of an accepted one, or the reason and the beginning of the field.
    rows: Vec<(&'static str, &'static str)>,
}

fn case(
    name: &'static str,
    body: impl Into<Vec<u8>>,
    status: u16,
    says: &'static str,
    rows: &[(&'static str, &'static str)],
) -> Case {
    Case { name, headers: "", body: body.into(), status, says, rows: rows.to_vec() }
}

pub fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn told(row: &Row) -> (String, String) {
    let text = |key: &str| row.json[key].as_str().unwrap_or_default().to_owned();
    match row.kind {
        Kind::Event => ("event".to_owned(), text("event_id")),
        Kind::Rejected => (text("reason"), text("field")),
        kind => panic!("a record of kind {kind:?}"),
    }
}

/// Runs the cases against one server; after each, a good event on a connection opened before must
/// still be taken.
async fn check(cases: Vec<Case>) {
    let server = Server::start(IngestSettings::default()).await;
    let mut other = server.connect().await;
    for case in cases {
        let before = server.rows().await.len();
        let answer = server.post("/v1/events", case.headers, &case.body).await;
        let name = case.name;
        assert_eq!(answer.status, case.status, "{name}: {}", answer.body);
        assert!(answer.body.contains(case.says), "{name}: {}", answer.body);
        let rows = server.rows().await;
        assert_eq!(rows.len() - before, case.rows.len(), "{name}: rows");
        let told: Vec<(String, String)> = rows.iter().map(told).collect();
        for (what, detail) in case.rows {
            let holds = |(w, d): &(String, String)| w == what && d.starts_with(detail);
            assert!(told.iter().any(holds), "{name}: no {what} {detail} in {told:?}");
        }
        let answer = other.post("/v1/events", "", event("other", "w").as_bytes()).await;
        assert_eq!(answer.status, 202, "another request after {name}");
    }
    server.stop().await;
}

#[tokio::test]
async fn good_bodies() {
    let lines = format!("{}\r\n\n{}\n", event("l1", "v"), event("l2", "v"));
    let both = format!("[{},{}]", event("a1", "v"), event("a2", "v"));
    check(vec![
        case(
            "one",
            event("o1", "v"),
            202,
            r#"{"accepted":1,"rejected":0,"events":[{"event_id":"o1","status":"accepted"}]}"#,
            &[("event", "o1")],
        ),
        case(
            "an array",
            both,
            202,
            r#"{"event_id":"a1","status":"accepted"},{"event_id":"a2","status":"accepted"}"#,
            &[("event", "a1"), ("event", "a2")],
        ),
        case("lines", lines, 202, r#""accepted":2"#, &[("event", "l1"), ("event", "l2")]),
        case("a mark", format!("\u{feff}{}", event("m", "v")), 202, "m", &[("event", "m")]),
        Case {
            headers: "Content-Encoding: gzip\r\nContent-Type: image/png\r\n",
            ..case("gzip", gzip(event("g1", "v").as_bytes()), 202, "g1", &[("event", "g1")])
        },
        case(
            "gzip in two members",
            [event("z1", "v") + "\n", event("z2", "v")].map(|line| gzip(line.as_bytes())).concat(),
            202,
            r#""accepted":2"#,
            &[("event", "z1"), ("event", "z2")],
        ),
        case("gzip unsaid", gzip(event("g2", "v").as_bytes()), 202, "g2", &[("event", "g2")]),
        Case {
            headers: "Content-Encoding: gzip\r\n",
            ..case("gzip said wrongly", gzip(b""), 400, "body: holds no event", &[])
        },
        case(
            "two of three lines",
            format!("{}\n{{\"event_id\":\n{}", event("x1", "v"), event("x2", "v")),
            202,
            r#""accepted":2,"rejected":1"#,
            &[("event", "x1"), ("event", "x2"), ("bad_json", "event_id: EOF")],
        ),
        case(
            "one of two",
            format!("[{},{{\"event_id\":\"b\",\"visitor_id\":\"v\"}}]", event("y1", "v")),
            202,
            r#"{"event_id":"b","status":"rejected","reason":"missing","field":"event_name","#,
            &[("event", "y1"), ("missing", "event_name: is required")],
        ),
        case(
            "a batch of bad events",
            "[5]",
            202,
            r#""accepted":0,"rejected":1"#,
            &[("bad_type", "invalid type: integer")],
        ),
        case(
            "the year 9999",
            r#"{"event_id":"future","event_name":"e","timestamp":"9999-12-31T23:59:59Z"}"#,
            202,
            "accepted",
            &[("event", "future")],
        ),
    ])
    .await;
}

#[tokio::test]
async fn bad_bodies() {
    let deep = "[".repeat(100_000);
    let closed = format!("{deep}{}", "]".repeat(100_000));
    let (open, close) = ("[".repeat(30_000), "]".repeat(30_000));
    let property = format!(r#"{{"event_name":"e","p":{open}{close}}}"#);
    check(vec![
        case("nothing", "", 400, "body: holds no event", &[]),
        case("space", " \r\n ", 400, "body: holds no event", &[]),
        case("no events", "[]", 400, "body: holds no event", &[]),
        case("no JSON", "{\"a\":", 400, "line 1 column 5", &[("bad_json", "a: EOF")]),
        case("HTML", "<html>", 400, "line 1 column 1", &[("bad_json", "body: expected value")]),
        case("a cut array", "[{},", 400, "line 1 column 4", &[("bad_json", "body: EOF")]),
        case("brackets", deep, 400, "body", &[("bad_json", "body: EOF")]),
        case("closed brackets", closed, 202, "too_large", &[("too_large", "event: ")]),
        case("a list", "[[[[]]]]", 202, "bad_type", &[("bad_type", "invalid type: sequence")]),
        case("a deep property", property, 400, "p: ", &[("bad_type", "p: expected at most 64")]),
        case(
            "no UTF-8",
            b"{\"event_name\":\"\xff\xfe\"}",
            400,
            "body: is not UTF-8 from byte 15 on",
            &[("bad_json", "body: is not UTF-8")],
        ),
        case(
            "a line without UTF-8",
            [event("u1", "v").as_bytes(), b"\n{\"event_name\":\"\xff\"}"].concat(),
            202,
            r#""accepted":1,"rejected":1"#,
            &[("event", "u1"), ("bad_json", "body: is not UTF-8")],
        ),
        case("a number", "5", 400, "invalid type", &[("bad_type", "invalid type: integer")]),
        case("no name", "{}", 400, "event_name: is required", &[("missing", "event_name")]),
        case(
            "a name that is a number",
            r#"{"event_name":5}"#,
            400,
            "event_name: invalid type",
            &[("bad_type", "event_name: invalid type")],
        ),
        case(
            "an item's price",
            r#"{"event_name":"e","items":[{"price":1},{"price":"x"}]}"#,
            400,
            "items[1].price: ",
            &[("bad_type", "items[1].price: ")],
        ),
        case(
            "the year 0",
            r#"{"event_name":"e","timestamp":"0000-01-01T00:00:00Z"}"#,
            400,
            "timestamp: `0000-01-01T00:00:00Z` is not within the years 1 to 9999",
            &[("bad_time", "timestamp: `0000-01-01")],
        ),
        case(
            "an old time",
            r#"{"event_name":"e","timestamp":"0001-01-01T00:00:00Z"}"#,
            400,
            "timestamp: 0001-01-01",
            &[("too_old", "timestamp: 0001-01-01")],
        ),
        case(
            "no time",
            r#"{"event_name":"e","timestamp":"yesterday"}"#,
            400,
            "timestamp: `yesterday`",
            &[("bad_time", "timestamp: `yesterday`")],
        ),
        case(
            "no site",
            r#"{"event_name":"e","site":"a b"}"#,
            400,
            "site: `a b`",
            &[("bad_value", "site: `a b`")],
        ),
    ])
    .await;
}

#[tokio::test]
async fn bodies_beyond_their_bounds() {
    let mib = 1024 * 1024;
    let long = format!(r#"{{"event_id":"big","event_name":"e","p":"{}"}}"#, "x".repeat(66_000));
    let chunk = format!("{:x}\r\n{}\r\n", 5 * mib, " ".repeat(5 * mib));
    check(vec![
        case(
            "a large event",
            long,
            400,
            r#""reason":"too_large","field":"event""#,
            &[("too_large", "event: 66")],
        ),
        case(
            "many events",
            format!("[{}5]", "5,".repeat(10_000)),
            413,
            "body: holds more than 10000 events",
            &[("too_many", "body: ")],
        ),
        case(
            "10 MB",
            vec![b'x'; 10_000_000],
            413,
            "body: 10000000 bytes, more than body_bytes_max, 4194304",
            &[("too_large", "body: 10000000 bytes")],
        ),
        case(
            "a bomb",
            gzip(&vec![b' '; 40 * mib]),
            413,
            "body: inflates to more than inflated_bytes_max, 16777216",
            &[("too_large", "body: inflates")],
        ),
        case(
            "cut gzip",
            gzip(event("c", "v").as_bytes())[..30].to_vec(),
            400,
            "body: is not gzip",
            &[("bad_value", "body: is not gzip")],
        ),
        Case {
            headers: "Content-Encoding: gzip\r\n",
            ..case(
                "no gzip",
                event("c", "v"),
                400,
                "body: is not gzip",
                &[("bad_value", "body: is not gzip")],
            )
        },
        Case {
            headers: "Content-Encoding: br\r\n",
            ..case(
                "brotli",
                "x",
                415,
                "Content-Encoding: `br` is not taken",
                &[("unsupported", "Content-Encoding: `br`")],
            )
        },
    ])
    .await;
    let server = Server::start(IngestSettings::default()).await;
    let mut client = server.connect().await;
    let head = "POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(format!("{head}{chunk}0\r\n\r\n").as_bytes()).await;
    assert_eq!(client.answer().await.unwrap().status, 413);
    let rows = server.rows().await;
    assert_eq!(rows[0].json["payload_bytes"], 5 * mib);
    assert_eq!(rows[0].json["payload"].as_str().unwrap().len(), 16_384);
    server.stop().await;
}

#[tokio::test]
async fn a_row_tells_what_was_refused() {
    let server = Server::start(IngestSettings::default()).await;
    let bad = r#"{"event_id":"e1","site":"shop","visitor_id":"v1","event_name":7}"#;
    server.post("/v1/events", "", bad.as_bytes()).await;
    server.post("/v1/events", "", &[0xff; 20_000]).await;
    let mut rows = server.rows().await;
    rows.sort_by_key(|row| row.json["payload_bytes"].as_i64());
    let (named, unnamed) = (&rows[0], &rows[1]);
    assert_eq!(named.json["id"], "e1");
    assert_eq!(named.json["site"], "shop");
    assert_eq!(named.json["visitor_id"], "v1");
    assert_eq!(named.json["payload"], bad);
    let partition = footfall_event::partition_of("shop", "v1", crate::server::PARTITIONS);
    assert_eq!(named.partition, partition.0);
    assert_eq!(unnamed.json["id"].as_str().unwrap().len(), 64);
    assert_eq!(unnamed.json["site"], "default");
    assert_eq!(unnamed.json["visitor_id"], Value::Null);
    assert_eq!(unnamed.json["payload_bytes"], 20_000);
    assert!(unnamed.json["payload"].as_str().unwrap().starts_with('\u{fffd}'));
    server.stop().await;
}

#[tokio::test]
async fn what_an_event_lacks_is_added_at_the_door() {
    let server = Server::start(IngestSettings::default()).await;
    let browser = "User-Agent: Mozilla/5.0 (X11) HeadlessChrome/156.0 Safari/537.36\r\n";
    let answer = server.post("/v1/events", browser, br#"{"event_name":"a"}"#).await.json();
    server.post("/v1/events", "User-Agent: curl/8\r\n", br#"{"event_name":"b"}"#).await;
    let own = br#"{"event_name":"c","user_agent":"Googlebot/2.1","bot":"mine"}"#;
    server.post("/v1/events", browser, own).await;
    let future = br#"{"event_name":"d","timestamp":"9999-01-01T00:00:00Z"}"#;
    server.post("/v1/events", "", future).await;
    let rows = server.rows().await;
    let named = |name: &str| &rows.iter().find(|row| row.json["event_name"] == name).unwrap().json;
    let (a, b, c, d) = (named("a"), named("b"), named("c"), named("d"));
    assert_eq!(a["event_id"], answer["events"][0]["event_id"]);
    assert_eq!(a["event_id"].as_str().unwrap().as_bytes()[14], b'7', "a UUID of version 7");
    assert_eq!(a["site"], "default");
    assert!(a["user_agent"].as_str().unwrap().starts_with("Mozilla/5.0"));
    assert_eq!(a["bot"], "ua:HeadlessChrome");
    assert_eq!((&b["user_agent"], &b["bot"]), (&Value::Null, &Value::Null));
    assert_eq!((&c["user_agent"], &c["bot"]), (&"Googlebot/2.1".into(), &"mine".into()));
    assert_eq!(d["event_time"], d["received_time"]);
    assert!(d["client_time"].as_i64() > d["received_time"].as_i64());
    server.stop().await;
}

#[tokio::test]
async fn every_accepted_event_is_in_the_log_once_and_in_its_partition() {
    let server = Server::start(IngestSettings::default()).await;
    let batch = |b: usize| {
        let events: Vec<String> =
            (0..100).map(|i| event(&format!("{b}-{i}"), &format!("v{}", i % 17))).collect();
        format!("[{}]", events.join(","))
    };
    for b in 0..5 {
        let answer = server.post("/v1/events?status=summary", "", batch(b).as_bytes()).await;
        assert_eq!(answer.body, r#"{"accepted":100,"rejected":0}"#);
    }
    let cookieless = br#"{"event_id":"none","site":"shop","event_name":"e"}"#;
    server.post("/v1/events", "", cookieless).await;
    let rows = server.rows().await;
    let mut ids: Vec<&str> = rows.iter().map(|r| r.json["event_id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((rows.len(), ids.len()), (501, 501));
    for row in rows {
        let place = row.json["visitor_id"].as_str().unwrap_or("none");
        let expected = footfall_event::partition_of("shop", place, crate::server::PARTITIONS);
        assert_eq!(row.partition, expected.0, "{}", row.json);
    }
    server.stop().await;
}

/// A row's id is what resends are recognised by.
#[tokio::test]
async fn bodies_of_which_only_the_beginning_is_kept_are_told_apart() {
    let server = Server::start(IngestSettings::default()).await;
    let large = |ending: &str| [vec![b'x'; 10_000_000], ending.into()].concat();
    for ending in ["a", "a", "b"] {
        let answer = server.post("/v1/events", "", &large(ending)).await;
        assert_eq!(answer.status, 413, "{}", answer.body);
    }
    let rows = server.rows().await;
    let ids: HashSet<&str> = rows.iter().map(|row| row.json["id"].as_str().unwrap()).collect();
    assert_eq!((rows.len(), ids.len()), (3, 2));
    server.stop().await;
}
