//! Events in their envelopes, and the records they become.

use super::super::Protocol;
use super::super::testing::records;
use super::*;

#[track_caller]
fn check(body: &str, expected: &[&str]) {
    assert_eq!(records(Protocol::CloudEvents, body), expected, "{body}");
}

#[test]
fn attributes_say_what_data_leaves_open() {
    let body = r#"[{"specversion":"1.0","id":"7","source":"/shop/checkout","type":"purchase",
        "time":"2026-11-22T10:00:00Z","subject":"order-1","datacontenttype":"application/json","dataschema":"https://s.example/1",
        "traceparent":"00-ab","data":{"visitor_id":"v","order_id":"o1","value":9.5,"gift":true}},
        {"specversion":"1.0","id":"8","source":"s","type":"com.example.viewed","data":{"event_id":"e1",
        "event_name":"page_view","visitor_id":"v","source":"mine"}},
        {"specversion":"1.0","id":"9","source":"s","type":"ping","data":null}]"#;
    check(
        body,
        &[
            r#"{"event_id":"/shop/checkout#7","visitor_id":"v","event_name":"purchase","order_id":"o1","value":9.5000,"properties":{"gift":true,"source":"/shop/checkout","subject":"order-1","dataschema":"https://s.example/1","traceparent":"00-ab"}}"#,
            r#"{"event_id":"e1","visitor_id":"v","event_name":"page_view","properties":{"source":"mine","ce_source":"s","type":"com.example.viewed"}}"#,
            r#"{"event_id":"s#9","event_name":"ping","properties":{"source":"s"}}"#,
        ],
    );
}

#[test]
fn an_id_is_one_of_its_source() {
    let of = |source: &str| {
        let body = format!(r#"{{"specversion":"1.0","id":"1","source":"{source}","type":"t"}}"#);
        records(Protocol::CloudEvents, &body).concat()
    };
    assert!(of("a").contains(r#""event_id":"a#1""#) && of("b").contains(r#""event_id":"b#1""#));
    let long = of(&"x".repeat(600));
    let id = &long[r#"{"event_id":""#.len()..][..64];
    assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{long}");
}

#[test]
fn bad_events_name_the_field() {
    let of =
        |more: &str| format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t"{more}}}"#);
    for (body, expected) in [
        (r#"{"id":"1"}"#.to_owned(), "missing specversion: is required, in the body"),
        (
            r#"{"specversion":"0.3"}"#.to_owned(),
            "unsupported specversion: `0.3` is not taken: send 1.0",
        ),
        (r#"{"specversion":"1.0","id":""}"#.to_owned(), "missing id: is required"),
        (r#"{"specversion":"1.0","id":5}"#.to_owned(), "bad_type id: expected a text"),
        (r#"{"specversion":"1.0","id":"1"}"#.to_owned(), "missing source: is required"),
        (of(r#","data_base64":"e30=""#), "bad_type data_base64: expected JSON, in `data`"),
        (
            of(r#","data":5"#),
            "bad_type data: invalid type: integer `5`, expected an event: a JSON object",
        ),
        (
            of(r#","data":{"x":"wide"}"#),
            "bad_type data.x: invalid type: string \"wide\", expected a number",
        ),
        (
            of(r#","time":"noon""#),
            "bad_time time: `noon` is not a time such as 2026-11-22T10:00:00.000000Z",
        ),
        (
            of(r#","time":"2025-01-01T00:00:00Z""#),
            "too_old time: 2025-01-01T00:00:00.000000Z is longer ago than max_age, 7d; `footfall load` takes it",
        ),
        ("5".to_owned(), "bad_type expected an event: a JSON object"),
    ] {
        check(&body, &[expected]);
    }
}

#[test]
fn a_refused_event_is_known_by_its_names() {
    let text =
        r#"{"specversion":"2","id":"1","source":"s","data":{"visitor_id":"v","site":"shop"}}"#;
    let names = names(text, &Limits::default());
    let told = [names.event_id, names.visitor_id, names.site].map(Option::unwrap_or_default);
    assert_eq!(told, ["s#1", "v", "shop"]);
    assert_eq!(super::super::form_of(text), Protocol::CloudEvents);
}
