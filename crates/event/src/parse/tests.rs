//! Events as JSON text, and what becomes of them.

use super::*;
use crate::Money;

/// `expected` is the event's columns in the order of the schema's lists, or why it is refused and
/// where.
#[track_caller]
fn check(json: &str, expected: &str) {
    let told = match parse_event(json) {
        Ok(event) => shown(&event),
        Err(bad) => format!("{} {bad}", bad.reason.code()),
    };
    assert_eq!(told, expected, "for {json}");
}

fn shown(event: &Event<'_>) -> String {
    let mut parts = Vec::new();
    for column in Text::ALL {
        parts.extend(event.text(*column).map(|text| format!("{}={text}", column.name())));
    }
    for column in Whole::ALL {
        parts.extend(event.whole(*column).map(|whole| format!("{}={whole}", column.name())));
    }
    parts.extend(event.cls.map(|cls| format!("cls={cls}")));
    parts.extend(event.value.map(|value| format!("value={value}")));
    parts.extend(event.items.iter().map(shown_item));
    parts.extend(event.properties.as_ref().map(|json| format!("properties={json}")));
    parts.extend(event.client.timestamp.map(|time| format!("timestamp={time}")));
    parts.extend(event.client.sent_at.map(|time| format!("sent_at={time}")));
    parts.join(" ")
}

fn shown_item(item: &Item<'_>) -> String {
    let texts =
        [&item.item_id, &item.item_name, &item.item_brand, &item.item_category, &item.item_variant];
    let texts = texts.map(|text| text.as_deref().unwrap_or("-")).join(",");
    let price = item.price.map_or("-".to_owned(), |price| price.to_string());
    let quantity = item.quantity.map_or("-".to_owned(), |quantity| quantity.to_string());
    format!("item({texts},{price},{quantity})")
}

