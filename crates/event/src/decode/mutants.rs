//! Records and clients' events that nobody wrote: no panic, and what is taken can be read again.

use footfall_tests::for_mutants;

use super::*;
use crate::{Limits, parse_event};

/// Two hours behind the times in the events.
const RECEIVED: Micros = Micros(1_795_348_800_000_000);

const EVENTS: [&[u8]; 4] = [
    br#"{"event_id":"1","site":"s","visitor_id":7,"event_name":"e","seq":2,"cls":0.25,"value":"9.99"}"#,
    br#"{"event_name":"e","site":"s","items":[{"item_id":1,"price":1.5,"quantity":2,"x":[]}],"a":{"b":[1]}}"#,
    br#"{"event_name":"\u00e9\ud83d\ude00","site":"s","timestamp":"2026-11-22T10:00:00.5+01:00","properties":{"k":"\u0000"}}"#,
    br#"{"event_name":"e","site":"s","sent_at":"2026-11-22T10:00:00Z","x":12.5,"visible_ms":1e3,"page_url":"\\\"/"}"#,
];

fn record(json: &str) -> Option<Vec<u8>> {
    let mut event = parse_event(json).ok()?;
    // As the collector gives one to an event without.
    if event.text(Text::EventId).is_none() {
        event.set_text(Text::EventId, "given".to_owned());
    }
    let times = event.check(&Limits::default(), RECEIVED).ok()?;
    let mut record = Vec::new();
    event.write_record(times, &mut record);
    Some(record)
}

#[test]
fn every_event_that_is_taken_can_be_read_from_its_record() {
    for_mutants(&EVENTS, |bytes| {
        let Ok(json) = std::str::from_utf8(bytes) else { return };
        let Some(record) = record(json) else { return };
        let mut decoder = EventDecoder::new("events", Partition(0));
        let read = decoder.push(&record, Offset(1), RECEIVED);
        assert!(read.is_ok(), "{}", String::from_utf8_lossy(&record));
        let row = decoder.finish().rows;
        assert_eq!(row.num_rows(), 1);
        let json: serde_json::Value = serde_json::from_slice(&record).unwrap();
        assert!(json["event_name"].is_string(), "{json}");
    });
}

#[test]
fn a_broken_record_is_an_error_and_leaves_no_row() {
    let records = EVENTS.map(|event| record(std::str::from_utf8(event).unwrap()).unwrap());
    let good = records[0].clone();
    let seeds = records.each_ref().map(Vec::as_slice);
    for_mutants(&seeds, |bytes| {
        let mut decoder = EventDecoder::new("events", Partition(0));
        let is_read = decoder.push(bytes, Offset(1), RECEIVED).is_ok();
        decoder.push(&good, Offset(2), RECEIVED).unwrap();
        let rows = decoder.finish().rows;
        assert_eq!(rows.num_rows(), usize::from(is_read) + 1);
    });
}
