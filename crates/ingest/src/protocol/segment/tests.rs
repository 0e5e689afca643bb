//! Segment's calls as text, and the records they become.

use std::time::Duration;

use footfall_event::Limits;

use super::super::Protocol;
use super::super::testing::records;
use super::*;

#[track_caller]
fn check(call: Call, body: &str, expected: &[&str]) {
    assert_eq!(records(Protocol::Segment(call), body), expected, "{body}");
}

#[test]
fn a_batch_of_all_types() {
    let body = r#"{"batch":[
        {"type":"identify","userId":"u1","anonymousId":"a1","messageId":"m1",
         "traits":{"email":"x@example.com"},"integrations":{}},
        {"type":"page","name":"Product","anonymousId":"a1","messageId":"m2",
         "properties":{"url":"https://shop.example/p/1","path":"/p/1","name":"Product"}},
        {"type":"group","groupId":"g1","traits":{},"userId":"u1","messageId":"m3"},
        {"type":"screen","name":"Home","properties":{},"anonymousId":"a1","messageId":"m4"}
    ],"writeKey":"WK","sentAt":"2026-11-22T10:00:00.000Z"}"#;
    check(
        Call::Batch,
        body,
        &[
            r#"{"event_id":"m1","visitor_id":"a1","user_id":"u1","event_name":"identify","properties":{"traits":{"email":"x@example.com"}}}"#,
            r#"{"event_id":"m2","visitor_id":"a1","event_name":"page_view","page_url":"https://shop.example/p/1","page_path":"/p/1","properties":{"name":"Product"}}"#,
            r#"{"event_id":"m3","visitor_id":"u:u1","user_id":"u1","event_name":"group","properties":{"groupId":"g1"}}"#,
            r#"{"event_id":"m4","visitor_id":"a1","event_name":"screen_view","properties":{"name":"Home"}}"#,
        ],
    );
}

#[test]
fn an_order_fills_the_columns_of_trade() {
    let body = r#"{"event":"Order Completed","messageId":"m1","userId":7,"anonymousId":null,
        "properties":{"order_id":"o-1","currency":"EUR","revenue":42.5,"shipping":4.90,
          "coupon":"FALL","products":[{"product_id":"p1","name":"Boot","brand":"B",
          "category":"Shoes","variant":"red","price":"37.6","quantity":1}]}}"#;
    check(
        Call::One("track"),
        body,
        &[
            r#"{"event_id":"m1","visitor_id":"u:7","user_id":"7","event_name":"purchase","order_id":"o-1","currency":"EUR","coupon":"FALL","value":42.5000,"items":[{"item_id":"p1","item_name":"Boot","item_brand":"B","item_category":"Shoes","item_variant":"red","price":37.6000,"quantity":1.0}],"properties":{"shipping":4.90,"event":"Order Completed"}}"#,
        ],
    );
}

#[test]
fn what_items_cannot_hold_stays_beside_them() {
    let body = r#"{"event":"e","messageId":"m","properties":{"value":3,"revenue":4,"products":[
        {"product_id":1,"sku":"s"}]}}"#;
    check(
        Call::One("track"),
        body,
        &[
            "{\"event_id\":\"m\",\"event_name\":\"e\",\"value\":3.0000,\"items\":[{\"item_id\":\"1\"}],\"properties\":{\"revenue\":4,\"products\":[\n        {\"product_id\":1,\"sku\":\"s\"}]}}",
        ],
    );
}

#[test]
fn a_single_product_is_an_item() {
    let body = r#"{"event":"Product Viewed","messageId":"m","properties":{"product_id":"p1",
        "name":"Boot","price":9,"url":"https://shop.example/p/1","query":"boots"}}"#;
    check(
        Call::One("track"),
        body,
        &[
            r#"{"event_id":"m","event_name":"view_item","search_term":"boots","items":[{"item_id":"p1","item_name":"Boot","price":9.0000}],"properties":{"url":"https://shop.example/p/1","event":"Product Viewed"}}"#,
        ],
    );
}

