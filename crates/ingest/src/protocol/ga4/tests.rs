//! Bodies of the Measurement Protocol and of gtag.js, and the records they become.

use super::super::Protocol;
use super::super::testing::{records, records_with_times};
use super::*;

#[track_caller]
fn check(body: &str, expected: &[&str]) {
    assert_eq!(records(Protocol::Ga4, body), expected, "{body}");
}

#[test]
fn a_purchase_of_a_server() {
    let body = r#"{"client_id":"1679088078.1677654582","user_id":"u1",
        "timestamp_micros":"1795341600000000","non_personalized_ads":false,
        "user_properties":{"tier":{"value":"gold"}},"device":{"category":"mobile","browser":"Chrome",
        "operating_system":"Android","model":"Pixel 9"},
        "user_location":{"country_id":"DE","region_id":"DE-BE","city":"Berlin"},
        "ip_override":"192.0.2.1","events":[{"name":"purchase","params":{"session_id":"1700000000",
        "engagement_time_msec":100,"transaction_id":"T1","currency":"EUR","value":42.5,
        "page_location":"https://shop.example/thanks?o=1","page_title":"Thanks","items":[
        {"item_id":"s1","item_name":"Boot","price":37.6,"quantity":1}]}}]}"#;
    check(
        body,
        &[
            r#"{"event_id":"0","visitor_id":"1679088078.1677654582","user_id":"u1","client_session_id":"1700000000","event_name":"purchase","page_url":"https://shop.example/thanks?o=1","page_path":"/thanks","page_title":"Thanks","order_id":"T1","currency":"EUR","device_type":"mobile","browser":"Chrome","os":"Android","country":"DE","region":"DE-BE","ip":"192.0.2.1","value":42.5000,"items":[{"item_id":"s1","item_name":"Boot","price":37.6000,"quantity":1.0}],"properties":{"engagement_time_msec":100,"non_personalized_ads":false,"user_properties":{"tier":{"value":"gold"}},"device":{"model":"Pixel 9"},"user_location":{"city":"Berlin"}}}"#,
        ],
    );
}

#[test]
fn an_event_has_its_own_time_or_that_of_all() {
    let body = r#"{"app_instance_id":"a","timestamp_micros":1795341600000001,"events":[
        {"name":"a"},{"name":"b","timestamp_micros":"1795341601000000"},{"name":"c","params":null}]}"#;
    let times: Vec<String> = records_with_times(Protocol::Ga4, body)
        .iter()
        .map(|record| record.split("\"event_time\":").nth(1).unwrap()[..16].to_owned())
        .collect();
    assert_eq!(times, ["1795341600000001", "1795341601000000", "1795341600000001"]);
}

#[test]
fn names_that_are_taken_are_told_apart() {
    let body = r#"{"client_id":"c","consent":{"ad_user_data":"DENIED"},"events":[{"name":"campaign_details",
        "unit":1,"params":{"source":"news","medium":"email","campaign":"fall","consent":"x","unit":2}}]}"#;
    check(
        body,
        &[
            r#"{"event_id":"0","visitor_id":"c","event_name":"campaign_details","utm_source":"news","utm_medium":"email","utm_campaign":"fall","consent":"x","properties":{"unit":2,"ga4_unit":1,"consent":{"ad_user_data":"DENIED"}}}"#,
        ],
    );
}

