//! Rows of JSON lines, and our own.

use super::*;

#[test]
fn rows_of_json_become_events() {
    let lines = concat!(
        r#"{"t":0,"n":"a\u00e9","v":12345678901234567,"id":null,"o":[1,{"b":null}]}"#,
        "\r\n\n",
        r#"  {"v":null,"n":true,"t":"1.5","id":"x","o":"\ud83d\ude00"}"#,
        "\n",
        r#"{"t":0,"n":["a"]}"#,
        "\n",
        r#"{"t":0,"n":"\ud800"}"#,
        "\n",
        r#"{"t":0,"n":"a""#,
        "\n",
        "5\n",
        r#"{"t":{},"n":"a"}"#,
    );
    let map = format!("{MAP}event_id = 'id'\n");
    check(
        &map,
        &[("a.ndjson", lines.as_bytes())],
        &[
            &row(
                0,
                &format!(
                    "visitor_id=12345678901234567 event_name=a\u{e9} {AT_0} properties={{\"o\":[1,{{\"b\":null}}]}}"
                ),
            ),
            "1 event_id=x site=default event_name=true event_time=1970-01-01T00:00:01.500000Z seq=1 properties={\"o\":\"\\ud83d\\ude00\"}",
            r#"2 default bad_type n: expected a single value <{"t":0,"n":["a"]}>"#,
            r#"3 default bad_json n: unexpected end of hex escape <{"t":0,"n":"\ud800"}>"#,
            r#"4 default bad_json line: EOF while parsing an object at byte 14 <{"t":0,"n":"a">"#,
            "5 default bad_json line: expected a JSON object, found a number <5>",
            r#"6 default bad_type t: expected a single value <{"t":{},"n":"a"}>"#,
        ],
    );
}

#[test]
fn a_dot_leads_into_objects() {
    let lines = concat!(
        r#"{"id":"a","m":{"t":0,"n":{"x.y":"e"}},"o":5}"#,
        "\n",
        r#"{"id":"b","m":{"t":9,"k":[1]},"m":{"t":0,"k":[2],"n":{"z":3}},"m.n.x.y":"e"}"#,
        "\n",
        r#"{"id":"c","m":{"t":0,"n":"e"}}"#,
        "\n",
        r#"{"id":"d","m":{"t":{"u":1},"n":{"x":{"y":"e"}}}}"#,
    );
    let map = "time_format = 'unix_s'\n[columns]\ntimestamp = 'm.t'\nevent_name = 'm.n.x.y'\nevent_id = 'id'\n";
    check(
        map,
        &[("a.ndjson", lines.as_bytes())],
        &[
            "0 event_id=a site=default event_name=e event_time=1970-01-01T00:00:00.000000Z seq=0 properties={\"o\":5}",
            "1 event_id=b site=default event_name=e event_time=1970-01-01T00:00:00.000000Z seq=1 properties={\"m\":{\"k\":[1]},\"m\":{\"k\":[2],\"n\":{\"z\":3}}}",
            r#"2 default missing event_name: is required, such as `page_view` <{"id":"c","m":{"t":0,"n":"e"}}>"#,
            r#"3 default bad_type m.t: expected a single value <{"id":"d","m":{"t":{"u":1},"n":{"x":{"y":"e"}}}}>"#,
        ],
    );
}

#[test]
fn our_own_lines_are_read_as_they_are_posted() {
    let lines = concat!(
        r#"{"event_id":"1","site":"shop","event_name":"view_item","timestamp":"2025-12-31T23:00:00Z","sent_at":"2025-12-31T23:59:00Z","user_id":7,"items":[{"item_id":"i","price":"2.5"}],"seq":9,"color":"red"}"#,
        "\n",
        r#"{"event_name":"a","timestamp":"2031-01-01T00:00:00Z"}"#,
        "\n",
        r#"{"event_name":"a"}"#,
        "\n",
        r#"{"site":"shop","event_name":5,"timestamp":"2025-12-31T23:00:00Z"}"#,
        "\n",
        r#"{"site":"shop","event_name":"a","timestamp":"2001-12-31T23:00:00Z"}"#,
        "\n",
    );
    check(
        "rest = 'same_name'",
        &[("a.jsonl", lines.as_bytes())],
        &[
            "0 event_id=1 site=shop visitor_id=u:7 user_id=7 event_name=view_item event_time=2025-12-31T23:00:00.000000Z seq=9 items=[{item_id: i, item_name: , item_brand: , item_category: , item_variant: , price: 2.5000, quantity: }] properties={\"color\":\"red\"}",
            "1 event_id=# site=default event_name=a event_time=2026-01-01T00:00:00.000000Z seq=1",
            r#"2 default missing timestamp: is required of history <{"event_name":"a"}>"#,
            r#"3 shop bad_type event_name: invalid type: number `5`, expected a text <{"site":"shop","event_name":5,"timestamp":"2025-12-31T23:00:00Z"}>"#,
            "4 event_id=# site=shop event_name=a event_time=2001-12-31T23:00:00.000000Z seq=4",
        ],
    );
}