#[test]
fn every_text_column_takes_text_and_null() {
    for column in Text::ALL {
        let name = column.name();
        check(&format!(r#"{{"{name}":"a b"}}"#), &format!("{name}=a b"));
        check(&format!(r#"{{"{name}":null}}"#), "");
        check(&format!(r#"{{"{name}":""}}"#), "");
        let wanted = if name.ends_with("_id") { "a text or a number" } else { "a text" };
        for (value, kind) in [("true", "boolean `true`"), ("[]", "sequence"), ("{}", "map")] {
            let message = format!("{name}: invalid type: {kind}, expected {wanted}");
            check(&format!(r#"{{"{name}":{value}}}"#), &format!("bad_type {message}"));
        }
    }
}

#[test]
fn ids_may_be_numbers_and_other_texts_may_not() {
    for column in Text::ALL {
        let name = column.name();
        let json = format!(r#"{{"{name}":541312140}}"#);
        if name.ends_with("_id") {
            check(&json, &format!("{name}=541312140"));
        } else {
            let kind = "invalid type: number `541312140`, expected a text";
            check(&json, &format!("bad_type {name}: {kind}"));
        }
    }
    check(
        r#"{"user_id":-5,"cart_id":18446744073709551615}"#,
        "user_id=-5 cart_id=18446744073709551615",
    );
    check(r#"{"order_id":1.5}"#, "order_id=1.5");
    // Beyond the digits of a float, and so far apart that one would be the other's duplicate.
    check(r#"{"event_id":18446744073709551617}"#, "event_id=18446744073709551617");
    check(r#"{"event_id":18446744073709551618}"#, "event_id=18446744073709551618");
    check(
        r#"{"items":[{"item_id":18446744073709551617}]}"#,
        "item(18446744073709551617,-,-,-,-,-,-)",
    );
    check(r#"{"event_id":"a\u00e9\\"}"#, "event_id=a\u{e9}\\");
    check(r#"{"event_id":"\ud800"}"#, "bad_json event_id: unexpected end of hex escape");
    check(r#"{"items":[{"item_id":44600062}]}"#, "item(44600062,-,-,-,-,-,-)");
}

#[test]
fn every_whole_column_takes_numbers_and_rounds_them() {
    for column in Whole::ALL {
        let name = column.name();
        check(&format!(r#"{{"{name}":12}}"#), &format!("{name}=12"));
        check(&format!(r#"{{"{name}":-3}}"#), &format!("{name}=-3"));
        check(&format!(r#"{{"{name}":12.5}}"#), &format!("{name}=13"));
        check(&format!(r#"{{"{name}":1e3}}"#), &format!("{name}=1000"));
        check(&format!(r#"{{"{name}":null}}"#), "");
        let wrong = format!(r#"bad_type {name}: invalid type: string "12", expected a number"#);
        check(&format!(r#"{{"{name}":"12"}}"#), &wrong);
    }
    check(r#"{"x":9007199254740992}"#, "x=9007199254740992");
    check(r#"{"x":1e16}"#, "bad_value x: 10000000000000000 is out of range for `x`");
    check(r#"{"x":1e999}"#, "bad_value x: number out of range");
}

#[test]
fn amounts_are_numbers_or_texts() {
    check(r#"{"value":35.79}"#, "value=35.7900");
    check(r#"{"value":"35.79"}"#, "value=35.7900");
    check(r#"{"value":" -5 "}"#, "value=-5.0000");
    check(r#"{"value":0.30000000000000004}"#, "value=0.3000");
    check(r#"{"value":""}"#, "");
    check(r#"{"value":null}"#, "");
    check(r#"{"value":1e11}"#, &format!("value={}", Money(1_000_000_000_000_000)));
    check(r#"{"value":1e13}"#, "bad_value value: 10000000000000 is out of range for money");
    check(r#"{"value":"inf"}"#, "bad_value value: inf is out of range for money");
    let wanted = "expected an amount of money, a number";
    check(
        r#"{"value":"5 EUR"}"#,
        &format!(r#"bad_type value: invalid value: string "5 EUR", {wanted}"#),
    );
    check(
        r#"{"value":false}"#,
        &format!("bad_type value: invalid type: boolean `false`, {wanted}"),
    );
}

#[test]
fn layout_shift_is_a_number() {
    check(r#"{"cls":0.125}"#, "cls=0.125");
    check(r#"{"cls":0}"#, "cls=0");
    check(r#"{"cls":null}"#, "");
    check(r#"{"cls":"0.1"}"#, r#"bad_type cls: invalid type: string "0.1", expected a number"#);
}

#[test]
fn times_are_texts_with_a_zone() {
    for name in ["timestamp", "sent_at"] {
        let time = |text: &str| format!(r#"{{"{name}":{text}}}"#);
        let first = format!("{name}=2026-11-22T10:00:00.000000Z");
        check(&time(r#""2026-11-22T10:00:00Z""#), &first);
        check(&time(r#""2026-11-22T11:00:00.000000+01:00""#), &first);
        check(&time(r#""2026-11-22T10:00:00.1234567Z""#), &first.replace(".000000", ".123456"));
        check(&time(r#""0001-01-01T00:00:00Z""#), &format!("{name}=0001-01-01T00:00:00.000000Z"));
        let last = "9999-12-31T23:59:59.999999";
        check(&time(&format!("\"{last}Z\"")), &format!("{name}={last}Z"));
        // The year is that of UTC.
        for beyond in [
            "0000-12-31T23:59:59.999999Z",
            "0001-01-01T00:59:59+01:00",
            "9999-12-31T23:00:00-01:00",
        ] {
            let years = "is not within the years 1 to 9999 of UTC";
            check(&time(&format!("\"{beyond}\"")), &format!("bad_time {name}: `{beyond}` {years}"));
        }
        check(&time("null"), "");
        let form = "is not a time such as 2026-11-22T10:00:00.000000Z";
        for text in ["", "yesterday", "2026-11-22", "2026-11-22T10:00:00", "2026-02-30T10:00:00Z"] {
            let bad = format!("bad_time {name}: `{text}` {form}");
            check(&time(&format!("\"{text}\"")), &bad);
        }
        let wanted = "a time as text, such as \"2026-11-22T10:00:00.000000Z\"";
        let number = format!("invalid type: integer `1569888000`, expected {wanted}");
        check(&time("1569888000"), &format!("bad_type {name}: {number}"));
    }
}

#[test]
fn a_bad_field_of_an_item_is_told_by_its_path() {
    let items = |third: &str| format!(r#"{{"items":[{{}},{{"price":"1"}},{third}]}}"#);
    let fine = "item(-,-,-,-,-,-,-) item(-,-,-,-,-,1.0000,-)";
    let full = r#"{"item_id":"i","item_name":"n","item_brand":"b","item_category":"c","item_variant":"v","price":2.5,"quantity":0.5}"#;
    check(&items(full), &format!("{fine} item(i,n,b,c,v,2.5000,0.5)"));
    for (third, bad) in [
        (
            r#"{"price":"x"}"#,
            "items[2].price: invalid value: string \"x\", expected an amount of money, a number",
        ),
        (r#"{"quantity":"2"}"#, "items[2].quantity: invalid type: string \"2\", expected a number"),
        (
            r#"{"item_id":[]}"#,
            "items[2].item_id: invalid type: sequence, expected a text or a number",
        ),
        (r#"{"item_name":5}"#, "items[2].item_name: invalid type: number `5`, expected a text"),
        (
            r#"{"item_brand":true}"#,
            "items[2].item_brand: invalid type: boolean `true`, expected a text",
        ),
        (r#"{"item_category":{}}"#, "items[2].item_category: invalid type: map, expected a text"),
        (
            r#"{"item_variant":0}"#,
            "items[2].item_variant: invalid type: number `0`, expected a text",
        ),
        ("5", "items[2]: invalid type: integer `5`, expected an item: a JSON object"),
        ("null", "items[2]: invalid type: null, expected an item: a JSON object"),
    ] {
        check(&items(third), &format!("bad_type {bad}"));
    }
    check(
        &items(r#"{"price":1e13}"#),
        "bad_value items[2].price: 10000000000000 is out of range for money",
    );
    check(r#"{"items":null}"#, "");
    check(r#"{"items":{}}"#, "bad_type items: invalid type: map, expected a list of items");
}

#[test]
fn what_has_no_column_goes_to_properties() {
    check(r#"{"color":"red","n":[1, 2]}"#, r#"properties={"color":"red","n":[1, 2]}"#);
    check(r#"{"properties":{"a":1},"b":2}"#, r#"properties={"a":1,"b":2}"#);
    check(r#"{"b":2,"properties":{ }}"#, r#"properties={"b":2}"#);
    check(r#"{"properties":{"a":{}}}"#, r#"properties={"a":{}}"#);
    check(r#"{"properties":{}}"#, "");
    check(r#"{"properties":null}"#, "");
    check(r#"{"properties":"a"}"#, "bad_type properties: expected an object");
    check(r#"{"a\"b":1}"#, r#"properties={"a\"b":1}"#);
    check(r#"{"":1}"#, r#"properties={"":1}"#);
}

#[test]
fn an_unknown_key_of_an_item_keeps_the_list_in_properties() {
    check(
        r#"{"items":[{"item_id":"1","size":"L"}]}"#,
        r#"item(1,-,-,-,-,-,-) properties={"items":[{"item_id":"1","size":"L"}]}"#,
    );
}

#[test]
fn names_that_only_footfall_fills_are_properties() {
    for name in ["event_time", "client_time", "received_time", "session_id", "late", "log_offset"] {
        check(&format!(r#"{{"{name}":"x"}}"#), &format!(r#"properties={{"{name}":"x"}}"#));
    }
}

#[test]
fn of_a_repeated_key_the_last_counts() {
    check(r#"{"event_name":"a","event_name":"b"}"#, "event_name=b");
    check(r#"{"event_name":"a","x":1,"event_name":null,"x":null}"#, "");
    check(r#"{"properties":{"a":1},"properties":null}"#, "");
}

#[test]
fn nesting_has_a_bound() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let deep = format!(r#"{{"a":{}}}"#, nested(64));
    check(&deep, &format!("properties={deep}"));
    check(
        &format!(r#"{{"a":{}}}"#, nested(65)),
        "bad_type a: expected at most 64 levels of nesting",
    );
    check(
        &format!(r#"{{"properties":{{"a":{}}}}}"#, nested(64)),
        "bad_type properties: expected at most 64 levels of nesting",
    );
    check(
        &format!(r#"{{"items":{}}}"#, nested(100_000)),
        "bad_type items: expected at most 64 levels of nesting",
    );
    // Brackets within a text nest nothing.
    check(
        &format!(r#"{{"a":"{}\""}}"#, "[".repeat(100)),
        &format!(r#"properties={{"a":"{}\""}}"#, "[".repeat(100)),
    );
}

#[test]
fn half_a_character_is_refused_wherever_it_stands() {
    check(r#"{"event_name":"\ud83d\ude00"}"#, "event_name=\u{1f600}");
    check(r#"{"event_name":"\ud800"}"#, "bad_json event_name: unexpected end of hex escape");
    check(r#"{"color":"\ud83d\ude00"}"#, r#"properties={"color":"\ud83d\ude00"}"#);
    for (json, path) in [
        (r#"{"color":"\ud800"}"#, "color"),
        (r#"{"properties":{"a":"\udc00"}}"#, "properties"),
        (r#"{"items":[{"item_name":"\ud800x"}]}"#, "items"),
    ] {
        let bad = parse_event(json).unwrap_err();
        assert_eq!(bad.path, path, "{json}: {bad}");
    }
}

#[test]
fn what_is_no_object_is_refused() {
    check("5", "bad_type invalid type: integer `5`, expected an event: a JSON object");
    check("[]", "bad_type invalid type: sequence, expected an event: a JSON object");
    check("", "bad_json EOF while parsing a value");
    check(r#"{"event_name":"a""#, "bad_json EOF while parsing an object");
    check(r#"{"event_name":"a"} x"#, "bad_json trailing characters");
    check(r#"{"event_name" "a"}"#, "bad_json event_name: expected `:`");
    check("{event_name:1}", "bad_json key must be a string");
}

#[test]
fn a_list_of_items_can_stand_alone() {
    let (items, has_unknown) = parse_items(r#" [{"item_id":1},{"price":"2","size":3}] "#).unwrap();
    let items: Vec<String> = items.iter().map(shown_item).collect();
    assert_eq!(items, ["item(1,-,-,-,-,-,-)", "item(-,-,-,-,-,2.0000,-)"]);
    assert!(has_unknown);
    for (json, bad) in [
        (r#"[{},{"price":[]}]"#, "[1].price"),
        ("[5]", "[0]"),
        (r#"{"a":1}"#, ""),
        ("[] []", ""),
        (r#"[{"x":"\ud800"}]"#, ""),
    ] {
        assert_eq!(parse_items(json).unwrap_err().path, bad, "{json}");
    }
}

#[test]
fn a_reason_does_not_follow_from_what_the_client_wrote() {
    check(
        r#"{"visible_ms":"out of range"}"#,
        r#"bad_type visible_ms: invalid type: string "out of range", expected a number"#,
    );
    check(
        r#"{"cls":"is not a time"}"#,
        r#"bad_type cls: invalid type: string "is not a time", expected a number"#,
    );
    check(
        r#"{"value":"1 at line 2"}"#,
        r#"bad_type value: invalid value: string "1 at line 2", expected an amount of money, a number"#,
    );
}

#[test]
fn the_depth_of_what_is_no_json_is_found_too() {
    assert_eq!(check_raw("]]}}[1]"), Ok(()));
}