#[test]
fn bad_events_name_the_field() {
    let long = "x".repeat(600);
    let of = |event: &str| format!(r#"{{"client_id":"c","events":[{event}]}}"#);
    for (event, expected) in [
        ("{}", "missing name: is required"),
        (r#"{"name":""}"#, "missing name: is required"),
        (r#"{"name":5}"#, "bad_type name: expected a text"),
        ("[]", "bad_type expected an event: a JSON object"),
        (r#"{"name":"e","params":[]}"#, "bad_type params: expected an object"),
        (
            r#"{"name":"e","params":{"a":"\ud800"}}"#,
            "bad_type params.a: unexpected end of hex escape",
        ),
        (
            r#"{"name":"e","timestamp_micros":"now"}"#,
            "bad_time timestamp_micros: `now` is not a time in µs",
        ),
        (
            r#"{"name":"e","timestamp_micros":1795341600000000000}"#,
            "bad_time timestamp_micros: `1795341600000000000` is not a time in µs",
        ),
        (
            r#"{"name":"e","timestamp_micros":1700000000000000}"#,
            "too_old timestamp_micros: 2023-11-14T22:13:20.000000Z is longer ago than max_age, 7d; `footfall load` takes it",
        ),
        (&format!(r#"{{"name":"{long}"}}"#), "too_long name: 600 bytes, at most 512 are taken"),
    ] {
        check(&of(event), &[expected]);
    }
    check(
        &format!(r#"{{"client_id":"{long}","events":[{{"name":"e"}}]}}"#),
        &["too_long client_id: 600 bytes, at most 512 are taken"],
    );
    let nested = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    check(
        &format!(r#"{{"user_properties":{nested},"events":[{{"name":"e"}}]}}"#),
        &["bad_type user_properties: expected at most 64 levels of nesting"],
    );
}

#[test]
fn a_body_without_events_is_told() {
    let bad = |body: &str| match split(body.as_bytes(), 2) {
        Err(bad) => format!("{} {bad}", bad.reason.code()),
        Ok(split) => format!("{} events", split.pieces.len()),
    };
    assert_eq!(bad("{}"), "missing events: is required, an array of events");
    assert_eq!(bad(r#"{"events":{}}"#), "bad_type events: expected an array of events");
    assert_eq!(bad(r#"{"events":[]}"#), "0 events");
    assert!(bad(r#"{"events":[1,2,3]}"#).starts_with("too_many events: holds more than 2"));
    assert!(bad("").starts_with("bad_json body: EOF"));
}

/// The same body is known again, if it tells its time; any other is not taken for it.
#[test]
fn an_event_with_a_time_has_an_id_of_all_that_it_says() {
    let ids = |body: &str| -> Vec<Option<String>> {
        let split = split(body.as_bytes(), 9).unwrap();
        let id = |(index, piece): (usize, &super::super::Piece<'_>)| {
            let text = piece.unwrap();
            let event = parse(text, &split.envelope, &Limits::default()).unwrap();
            id_of(&event, text, &split.envelope, split.repeats[index])
        };
        split.pieces.iter().enumerate().map(id).collect()
    };
    let one = r#"{"client_id":"c","timestamp_micros":1795341600000000,"events":[{"name":"e"},{"name":"e"}]}"#;
    let found = ids(one);
    assert_eq!(found, ids(one));
    assert!(found[0].is_some() && found[0] != found[1], "{found:?}");
    for other in [("\"c\"", "\"d\""), ("600000000", "600000001"), ("\"e\"", "\"f\"")] {
        assert_ne!(ids(&one.replace(other.0, other.1))[0], found[0], "{other:?}");
    }
    assert_eq!(ids(r#"{"client_id":"c","events":[{"name":"e"}]}"#), [None]);
}

#[test]
fn a_refused_event_keeps_what_is_said_beside_it() {
    let body = r#"{"client_id":"c", "events":[{"name":"a"},{"name":5}]}"#;
    let split = split(body.as_bytes(), 9).unwrap();
    let kept = Protocol::Ga4.alone(split.pieces[1], &split);
    assert_eq!(kept, br#"{"client_id":"c","events":[{"name":5}]}"#.as_slice());
    assert_eq!(super::super::form_of(std::str::from_utf8(&kept).unwrap()), Protocol::Ga4);
    assert_eq!(
        Protocol::Ga4.names("{}", &split, &Limits::default()).visitor_id.as_deref(),
        Some("c")
    );
}

/// Of consent mode's signals the last is analytics'.
#[test]
fn what_consent_mode_does_not_let_be_kept_is_without_cookies() {
    for (query, consent) in [
        ("en=e&cid=1&gcs=G111", None),
        ("en=e&cid=1&gcs=G101", None),
        ("en=e&cid=1&gcs=G110", Some("cookieless")),
        ("en=e&cid=1&gcs=G100", Some("cookieless")),
        ("en=e&cid=1&gcs=G100&ep.consent=granted", Some("granted")),
        ("ep.consent=granted&en=e&cid=1&gcs=G100", Some("granted")),
        ("en=e&cid=1&gcs=0", None),
    ] {
        let body = Hits::of(query, b"", 9, 9_999).unwrap().convert();
        let record: serde_json::Value =
            serde_json::from_str(&records(Protocol::Ga4, &body)[0]).unwrap();
        assert_eq!(record["consent"].as_str(), consent, "{query}");
        assert!(record["properties"]["gcs"].is_string(), "{query}");
    }
}

#[test]
fn hits_of_a_browser() {
    let query = "v=2&tid=G-SHOP&_p=77&cid=1.2&sid=9&dl=https%3A%2F%2Fshop.example%2Fp%2F1&dt=Boot%20%26%20Shoe&dr=&ul=de-de";
    let hits = |query: &str, body: &str| {
        let hits = Hits::of(query, body.as_bytes(), 9, 10_000).unwrap();
        records(Protocol::Ga4, &hits.convert())
    };
    let view = hits(&format!("{query}&en=page_view&_et=250&api_secret=K&_uip=192.0.2.7"), "");
    assert_eq!(
        view,
        [
            r#"{"event_id":"0","visitor_id":"1.2","client_session_id":"9","event_name":"page_view","page_url":"https://shop.example/p/1","page_path":"/p/1","page_title":"Boot & Shoe","language":"de-de","ip":"192.0.2.7","properties":{"_p":"77","engagement_time_msec":250,"v":"2"}}"#
        ]
    );
    let lines = "en=scroll&epn.percent_scrolled=90&cid=3.4\r\nen=add_to_cart&cu=EUR&epn.value=75.2&ep.method=button&up.tier=gold&pr1=ids1~nmBoot~pr37.6~qt2~k0size~v042\n";
    assert_eq!(
        hits("tid=G-SHOP&cid=1.2", lines),
        [
            r#"{"event_id":"0","visitor_id":"3.4","event_name":"scroll","properties":{"percent_scrolled":90}}"#,
            r#"{"event_id":"1","visitor_id":"1.2","event_name":"add_to_cart","currency":"EUR","value":75.2000,"items":[{"item_id":"s1","item_name":"Boot","price":37.6000,"quantity":2.0}],"properties":{"items":[{"item_id":"s1","item_name":"Boot","price":37.6,"quantity":2,"size":"42"}],"method":"button","user_properties":{"tier":{"value":"gold"}}}}"#,
        ]
    );
}

#[test]
fn hits_are_bounded_before_they_are_made() {
    let bad = |query: &str, body: &str| {
        let bad = Hits::of(query, body.as_bytes(), 3, 1_000).err().unwrap();
        (bad.reason, bad.path)
    };
    assert_eq!(bad("", "a\na\na\na\n"), (Reason::TooMany, "body".to_owned()));
    assert_eq!(bad(&"x".repeat(100), "a\na\na\n"), (Reason::TooLarge, "body".to_owned()));
    assert_eq!(bad("", &"x".repeat(300)), (Reason::TooLarge, "body".to_owned()));
    assert!(Hits::of("", b"\xff", 3, 1_000).is_err());
}

/// By which it is known when its client sends it again.
#[test]
fn an_event_that_is_replayed_alone_has_the_same_id() {
    let body = r#"{"client_id":"c","timestamp_micros":1795341600000000,"events":[{"name":"a"},{"name":"b"}]}"#;
    let id = |body: &str, at: usize| {
        let split = split(body.as_bytes(), 9).unwrap();
        let text = split.pieces[at].unwrap();
        let event = parse(text, &split.envelope, &Limits::default()).unwrap();
        Protocol::Ga4.id_of(&event, text, &split, at)
    };
    let split = split(body.as_bytes(), 9).unwrap();
    let alone = Protocol::Ga4.alone(split.pieces[1], &split);
    assert_eq!(id(std::str::from_utf8(&alone).unwrap(), 0), id(body, 1));
}
