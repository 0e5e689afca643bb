//! Events as trackers send them, and the records they become.

use footfall_event::{Limits, Micros};

use super::super::Protocol;
use super::super::testing::records;
use super::*;

#[track_caller]
fn check(text: &str, expected: &str) {
    let body = format!(r#"{{"data":[{text}]}}"#);
    assert_eq!(records(Protocol::Snowplow, &body), [expected], "{text}");
}

fn encoded(json: &str) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json)
}

fn event_of(schema: &str, data: &str) -> String {
    let outer = "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0";
    let inner = format!(r#"{{"schema":"iglu:{schema}","data":{data}}}"#);
    format!(r#"{{"schema":"{outer}","data":{inner}}}"#)
}

fn contexts(contexts: &[(&str, &str)]) -> String {
    let of =
        |(schema, data): &(&str, &str)| format!(r#"{{"schema":"iglu:{schema}","data":{data}}}"#);
    let all = contexts.iter().map(of).collect::<Vec<_>>().join(",");
    let outer = "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-0";
    format!(r#"{{"schema":"{outer}","data":[{all}]}}"#)
}

#[test]
fn a_page_view_with_its_contexts() {
    let co = contexts(&[
        ("com.snowplowanalytics.snowplow/web_page/jsonschema/1-0-0", r#"{"id":"pv1"}"#),
        (
            "com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2",
            r#"{"userId":"d1","sessionId":"s1","eventIndex":4,"sessionIndex":1}"#,
        ),
        (
            "com.snowplowanalytics.snowplow.ecommerce/page/jsonschema/1-0-0",
            r#"{"type":"product","locale":"de"}"#,
        ),
        ("com.acme/thing/jsonschema/1-0-0", r#"{"size":3}"#),
    ]);
    let text = format!(
        r#"{{"e":"pv","eid":"e1","duid":"d1","sid":"s1","uid":"u1","url":"https://shop.example/p/1","page":"Boot","refr":"https://g.example/","lang":"de-DE","aid":"shop","tv":"js-4.10.1","p":"web","dtm":"1795341600000","stm":"1795341600040","cx":"{}"}}"#,
        encoded(&co)
    );
    check(
        &text,
        r#"{"event_id":"e1","site":"shop","visitor_id":"d1","user_id":"u1","client_session_id":"s1","event_name":"page_view","page_view_id":"pv1","page_url":"https://shop.example/p/1","page_path":"/p/1","page_type":"product","page_title":"Boot","referrer":"https://g.example/","language":"de-DE","seq":4,"properties":{"tv":"js-4.10.1","p":"web","contexts":[{"schema":"iglu:com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2","data":{"sessionIndex":1}},{"schema":"iglu:com.snowplowanalytics.snowplow.ecommerce/page/jsonschema/1-0-0","data":{"locale":"de"}},{"schema":"iglu:com.acme/thing/jsonschema/1-0-0","data":{"size":3}}]}}"#,
    );
}

#[test]
fn an_order_is_a_purchase() {
    let co = contexts(&[
        (
            "com.snowplowanalytics.snowplow.ecommerce/transaction/jsonschema/1-0-0",
            r#"{"transaction_id":"T1","revenue":42.5,"currency":"EUR","tax":8}"#,
        ),
        (
            "com.snowplowanalytics.snowplow.ecommerce/product/jsonschema/1-0-0",
            r#"{"id":"p1","name":"Boot","category":"shoes","price":37.6,"quantity":1,"currency":"EUR"}"#,
        ),
    ]);
    let action = event_of(
        "com.snowplowanalytics.snowplow.ecommerce/snowplow_ecommerce_action/jsonschema/1-0-2",
        r#"{"type":"transaction"}"#,
    );
    let text = format!(
        r#"{{"e":"ue","eid":"e1","duid":"d1","ue_px":"{}","co":{}}}"#,
        encoded(&action),
        serde_json::Value::from(co)
    );
    check(
        &text,
        r#"{"event_id":"e1","visitor_id":"d1","event_name":"purchase","order_id":"T1","currency":"EUR","value":42.5000,"items":[{"item_id":"p1","item_name":"Boot","item_category":"shoes","price":37.6000,"quantity":1.0}],"properties":{"contexts":[{"schema":"iglu:com.snowplowanalytics.snowplow.ecommerce/transaction/jsonschema/1-0-0","data":{"tax":8}}]}}"#,
    );
}

#[test]
fn events_of_snowplows_own_schemas() {
    for (schema, data, expected) in [
        (
            "com.snowplowanalytics.snowplow/link_click/jsonschema/1-0-1",
            r#"{"targetUrl":"https://a.example/","elementId":"buy"}"#,
            r#""event_name":"click","target":"buy","properties":{"targetUrl":"https://a.example/"}}"#,
        ),
        (
            "com.snowplowanalytics.snowplow/web_vitals/jsonschema/1-0-0",
            r#"{"lcp":2100.4,"cls":0.02,"inp":80,"ttfb":120,"navigationType":"navigate"}"#,
            r#""event_name":"web_vitals","lcp_ms":2100,"inp_ms":80,"ttfb_ms":120,"cls":0.02,"properties":{"navigationType":"navigate"}}"#,
        ),
        (
            "com.snowplowanalytics.snowplow/application_error/jsonschema/1-0-2",
            r#"{"message":"boom","programmingLanguage":"JAVASCRIPT"}"#,
            r#""event_name":"error","error":"boom","properties":{"programmingLanguage":"JAVASCRIPT"}}"#,
        ),
        (
            "com.snowplowanalytics.snowplow/site_search/jsonschema/1-0-0",
            r#"{"terms":["red","boots"],"totalResults":0}"#,
            r#""event_name":"search","search_term":"red boots","search_results":0}"#,
        ),
        (
            "com.snowplowanalytics.snowplow/add_to_cart/jsonschema/1-0-0",
            r#"{"sku":"s1","name":"Boot","unitPrice":9.5,"quantity":2,"currency":"EUR"}"#,
            r#""event_name":"add_to_cart","currency":"EUR","items":[{"item_id":"s1","item_name":"Boot","price":9.5000,"quantity":2.0}]}"#,
        ),
        (
            "com.acme/size_chosen/jsonschema/1-0-0",
            r#"{"section":"sizes","size":42}"#,
            r#""event_name":"size_chosen","section":"sizes","properties":{"schema":"iglu:com.acme/size_chosen/jsonschema/1-0-0","size":42}}"#,
        ),
    ] {
        let event = serde_json::Value::from(event_of(schema, data));
        let text = format!(r#"{{"e":"ue","eid":"e1","ue_pr":{event}}}"#);
        check(&text, &format!(r#"{{"event_id":"e1",{expected}"#));
    }
}

/// PHP's trackers escape the slashes of a schema.
#[test]
fn a_schema_is_known_however_it_is_written() {
    let schema = "com.snowplowanalytics.snowplow/site_search/jsonschema/1-0-0";
    let event = event_of(schema, r#"{"terms":["boots"]}"#).replace('/', r"\/");
    let event = serde_json::Value::from(event);
    check(
        &format!(r#"{{"e":"ue","eid":"e1","ue_pr":{event}}}"#),
        r#"{"event_id":"e1","event_name":"search","search_term":"boots"}"#,
    );
    let own = event_of("com.acme/size_chosen/jsonschema/1-0-0", "{}").replace('/', r"\/");
    check(
        &format!(r#"{{"e":"ue","eid":"e1","ue_px":"{}"}}"#, encoded(&own)),
        r#"{"event_id":"e1","event_name":"size_chosen","properties":{"schema":"iglu:com.acme/size_chosen/jsonschema/1-0-0"}}"#,
    );
}

#[test]
fn a_checkout_begins_with_its_first_step() {
    let action = event_of(
        "com.snowplowanalytics.snowplow.ecommerce/snowplow_ecommerce_action/jsonschema/1-0-2",
        r#"{"type":"checkout_step"}"#,
    );
    for (step, name) in [
        (r#"{"step":1}"#, "begin_checkout"),
        ("{}", "begin_checkout"),
        (r#"{"step":3}"#, "checkout_step_viewed"),
    ] {
        let schema = "com.snowplowanalytics.snowplow.ecommerce/checkout_step/jsonschema/1-0-0";
        let (co, ue) = (encoded(&contexts(&[(schema, step)])), encoded(&action));
        let body = format!(r#"{{"data":[{{"e":"ue","eid":"e1","ue_px":"{ue}","cx":"{co}"}}]}}"#);
        let record = records(Protocol::Snowplow, &body);
        assert!(record[0].contains(&format!(r#""event_name":"{name}""#)), "{record:?}");
    }
}

/// Trackers have no other place for it.
#[test]
fn a_context_may_say_the_visitors_consent() {
    let co =
        encoded(&contexts(&[("com.acme/privacy/jsonschema/1-0-0", r#"{"consent":"denied"}"#)]));
    check(
        &format!(r#"{{"e":"pv","eid":"e1","cx":"{co}"}}"#),
        r#"{"event_id":"e1","event_name":"page_view","consent":"denied"}"#,
    );
}

#[test]
fn what_does_not_fit_its_column_stays_in_properties() {
    let long = format!("https://shop.example/{}", "x".repeat(8_192));
    check(
        &format!(r#"{{"e":"pv","eid":"e1","url":"{long}","ip":5,"page":7}}"#),
        &format!(
            r#"{{"event_id":"e1","event_name":"page_view","properties":{{"url":"{long}","page":7}}}}"#
        ),
    );
    let co = contexts(&[("com.acme/a/jsonschema/1-0-0", r#"{"title":"\ud83d"}"#)]);
    check(
        &format!(r#"{{"e":"pv","eid":"e1","cx":"{}"}}"#, encoded(&co)),
        r#"{"event_id":"e1","event_name":"page_view","properties":{"contexts":[{"schema":"iglu:com.acme/a/jsonschema/1-0-0","data":{"title":"\ufffd"}}]}}"#,
    );
}

#[test]
fn events_without_a_schema() {
    check(
        r#"{"e":"se","eid":"e1","se_ca":"shop","se_ac":"add-to-basket","se_la":"s1","se_pr":"pcs","se_va":"2"}"#,
        r#"{"event_id":"e1","event_name":"add-to-basket","properties":{"se_category":"shop","se_label":"s1","se_property":"pcs","se_value":"2"}}"#,
    );
    check(
        r#"{"e":"pp","eid":"e1","pp_mix":"0","pp_max":"10"}"#,
        r#"{"event_id":"e1","event_name":"page_ping","properties":{"pp_mix":"0","pp_max":"10"}}"#,
    );
    check(
        r#"{"e":"tr","eid":"e1","tr_id":"T1","tr_tt":"42.50","tr_cu":"EUR","tr_sh":"4"}"#,
        r#"{"event_id":"e1","event_name":"purchase","order_id":"T1","currency":"EUR","value":42.5000,"properties":{"tr_sh":"4"}}"#,
    );
    check(
        r#"{"e":"ti","eid":"e1","ti_id":"T1","ti_sk":"s1","ti_nm":"Boot","ti_pr":"9","ti_qu":"2"}"#,
        r#"{"event_id":"e1","event_name":"transaction_item","order_id":"T1","items":[{"item_id":"s1","item_name":"Boot","price":9.0000,"quantity":2.0}]}"#,
    );
}

#[test]
fn bad_events_name_the_field() {
    let ue = |event: &str| format!(r#"{{"e":"ue","ue_pr":{}}}"#, serde_json::Value::from(event));
    let long = "x".repeat(600);
    let nested = format!(r#"{{"a":{}1{}}}"#, "[".repeat(100), "]".repeat(100));
    for (text, expected) in [
        ("{}".to_owned(), "missing e: is required, such as `pv`"),
        (r#"{"e":"se"}"#.to_owned(), "missing se_ac: is required, the action"),
        (r#"{"e":"ue"}"#.to_owned(), "missing ue_pr: is required, the event"),
        (r#"{"e":"pv","dtm":"now"}"#.to_owned(), "bad_time dtm: `now` is not a time in ms"),
        (
            r#"{"e":"pv","cx":"!"}"#.to_owned(),
            "bad_type cx: expected base64: Invalid symbol 33, offset 0.",
        ),
        (
            format!(r#"{{"e":"pv","cx":"{}"}}"#, encoded("nonsense")),
            "bad_type cx: expected self-describing JSON, with `schema` and `data`: expected ident at line 1 column 2",
        ),
        (
            ue(r#"{"schema":"nonsense","data":{}}"#),
            "bad_type ue_pr: expected self-describing JSON, with `schema` and `data`",
        ),
        (
            ue(&event_of("com.acme/a/jsonschema/1-0-0", "7")),
            "bad_type ue_pr: expected an object as `data`",
        ),
        (
            ue(&event_of("com.acme/a/jsonschema/1-0-0", &nested)),
            "bad_type ue_pr: expected at most 64 levels of nesting",
        ),
        (
            format!(r#"{{"e":"se","se_ac":"{long}"}}"#),
            "too_long se_ac: 600 bytes, at most 512 are taken",
        ),
        (
            r#"{"e":"pv","dtm":"1795341600000","ttm":"1700000000000"}"#.to_owned(),
            "too_old ttm: 2023-11-14T22:13:20.000000Z is longer ago than max_age, 7d; `footfall load` takes it",
        ),
        (
            r#"{"e":"pv","dtm":"1795341600000000"}"#.to_owned(),
            "bad_time dtm: `1795341600000000` is not a time in ms",
        ),
        (
            format!(r#"{{"e":"pv","duid":"{long}"}}"#),
            "too_long duid: 600 bytes, at most 512 are taken",
        ),
        (
            r#"{"e":"pv","dtm":"1700000000000"}"#.to_owned(),
            "too_old dtm: 2023-11-14T22:13:20.000000Z is longer ago than max_age, 7d; `footfall load` takes it",
        ),
    ] {
        check(&text, expected);
    }
}

#[test]
fn a_true_time_is_not_corrected() {
    let unpacked = Unpacked::new();
    let of = |text| parse(text, &unpacked, &Limits::default()).unwrap().client;
    let created = of(r#"{"e":"pv","dtm":"1000","stm":"1500"}"#);
    assert_eq!(
        (created.timestamp, created.sent_at),
        (Some(Micros(1_000_000)), Some(Micros(1_500_000)))
    );
    let is_true = of(r#"{"e":"pv","dtm":"1000","stm":"1500","ttm":"900"}"#);
    assert_eq!((is_true.timestamp, is_true.sent_at), (Some(Micros(900_000)), None));
}

#[test]
fn base64_may_be_padded_or_of_the_other_alphabet() {
    let json = contexts(&[(
        "com.snowplowanalytics.snowplow/web_page/jsonschema/1-0-0",
        r#"{"id":"ÿþýÿþý?>~"}"#,
    )]);
    let engines = [
        base64::engine::general_purpose::URL_SAFE.encode(&json),
        base64::engine::general_purpose::STANDARD.encode(&json),
        base64::engine::general_purpose::STANDARD_NO_PAD.encode(&json),
    ];
    for base64 in engines {
        check(
            &format!(r#"{{"e":"pv","eid":"e1","cx":"{base64}"}}"#),
            r#"{"event_id":"e1","event_name":"page_view","page_view_id":"ÿþýÿþý?>~"}"#,
        );
    }
}

#[test]
fn a_body_is_split_and_shows_its_key() {
    let body = br#"{"schema":"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4","data":[{"e":"pv","aid":"k1"},{"e":"pp","aid":"k1"}]}"#;
    let split = super::split(body, 2).unwrap();
    let key = Protocol::Snowplow.key_in_events(&split.pieces);
    assert_eq!((split.pieces.len(), key.as_deref()), (2, Some("k1")));
    let second = super::split(br#"{"data":[{"e":"pv"},{"e":"pp","aid":"k2"}]}"#, 2).unwrap();
    let key = Protocol::Snowplow.key_in_events(&second.pieces);
    assert_eq!(key.as_deref(), Some("k2"));
    let bad =
        |body: &str| super::split(body.as_bytes(), 2).err().map(|bad| bad.to_string()).unwrap();
    assert_eq!(bad("{}"), "data: is required, an array of events");
    assert_eq!(bad(r#"{"data":{}}"#), "data: expected an array of events");
    assert!(bad(r#"{"data":[1,2,3]}"#).starts_with("data: holds more than 2 events"));
}

#[test]
fn a_path_is_that_of_its_url() {
    for (url, path) in [
        ("https://shop.example/p/1?a=/b#c", Some("/p/1")),
        ("https://shop.example", Some("/")),
        ("https://shop.example?a=b", Some("/")),
        ("app://home", Some("/")),
        ("home", None),
    ] {
        assert_eq!(path_of(url), path, "{url}");
    }
}

#[test]
fn a_query_is_an_event() {
    let text = of_query("e=pv&page=A%20%22b%22+c&eid=e1&cx=a-_b&e=pp");
    assert_eq!(text, r#"{"e":"pv","page":"A \"b\" c","eid":"e1","cx":"a-_b","e":"pp"}"#);
}
