//! What became of each event that was sent, and of each record of the log.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use footfall_log::{Kind, Record};
use serde_json::Value;

use super::clock::Clock;
use super::{Found, fixed_rules, is_live};
use crate::storefront::Ledger;
use crate::tables::{text, time, whole};

impl Found {
    /// Every acknowledged event is there once, any other at most once, each as it was sent, and no other. One
    /// that was refused and is sent again when its id is forgotten is refused again.
    pub fn each_event_once(&self, ledger: &Ledger) -> Result<()> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let refused: Vec<Value> = self
            .rejected
            .iter()
            .map(|row| serde_json::from_str(text(row, "payload")).context("a refused payload"))
            .collect::<Result<_>>()?;
        for row in self.events.iter().chain(&refused) {
            *counts.entry(text(row, "event_id")).or_default() += 1;
        }
        let sent = ledger.sent();
        for (id, event) in sent.iter() {
            let count = counts.get(id.as_str()).copied().unwrap_or(0);
            ensure!(
                count <= 1 || event.is_bad,
                "event {id} is there {count} times: {}",
                self.shown(id)
            );
            ensure!(
                count >= 1 || !event.is_acknowledged,
                "event {id} was acknowledged and is lost"
            );
        }
        for row in &self.events {
            let id = text(row, "event_id");
            let event = sent.get(id).with_context(|| format!("event {id} was never sent"))?;
            ensure!(!event.is_bad, "event {id} should have been refused");
            let properties: Value = serde_json::from_str(text(row, "properties"))?;
            let told =
                (text(row, "visitor_id"), text(row, "event_name"), text(&properties, "note"));
            let meant = (event.visitor_id.as_str(), event.event_name.as_str(), event.note.as_str());
            ensure!(told == meant, "event {id} is {told:?} and was {meant:?}");
            let told = (time(row, "event_time"), text(row, "page_path"));
            let meant = (Some(event.at.0), event.page_path.as_str());
            ensure!(told == meant, "event {id} is {told:?} and was {meant:?}");
            // A load has fewer columns of what came live as well.
            let sent = event.columns.iter().filter(|_| is_live(row));
            for (column, value) in sent {
                let told = &row[column.as_str()];
                ensure!(is_same(told, value), "event {id}: {column} is {told}, and was {value}");
            }
        }
        for row in &refused {
            let id = text(row, "event_id");
            let event = sent.get(id).with_context(|| format!("event {id} was never sent"))?;
            ensure!(event.is_bad, "event {id} was refused");
        }
        Ok(())
    }

    /// The rows of an event, and those that tell that it came again.
    fn shown(&self, id: &str) -> String {
        let rows = self.events.iter().chain(&self.duplicates);
        let rows = rows.filter(|row| text(row, "event_id") == id);
        rows.map(Value::to_string).collect::<Vec<_>>().join("\n")
    }

    /// Each record is an event, a refused one or a duplicate, once; of each id the first is no duplicate, and
    /// of an event every other is.
    pub fn each_record_once(&self, partition: i64, records: &[Record]) -> Result<()> {
        let offsets = |rows| -> Result<BTreeMap<i64, &Value>> {
            let mut offsets = BTreeMap::new();
            for row in Found::of(rows, partition) {
                let offset = whole(row, "log_offset");
                ensure!(offsets.insert(offset, row).is_none(), "record {offset} has two rows");
            }
            Ok(offsets)
        };
        let events = offsets(&self.events)?;
        let rejected = offsets(&self.rejected)?;
        let duplicates = offsets(&self.duplicates)?;
        let mut firsts = BTreeMap::new();
        for record in records {
            let offset = record.offset.0;
            let payload: Value = serde_json::from_slice(&record.payload).unwrap_or_default();
            let (id, rows) = match record.kind {
                Kind::Event => (text(&payload, "event_id"), &events),
                Kind::Rejected => (text(&payload, "id"), &rejected),
                Kind::Tick | Kind::Control => continue,
            };
            let at = record.append_time.0;
            let key = (record.kind.code(), id.to_owned());
            let (first, first_at) = *firsts.entry(key).or_insert((offset, at));
            let is_first = first == offset;
            let (has_row, is_duplicate) =
                (rows.contains_key(&offset), duplicates.contains_key(&offset));
            let is_one = has_row != is_duplicate;
            // Those that come again do so within a quarter of the window, or long behind it.
            let is_long_ago = (at - first_at).abs() > fixed_rules().dedupe_window.0 / 2;
            let is_forgotten = record.kind == Kind::Rejected && is_long_ago;
            ensure!(
                is_one && (has_row == is_first || is_forgotten),
                "record {offset} of {id}, the first of its id: {is_first}, has a row: {has_row}, is a duplicate: {is_duplicate}; its rows: {}",
                self.shown(id)
            );
        }
        let known = records.len() as i64;
        for offset in events.keys().chain(rejected.keys()).chain(duplicates.keys()) {
            ensure!((0..known).contains(offset), "a row tells of record {offset}, which is none");
        }
        Ok(())
    }

    /// An event is late if the watermark had passed it when its record was read.
    pub fn late_is_late(&self, partition: i64, records: &[Record]) -> Result<()> {
        let is_late: BTreeMap<i64, bool> = Found::of(&self.events, partition)
            .map(|row| (whole(row, "log_offset"), row["late"].as_bool().unwrap_or(false)))
            .collect();
        let mut clock = Clock::default();
        for record in records {
            clock.advance(record.append_time.0);
            let Some(found) = is_late.get(&record.offset.0) else { continue };
            let payload: Value = serde_json::from_slice(&record.payload)?;
            let event_time = payload["event_time"].as_i64().context("an event's time")?;
            let expected = clock.watermark().is_some_and(|watermark| event_time < watermark);
            ensure!(
                *found == expected,
                "record {}: late is {found}, and should be {expected}",
                record.offset.0
            );
        }
        Ok(())
    }
}

/// Numbers may stand as texts that tell them to the last digit.
fn is_same(told: &Value, sent: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    };
    told == sent || (sent.is_number() && number(told) == number(sent))
}
