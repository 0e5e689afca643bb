//! What became of each event that was sent, and of each record of the log.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use footfall_log::{Kind, Record};
use serde_json::Value;

use super::clock::{Clock, LEAP};
use super::{Found, controls, editions, fixed_rules, in_force, is_live};
use crate::storefront::{Key, LATENCY_MAX, Ledger, key_of};
use crate::tables::{text, time, whole};

impl Found {
    /// Every acknowledged event is there once, any other at most once, each as it was sent, and no other. One
    /// that was refused and is sent again when its id is forgotten is refused again.
    pub fn each_event_once(&self, ledger: &Ledger) -> Result<()> {
        let mut counts: BTreeMap<Key, usize> = BTreeMap::new();
        let refused: Vec<Value> = self.rejected.iter().map(refused).collect::<Result<_>>()?;
        for event in self.events.iter().chain(&refused) {
            *counts.entry(key_of(event)).or_default() += 1;
        }
        let sent = ledger.sent();
        for (key, event) in sent.iter() {
            let count = counts.get(key).copied().unwrap_or(0);
            ensure!(
                count <= 1 || event.is_bad,
                "event {key:?} is there {count} times: {}",
                self.shown(key)
            );
            ensure!(
                count >= 1 || !event.is_acknowledged,
                "event {key:?} was acknowledged and is lost: {}",
                self.shown(key)
            );
        }
        for row in &self.events {
            let key = key_of(row);
            let event = sent.get(&key).with_context(|| format!("{key:?} was never sent"))?;
            ensure!(!event.is_bad, "event {key:?} should have been refused");
            let properties: Value = serde_json::from_str(text(row, "properties"))?;
            let told = (text(row, "event_name"), text(&properties, "note"));
            let meant = (event.event_name.as_str(), event.note.as_str());
            ensure!(told == meant, "event {key:?} is {told:?} and was {meant:?}");
            // The way to the door counts as the event's.
            let told = time(row, "event_time").context("a time")?;
            let is_on_its_way = (event.at.0..=event.at.0 + LATENCY_MAX.0).contains(&told);
            ensure!(is_on_its_way, "event {key:?} is of {told} and was of {}", event.at.0);
            let (told, meant) = (text(row, "page_path"), event.page_path.as_str());
            ensure!(told == meant, "event {key:?} is {told:?} and was {meant:?}");
            // A load has fewer columns of what came live as well.
            let sent = event.columns.iter().filter(|_| is_live(row));
            for (column, value) in sent {
                let told = &row[column.as_str()];
                ensure!(is_same(told, value), "event {key:?}: {column} is {told}, and was {value}");
            }
        }
        for (row, payload) in self.rejected.iter().zip(&refused) {
            let key = key_of(payload);
            let event = sent.get(&key).with_context(|| format!("{key:?} was never sent"))?;
            ensure!(event.is_bad, "event {key:?} was refused");
            let told =
                (text(row, "site"), text(row, "reason"), text(&payload["properties"], "note"));
            let meant = (key[0].as_str(), "bad_type", event.note.as_str());
            ensure!(told == meant, "refused {key:?} is {told:?} and was {meant:?}");
        }
        Ok(())
    }

    /// The rows of an event, and those that tell that it came again.
    fn shown(&self, key: &Key) -> String {
        let rows = self.events.iter().chain(&self.duplicates);
        let rows = rows.filter(|row| id_of(row) == [&key[0], &key[2]]);
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
            let (key, rows) = match record.kind {
                Kind::Event => (key_of(&payload), &events),
                Kind::Rejected => (key_of(&refused(&payload)?), &rejected),
                Kind::Tick | Kind::Control => continue,
            };
            let at = record.append_time.0;
            let of_kind = (record.kind.code(), key.clone());
            let (first, first_at) = *firsts.entry(of_kind).or_insert((offset, at));
            let is_first = first == offset;
            let (has_row, is_duplicate) =
                (rows.contains_key(&offset), duplicates.contains_key(&offset));
            let is_one = has_row != is_duplicate;
            // One that was refused is refused again once its id is forgotten.
            let is_long_ago = (at - first_at).abs() > fixed_rules().dedupe_window.0 / 2;
            let is_forgotten = record.kind == Kind::Rejected && is_long_ago;
            ensure!(
                is_one && (has_row == is_first || is_forgotten),
                "record {offset} of {key:?}, the first of its id: {is_first}, has a row: {has_row}, is a duplicate: {is_duplicate}; its rows: {}",
                self.shown(&key)
            );
            // A row of `duplicates` does not tell whose it is.
            let told = match (rows.get(&offset), record.kind) {
                (Some(row), Kind::Rejected) => key_of(&refused(row)?),
                (Some(row), _) => key_of(row),
                (None, _) => {
                    let [site, _, event_id] = key_of(duplicates[&offset]);
                    [site, key[1].clone(), event_id]
                }
            };
            ensure!(told == key, "record {offset} of {key:?} is told as {told:?}");
        }
        let known = records.len() as i64;
        for offset in events.keys().chain(rejected.keys()).chain(duplicates.keys()) {
            ensure!((0..known).contains(offset), "a row tells of record {offset}, which is none");
        }
        Ok(())
    }

    /// An event is late if the watermark had passed it when its record was read, or if as many were held already
    /// as may be.
    pub fn late_is_late(&self, partition: i64, records: &[Record]) -> Result<()> {
        let is_late: BTreeMap<i64, bool> = Found::of(&self.events, partition)
            .map(|row| (whole(row, "log_offset"), row["late"].as_bool().unwrap_or(false)))
            .collect();
        let (editions, controls) = (editions(), controls(records));
        let (mut clock, mut held) = (Clock::default(), Vec::<(i64, Key)>::new());
        for record in records {
            clock.advance(record.append_time.0);
            let watermark = clock.watermark();
            if let Some(found) = is_late.get(&record.offset.0) {
                let payload: Value = serde_json::from_slice(&record.payload)?;
                let event_time = payload["event_time"].as_i64().context("an event's time")?;
                let rules = editions.get(in_force(&controls, record.offset.0)?);
                let rules = rules.context("rules that nobody gave")?;
                let key = key_of(&payload);
                let is_own =
                    |(_, other): &&(i64, Key)| !key[1].is_empty() && other[..2] == key[..2];
                let has_room = (held.len() as u64) < rules.held_events_max
                    && (held.iter().filter(is_own).count() as u64)
                        < rules.held_events_per_visitor_max;
                let is_behind = watermark.is_some_and(|watermark| event_time < watermark);
                let now = clock.log_time.unwrap_or(0).max(record.append_time.0);
                let expected = is_behind
                    || event_time > now + LEAP.min(rules.dedupe_window.0 / 4)
                    || !has_room;
                ensure!(
                    *found == expected,
                    "record {}: late is {found}, and should be {expected}",
                    record.offset.0
                );
                if !expected {
                    held.push((event_time, key));
                }
            }
            held.retain(|(event_time, _)| {
                watermark.is_none_or(|watermark| *event_time >= watermark)
            });
        }
        Ok(())
    }
}

/// Site and id, which is all that a row of `duplicates` tells.
pub fn id_of(row: &Value) -> [&str; 2] {
    ["site", "event_id"].map(|column| text(row, column))
}

/// What was refused, of its record or its row.
fn refused(row: &Value) -> Result<Value> {
    serde_json::from_str(text(row, "payload")).context("a refused payload")
}

/// Numbers may stand as texts that tell them to the last digit.
fn is_same(told: &Value, sent: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    };
    told == sent || (sent.is_number() && number(told) == number(sent))
}
