//! The receipts, against the log, the tables and the loads.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use footfall_event::Micros;
use footfall_log::{Kind, Record};
use serde_json::Value;

use super::clock::Clock;
use super::{Found, is_live};
use crate::storefront::{OTHER_SITE, SITE};
use crate::tables::{text, time, whole};

impl Found {
    /// Its ranges follow each other without a gap from record `first` on, and count what the tables hold.
    pub fn receipts_add_up(&self, partition: i64, records: &[Record], first: i64) -> Result<()> {
        let ranges = Found::of(&self.receipts, partition).filter(|row| row["site"].is_null());
        let mut ranges: Vec<&Value> = ranges.collect();
        ranges.sort_by_key(|row| whole(row, "from_offset"));
        let (mut at, mut clock) = (first, Clock::default());
        for row in ranges {
            let (from, to) = (whole(row, "from_offset"), whole(row, "to_offset"));
            ensure!(from == at && to > from, "a range is {from} to {to}, and begins at {at}");
            for record in &records[from as usize..to as usize] {
                clock.advance(record.append_time.0);
                let now = clock.log_time.unwrap_or(record.append_time.0);
                let hour = Some(now - now.rem_euclid(Micros::HOUR.0));
                ensure!(
                    time(row, "hour") == hour,
                    "record {} is of another hour than its range",
                    record.offset
                );
            }
            let (told, meant) = (time(row, "watermark"), clock.watermark());
            ensure!(told == meant, "the watermark at {to} is told as {told:?}, and is {meant:?}");
            at = to;
        }
        let is_said = |record: &&Record| matches!(record.kind, Kind::Event | Kind::Rejected);
        let last = records.iter().rfind(is_said).map_or(0, |record| record.offset.0 + 1);
        ensure!(at >= last, "the receipt ends at {at}, before {last}");
        let told = Found::of(&self.receipts, partition).map(|row| whole(row, "received"));
        let (told, received) = (told.sum::<i64>(), records.iter().filter(is_said).count() as i64);
        ensure!(told == received, "the receipt tells {told} received, and the log has {received}");
        let here = |rows| Found::of(rows, partition);
        let counted = here(&self.receipts).filter(|row| {
            ["received", "pending"].into_iter().any(|column| whole(row, column) != 0)
        });
        for row in counted.chain(here(&self.rejected)).chain(here(&self.duplicates)) {
            ensure!([SITE, OTHER_SITE].contains(&text(row, "site")), "of no shop: {row}");
        }
        [SITE, OTHER_SITE].into_iter().try_for_each(|site| self.site_adds_up(partition, site))
    }

    /// What the receipt tells of a site is what the tables have of it, and nothing of it waits any more.
    fn site_adds_up(&self, partition: i64, site: &str) -> Result<()> {
        let is_here = |row: &&Value| text(row, "site") == site;
        let count = |rows: &[Value]| Found::of(rows, partition).filter(is_here).count() as i64;
        let events = || Found::of(&self.events, partition).filter(is_here);
        let receipts = || Found::of(&self.receipts, partition).filter(is_here);
        let sum = |column| -> i64 { receipts().map(|row| whole(row, column)).sum() };
        for (column, counted) in [
            ("accepted", count(&self.events)),
            ("rejected", count(&self.rejected)),
            ("duplicate", count(&self.duplicates)),
            ("late", events().filter(|row| row["late"] == true).count() as i64),
        ] {
            let told = sum(column);
            ensure!(told == counted, "{site}: {told} {column} are told, the table has {counted}");
        }
        ensure!(sum("on_time") + sum("late") == sum("accepted"), "on time and late do not add up");
        let newest = receipts().max_by_key(|row| whole(row, "to_offset"));
        let pending = newest.map_or(0, |row| whole(row, "pending"));
        ensure!(pending == 0, "{site}: {pending} events are pending, and none is");
        Ok(())
    }

    /// Each line of a load is an event or a duplicate, once, and its receipt counts them; a repair may have made
    /// a duplicate of what is told as accepted.
    pub fn loads_add_up(&self) -> Result<()> {
        let mut lines: BTreeMap<&str, BTreeMap<i64, usize>> = BTreeMap::new();
        for row in self.events.iter().chain(&self.duplicates).filter(|row| !is_live(row)) {
            let of_load = lines.entry(text(row, "log")).or_default();
            *of_load.entry(whole(row, "log_offset")).or_default() += 1;
        }
        for (log, lines) in lines {
            let receipts: Vec<&Value> =
                self.receipts.iter().filter(|row| text(row, "log") == log).collect();
            let sum = |column| -> i64 { receipts.iter().map(|row| whole(row, column)).sum() };
            let count = lines.len() as i64;
            ensure!(
                lines.keys().copied().eq(0..count) && lines.values().all(|rows| *rows == 1),
                "{log} has rows of the lines {lines:?}"
            );
            let told = (sum("received"), sum("accepted") + sum("duplicate"));
            ensure!(told == (count, count), "{log} has {count} rows, its receipt tells {told:?}");
            let here = |row: &&Value| text(row, "log") == log;
            let (events, duplicates) = (
                self.events.iter().filter(here).count() as i64,
                self.duplicates.iter().filter(here).count() as i64,
            );
            ensure!(
                sum("accepted") >= events && sum("duplicate") <= duplicates,
                "{log} has {events} events and {duplicates} duplicates, its receipt tells otherwise"
            );
        }
        Ok(())
    }
}