#[test]
fn context_fills_what_the_properties_left_open() {
    let body = r#"{"type":"page","messageId":"m","anonymousId":"a","properties":{"path":"/p/1"},
        "context":{"page":{"path":"/other","url":"https://s.example/p/1?q=1","title":"Boot",
        "referrer":"https://g.example/","search":"?q=1"},"campaign":{"source":"news","medium":
        "email","name":"fall","term":"t","content":"c","id":5},"userAgent":"Mozilla/5.0",
        "locale":"de-DE","ip":null,"sessionId":99,"library":{"name":"x"}}}"#;
    check(
        Call::One("page"),
        body,
        &[
            r#"{"event_id":"m","visitor_id":"a","client_session_id":"99","event_name":"page_view","page_url":"https://s.example/p/1?q=1","page_path":"/p/1","page_title":"Boot","referrer":"https://g.example/","utm_source":"news","utm_medium":"email","utm_campaign":"fall","utm_term":"t","utm_content":"c","user_agent":"Mozilla/5.0","language":"de-DE","properties":{"context":{"page":{"path":"/other"},"campaign":{"id":5},"library":{"name":"x"}}}}"#,
        ],
    );
}

#[test]
fn properties_do_not_say_who_an_event_is_of() {
    let body = r#"{"event":"Ticket Viewed","messageId":"m","name":"n","properties":
        {"event_id":"concert","site":"other","seq":"x","section":4,"name":"band"}}"#;
    check(
        Call::One("track"),
        body,
        &[
            r#"{"event_id":"m","event_name":"Ticket Viewed","properties":{"event_id":"concert","site":"other","seq":"x","section":4,"name":"band","segment_name":"n"}}"#,
        ],
    );
}

