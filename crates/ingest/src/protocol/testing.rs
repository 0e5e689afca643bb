//! What becomes of the events of a body, for the tests of the protocols.

use footfall_event::{Limits, Micros, Text};

use super::{Protocol, Unpacked};

/// 2026-11-22T10:00:10Z.
const RECEIVED: Micros = Micros(1_795_341_610_000_000);

/// Of each event of a body its record, without its times and without a site that it did not name, or what is wrong
/// with it. One without an id has its number.
pub fn records(protocol: Protocol, body: &str) -> Vec<String> {
    records_with_times(protocol, body)
        .into_iter()
        .map(|record| match record.split_once(",\"event_time\"") {
            Some((head, _times)) => format!("{head}}}"),
            None => record,
        })
        .collect()
}

/// The same, with the times.
pub fn records_with_times(protocol: Protocol, body: &str) -> Vec<String> {
    let (limits, unpacked) = (Limits::default(), Unpacked::new());
    let split = protocol.split(body.as_bytes(), 100).unwrap_or_else(|bad| panic!("{bad:?}"));
    let mut records = Vec::new();
    for (index, piece) in split.pieces.iter().enumerate() {
        let text = piece.unwrap();
        let parsed = protocol.parse(text, &split, &unpacked, &limits).and_then(|mut event| {
            let is_named = event.text(Text::Site).is_some();
            if !is_named {
                event.set_text(Text::Site, "default");
            }
            if event.text(Text::EventId).is_none() {
                event.set_text(Text::EventId, index.to_string());
            }
            let times = event.check(&limits, RECEIVED);
            Ok((event, is_named, times.map_err(|bad| protocol.rename(bad, text))?))
        });
        records.push(match parsed {
            Err(bad) => format!("{} {bad}", bad.reason.code()),
            Ok((event, is_named, times)) => {
                let mut record = Vec::new();
                event.write_record(times, &mut record);
                let record = String::from_utf8(record).unwrap();
                let site = if is_named { "" } else { r#""site":"default","# };
                record.replacen(site, "", 1)
            }
        });
    }
    records
}
