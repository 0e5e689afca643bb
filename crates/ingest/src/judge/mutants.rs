//! Bodies that nobody wrote, as they are and gzipped, by every protocol: no panic, and each record that
//! comes of them is JSON.

use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use footfall_tests::for_mutants;
use tokio::sync::Semaphore;

use super::*;
use crate::protocol::Call;

const BODIES: [&[u8]; 8] = [
    br#"{"event_id":"a","site":"s","visitor_id":"v","event_name":"e","value":"1.5","properties":{}}"#,
    br#"[{"event_name":"e","items":[{"item_id":1,"price":2}]},{"event_name":5},"x",[[]]]"#,
    b"{\"event_name\":\"e\",\"page_title\":\"\\u00e9\"}\r\n\n{\"event_name\":\"f\"}\n",
    br#"{"batch":[{"type":"track","event":"e","messageId":"m","anonymousId":"a","properties":{"revenue":"3","products":[{"product_id":1}]},"context":{"page":{"url":"u"},"campaign":{"source":"s"}}}],"sentAt":"2026-11-22T10:00:00Z"}"#,
    br#"{"type":"page","userId":7,"properties":{"path":"/p"},"writeKey":"k","timestamp":"2026-11-22T10:00:00Z"}"#,
    br#"{"client_id":"c","timestamp_micros":"1795348800000000","device":{"category":"d"},"events":[{"name":"e","params":{"items":[{"item_id":1}],"page_location":"https://s.example/?utm_source=a&email=b%40c.example"}},{"name":5}]}"#,
    br#"{"data":[{"e":"ue","eid":"a","duid":"d","ue_pr":"{\"schema\":\"iglu:a/b\",\"data\":{}}","cx":"e30"}]}"#,
    b"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"data\":{\"visitor_id\":\"v\",\"ip\":\"::1\"}}\nen=a&epn.v=1&pr1=nm~~\n",
];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn judge_all(bytes: &[u8]) {
    let settings = IngestSettings {
        inflated_bytes_max: 64 * 1024,
        batch_events_max: 100,
        ..IngestSettings::default()
    };
    let call = Protocol::Segment;
    for (protocol, beside) in [
        (Protocol::Events, None),
        (call(Call::Batch), None),
        (call(Call::One("track")), None),
        (Protocol::Snowplow, None),
        (Protocol::Ga4, None),
        (Protocol::Ga4, Some("cid=1.2&en=e&up.a=b&pr1=ida~pr1")),
        (Protocol::CloudEvents, None),
    ] {
        let received = Micros(1_795_348_800_000_000);
        let head = Head {
            is_paced: true,
            beside: beside.map(str::to_owned),
            wants_list: true,
            ..Head::of_no_request(protocol.dialect(), received, 4)
        };
        let bodies = Arc::new(Semaphore::new(settings.bodies_in_flight_bytes_max));
        let hold = Hold::new(&bodies, 0).unwrap_or_else(|_| panic!("nothing is always there"));
        let body = Body::Whole { bytes: bytes.to_vec().into(), hold };
        if let Judgement::Append { mut verdicts, error, .. } =
            judge(&settings, &head, protocol, body)
        {
            for record in verdicts.take_records() {
                let read = serde_json::from_slice::<serde_json::Value>(&record.payload);
                assert!(read.is_ok(), "{}", String::from_utf8_lossy(&record.payload));
            }
            let answer = verdicts.answer(error.as_deref());
            assert!(serde_json::from_slice::<serde_json::Value>(&answer).is_ok());
        }
    }
}

#[test]
fn any_body_is_judged() {
    for_mutants(&BODIES, judge_all);
}

#[test]
fn any_body_is_judged_once_it_is_inflated() {
    for_mutants(&BODIES, |bytes| judge_all(&gzip(bytes)));
}

#[test]
fn any_gzip_is_judged() {
    let packed = BODIES.map(gzip);
    for_mutants(&packed.each_ref().map(Vec::as_slice), judge_all);
}