#[test]
fn bad_events_name_the_field() {
    let nested = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let deep = format!(r#"{{"event":"e","properties":{{"b":1,"a":{nested}}}}}"#);
    let traits = format!(r#"{{"event":"e","traits":{nested}}}"#);
    let context = format!(r#"{{"event":"e","context":{{"page":{{"a":{nested}}}}}}}"#);
    let long = "x".repeat(600);
    let [message_id, anonymous_id, user_id, event, kind] =
        ["messageId", "anonymousId", "userId", "event", "type"].map(|name| {
            let event = if name == "event" { "" } else { r#""event":"e","# };
            format!(r#"{{{event}"{name}":"{long}"}}"#)
        });
    let cases = [
        (r#"{}"#, "missing event: is required by `track`"),
        (r#"{"event":1}"#, "bad_type event: expected a text"),
        (r#"{"event":""}"#, "missing event: is required by `track`"),
        (r#"{"type":"","event":"e"}"#, "missing type: is required, such as `track`"),
        (r#"{"event":"e","messageId":{}}"#, "bad_type messageId: expected a text or a number"),
        (r#"{"event":"e","properties":[]}"#, "bad_type properties: expected an object"),
        (r#"{"event":"e","context":1}"#, "bad_type context: expected an object"),
        (
            r#"{"event":"e","timestamp":"yesterday"}"#,
            "bad_time timestamp: `yesterday` is not a time such as 2026-11-22T10:00:00.000000Z",
        ),
        (r#"{"event":"e","sentAt":5}"#, "bad_type sentAt: expected a time as text or in ms"),
        (r#"[]"#, "bad_type expected an event: a JSON object"),
        (deep.as_str(), "bad_type properties.a: expected at most 64 levels of nesting"),
        (traits.as_str(), "bad_type traits: expected at most 64 levels of nesting"),
        (context.as_str(), "bad_type context: expected at most 64 levels of nesting"),
        (
            r#"{"event":"e","properties":{"a":"\ud800"}}"#,
            "bad_type properties.a: unexpected end of hex escape",
        ),
        (message_id.as_str(), "too_long messageId: 600 bytes, at most 512 are taken"),
        (anonymous_id.as_str(), "too_long anonymousId: 600 bytes, at most 512 are taken"),
        (user_id.as_str(), "too_long userId: 600 bytes, at most 512 are taken"),
        (event.as_str(), "too_long event: 600 bytes, at most 512 are taken"),
        (kind.as_str(), "too_long type: 600 bytes, at most 512 are taken"),
        (
            r#"{"event":"e","timestamp":"2025-01-01T00:00:00Z"}"#,
            "too_old timestamp: 2025-01-01T00:00:00.000000Z is longer ago than max_age, 7d; `footfall load` takes it",
        ),
        (
            r#"{"event":"e","timestamp":null,"originalTimestamp":"2025-01-01T00:00:00Z"}"#,
            "too_old originalTimestamp: 2025-01-01T00:00:00.000000Z is longer ago than max_age, 7d; `footfall load` takes it",
        ),
    ];
    for (body, expected) in cases {
        check(Call::One("track"), body, &[expected]);
    }
    check(Call::Batch, r#"{"batch":[{}]}"#, &["missing type: is required, such as `track`"]);
}

#[test]
fn a_batch_without_events_is_told() {
    let bad = |body: &str| match split(Call::Batch, body.as_bytes(), 2) {
        Err(bad) => format!("{} {bad}", bad.reason.code()),
        Ok(split) if split.pieces.is_empty() => format!("empty {}", split.holder),
        Ok(_) => "good".to_owned(),
    };
    assert_eq!(bad("{}"), "missing batch: is required, an array of events");
    assert_eq!(bad(r#"{"batch":{}}"#), "bad_type batch: expected an array of events");
    assert_eq!(bad(r#"{"batch":[]}"#), "empty batch");
    assert_eq!(bad(" "), "empty body");
    assert_eq!(bad(r#"{"batch":[1,2]}"#), "good");
    assert!(bad(r#"{"batch":[1,2,3]}"#).starts_with("too_many batch: holds more than 2 events"));
    assert!(bad("[]").starts_with("bad_json body: invalid type"));
}

#[test]
fn the_time_sent_is_the_events_or_else_the_batchs() {
    let body = r#"{"sentAt":"2026-11-22T10:00:05Z","batch":[
        {"type":"track","event":"a","timestamp":"2026-11-22T10:00:00Z"},
        {"type":"track","event":"b","originalTimestamp":"2026-11-22T10:00:00Z",
         "sentAt":"2026-11-22T10:00:01.000001Z"}]}"#;
    let split = split(Call::Batch, body.as_bytes(), 9).unwrap();
    let times: Vec<i64> = split
        .pieces
        .iter()
        .map(|piece| {
            let limits = Limits::default();
            let event = parse(Call::Batch, piece.unwrap(), &split.envelope, &limits).unwrap();
            let client = event.client;
            client.sent_at.unwrap().0 - client.timestamp.unwrap().0
        })
        .collect();
    assert_eq!(times, [5_000_000, 1_000_001]);
}

/// Of RudderStack's browser SDK, which says of its own what no other does.
#[test]
fn a_page_that_was_reached_from_none_has_no_referrer() {
    for (call, said) in [
        ("page", r#""properties":{"url":"https://shop.example/","referrer":"$direct"}"#),
        ("page", r#""context":{"page":{"url":"https://shop.example/","referrer":"$direct"}}"#),
    ] {
        check(
            Call::One(call),
            &format!(r#"{{"messageId":"m",{said}}}"#),
            &[r#"{"event_id":"m","event_name":"page_view","page_url":"https://shop.example/"}"#],
        );
    }
}

#[test]
fn calls_without_properties_say_their_consent_all_the_same() {
    for said in [
        r#""context":{"consent":"denied"}"#,
        r#""context":{"consent":"denied"},"traits":{}"#,
        r#""traits":{"consent":"denied"}"#,
    ] {
        let record = records(Protocol::Segment(Call::One("identify")), &format!("{{{said}}}"));
        assert!(record[0].contains(r#""consent":"denied""#), "{record:?}");
    }
}

#[test]
fn an_item_is_known_by_its_product() {
    for (product, item_id) in [
        (r#"{"id":"line-7","product_id":"p1","sku":"s1"}"#, "p1"),
        (r#"{"sku":"s1","id":7}"#, "7"),
        (r#"{"name":"Lamp","sku":"s1"}"#, "s1"),
    ] {
        let body = format!(r#"{{"event":"e","properties":{{"products":[{product}]}}}}"#);
        let record = records(Protocol::Segment(Call::One("track")), &body);
        assert!(record[0].contains(&format!(r#""items":[{{"item_id":"{item_id}""#)), "{record:?}");
    }
    check(
        Call::One("track"),
        r#"{"event":"e","messageId":"m","properties":{"product_id":null,"color":"red"}}"#,
        &[r#"{"event_id":"m","event_name":"e","properties":{"product_id":null,"color":"red"}}"#],
    );
}

#[test]
fn a_time_may_be_in_ms_or_name_no_zone() {
    let time = |said: &str| {
        let body = format!(r#"{{"event":"e","timestamp":{said}}}"#);
        let event = parse(Call::One("track"), &body, &Fields::default(), &Limits::default());
        event.map(|event| event.client.timestamp)
    };
    let expected = Ok(Some(Micros(1_795_341_600_500_000)));
    for said in ["1795341600500", r#""1795341600500""#, r#""2026-11-22T10:00:00.5""#] {
        assert_eq!(time(said), expected, "{said}");
    }
    let beyond = time("1795341600500000").unwrap_err();
    assert_eq!((beyond.reason, beyond.path.as_str()), (Reason::BadType, "timestamp"));
    // Of all events of a batch.
    let body = r#"{"sentAt":"soon","batch":[{"type":"track","event":"e","messageId":"m"}]}"#;
    check(Call::Batch, body, &[r#"{"event_id":"m","event_name":"e"}"#]);
}

#[test]
fn what_does_not_fit_its_column_stays_in_properties() {
    let long = "x".repeat(600);
    let body = format!(
        r#"{{"event":"e","messageId":"m","properties":{{"coupon":"{long}","page_type":"cart",
        "product_id":"{long}","name":"Boot","quantity":2}},
        "context":{{"page":{{"title":"{}"}},"locale":"{long}"}}}}"#,
        "y".repeat(8_193)
    );
    let expected = format!(
        r#"{{"event_id":"m","event_name":"e","page_type":"cart","items":[{{"item_name":"Boot","quantity":2.0}}],"properties":{{"coupon":"{long}","product_id":"{long}","context":{{"page":{{"title":"{}"}},"locale":"{long}"}}}}}}"#,
        "y".repeat(8_193)
    );
    check(Call::One("track"), &body, &[&expected]);
    let products = format!("[{}]", vec![r#"{"product_id":"p"}"#; 501].join(","));
    check(
        Call::One("track"),
        &format!(r#"{{"event":"e","messageId":"m","properties":{{"products":{products}}}}}"#),
        &[&format!(
            r#"{{"event_id":"m","event_name":"e","properties":{{"products":{products}}}}}"#
        )],
    );
}

#[test]
fn of_a_repeated_field_the_last_counts() {
    check(
        Call::One("track"),
        r#"{"event":"a","event":"b","messageId":"m","color":1,"color":2,"properties":{"coupon":"x","size":1,"coupon":"y","size":2}}"#,
        &[r#"{"event_id":"m","event_name":"b","coupon":"y","properties":{"size":2,"color":2}}"#],
    );
}

#[test]
fn a_name_is_given_to_one_field_alone() {
    check(
        Call::One("track"),
        r#"{"event":"e","messageId":"m","a":1,"segment_a":2,"b":3,"properties":{"a":4,"b":3}}"#,
        &[
            r#"{"event_id":"m","event_name":"e","properties":{"a":4,"b":3,"segment_a":1,"segment_segment_a":2}}"#,
        ],
    );
}

/// Fields that were each looked for among all properties took minutes; what hangs is a failure.
#[test]
fn many_fields_cost_no_more_each_than_few() {
    const PATIENCE: Duration = Duration::from_secs(60);
    let many = |prefix: &str| {
        let fields: Vec<String> = (0..300_000).map(|i| format!("\"{prefix}{i}\":1")).collect();
        fields.join(",")
    };
    let body = format!(r#"{{"event":"e",{},"properties":{{{}}}}}"#, many("f"), many("p"));
    let (done, parsed) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (call, limits) = (Call::One("track"), Limits::default());
        let event = parse(call, &body, &Fields::default(), &limits).unwrap();
        done.send(event.properties.unwrap().ends_with("\"f299999\":1}"))
    });
    assert_eq!(parsed.recv_timeout(PATIENCE), Ok(true));
}
