//! What must hold when all is calm, computed from what was sent and what the log holds. It shares no code
//! with what it checks.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::{Context, Result, ensure};
use footfall_event::Partition;
use footfall_event::schema::Table;
use footfall_lake::Lake;
use footfall_log::{Kind, Record};
use footfall_sessionizer::Rules;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::broker::{Broker, TOPIC};
use crate::definitions::Definitions;
use crate::rules::{Asked, CONVERSION, ERROR, Edition, PAGE_VIEW, RAGE_TARGET, STEPS};
use crate::storefront::Ledger;
use crate::tables::{rows, text, time, whole};
use crate::world::World;

const SECOND: i64 = 1_000_000;
/// A step forward of log time beyond it is a leap, and how far a record must lie past one to confirm it.
const LEAP: i64 = 300 * SECOND;
const CONFIRMED: i64 = 5 * SECOND;

/// Whether each of these visitors has an event in the lake.
///
/// # Errors
/// When the lake cannot be read.
pub async fn has_events_of(lake: &Lake, visitors: &[String]) -> Result<bool> {
    let events = rows(lake, Table::Events).await?;
    let found: BTreeSet<&str> = events.iter().map(|event| text(event, "visitor_id")).collect();
    Ok(visitors.iter().all(|visitor_id| found.contains(visitor_id.as_str())))
}

/// Whether anything was read live, up to a receipt.
///
/// # Errors
/// When the lake cannot be read.
pub async fn has_receipts(lake: &Lake) -> Result<bool> {
    Ok(rows(lake, Table::Receipts).await?.iter().any(is_live))
}

/// The events that are in no session, and the newest receipts.
///
/// # Errors
/// When the lake cannot be read.
pub async fn without_session(lake: &Lake) -> Result<String> {
    let events = rows(lake, Table::Events).await?;
    let waiting: Vec<&Value> = events.iter().filter(|row| row["session_id"].is_null()).collect();
    let mut newest = BTreeMap::new();
    for row in rows(lake, Table::Receipts).await? {
        let key = (text(&row, "log").to_owned(), whole(&row, "log_partition"));
        let told = (whole(&row, "to_offset"), text(&row, "watermark").to_owned());
        let known = newest.entry(key).or_insert(told.clone());
        *known = told.max(known.clone());
    }
    Ok(format!("{}\nreceipts: {newest:?}", shown(&waiting)))
}

/// Stands for the rows of events and of what follows from them.
///
/// # Errors
/// When the lake cannot be read.
pub async fn rows_of_events(lake: &Lake) -> Result<u64> {
    let mut found = Found::read(lake).await?;
    found.receipts.clear();
    Ok(found.digest())
}

/// Whether the tables speak of all events, and of every session as closed.
///
/// # Errors
/// When the lake cannot be read.
pub async fn is_settled(broker: &Broker, lake: &Lake) -> Result<bool> {
    let receipts = rows(lake, Table::Receipts).await?;
    for partition in 0..broker.partitions() as i64 {
        let records = broker.records(Partition(partition as i32));
        let is_said = |record: &&Record| matches!(record.kind, Kind::Event | Kind::Rejected);
        let Some(last) = records.iter().rfind(is_said) else { continue };
        let newest = Found::of(&receipts, partition).max_by_key(|row| whole(row, "to_offset"));
        let Some(newest) = newest else { return Ok(false) };
        let events = records.iter().filter(|record| record.kind == Kind::Event);
        let latest = events.filter_map(|record| {
            let payload: Value = serde_json::from_slice(&record.payload).ok()?;
            payload["event_time"].as_i64()
        });
        let latest = latest.max();
        let over = latest.unwrap_or(0) + fixed_rules().session_gap.0 + SECOND;
        if whole(newest, "to_offset") <= last.offset.0 || time(newest, "watermark") < Some(over) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Holds the tables against what was sent and what the log holds; a number that stands for all rows.
///
/// # Errors
/// The first thing that does not hold.
pub async fn check(
    world: &World,
    broker: &Broker,
    ledger: &Ledger,
    lake: &Lake,
    definitions: &mut Definitions,
) -> Result<u64> {
    let found = Found::read(lake).await?;
    found.each_event_once(ledger)?;
    for partition in 0..broker.partitions() {
        let records = broker.records(Partition(partition as i32));
        let here = i64::from(partition);
        found.each_record_once(here, &records).with_context(|| format!("partition {here}"))?;
        found.late_is_late(here, &records).with_context(|| format!("partition {here}"))?;
        found.receipts_add_up(here, &records).with_context(|| format!("partition {here}"))?;
    }
    found.loads_add_up()?;
    found.sessions_are_those_of_the_events()?;
    found.rules_hold_from_their_record_on(broker)?;
    definitions.hold(&found.as_told())?;
    world.trace("oracle", "checked", &found.events.len().to_string());
    Ok(found.digest())
}

struct Found {
    events: Vec<Value>,
    sessions: Vec<Value>,
    needs: Vec<Value>,
    page_views: Vec<Value>,
    rejected: Vec<Value>,
    duplicates: Vec<Value>,
    receipts: Vec<Value>,
}

impl Found {
    async fn read(lake: &Lake) -> Result<Found> {
        Ok(Found {
            events: rows(lake, Table::Events).await?,
            sessions: rows(lake, Table::Sessions).await?,
            needs: rows(lake, Table::Needs).await?,
            page_views: rows(lake, Table::PageViews).await?,
            rejected: rows(lake, Table::Rejected).await?,
            duplicates: rows(lake, Table::Duplicates).await?,
            receipts: rows(lake, Table::Receipts).await?,
        })
    }

    /// Every acknowledged event is there once, any other at most once, each as it was sent, and no other. One
    /// that was refused and is sent again when its id is forgotten is refused again.
    fn each_event_once(&self, ledger: &Ledger) -> Result<()> {
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

    fn of(rows: &[Value], partition: i64) -> impl Iterator<Item = &Value> {
        let is_here = move |row: &&Value| is_live(row) && whole(row, "log_partition") == partition;
        rows.iter().filter(is_here)
    }

    /// Each record is an event, a refused one or a duplicate, once; of each id the first is no duplicate, and
    /// of an event every other is.
    fn each_record_once(&self, partition: i64, records: &[Record]) -> Result<()> {
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
    fn late_is_late(&self, partition: i64, records: &[Record]) -> Result<()> {
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

    /// Its ranges follow each other without a gap, and count what the tables hold.
    fn receipts_add_up(&self, partition: i64, records: &[Record]) -> Result<()> {
        let ranges = Found::of(&self.receipts, partition).filter(|row| row["site"].is_null());
        let mut ranges: Vec<&Value> = ranges.collect();
        ranges.sort_by_key(|row| whole(row, "from_offset"));
        let (mut at, mut clock) = (0, Clock::default());
        for row in ranges {
            let (from, to) = (whole(row, "from_offset"), whole(row, "to_offset"));
            ensure!(from == at && to > from, "a range is {from} to {to}, and begins at {at}");
            for record in &records[from as usize..to as usize] {
                clock.advance(record.append_time.0);
            }
            let (told, meant) = (time(row, "watermark"), clock.watermark());
            ensure!(told == meant, "the watermark at {to} is told as {told:?}, and is {meant:?}");
            at = to;
        }
        let is_said = |record: &&Record| matches!(record.kind, Kind::Event | Kind::Rejected);
        let last = records.iter().rfind(is_said).map_or(0, |record| record.offset.0 + 1);
        ensure!(at >= last, "the receipt ends at {at}, before {last}");
        let count = |rows: &[Value]| Found::of(rows, partition).count() as i64;
        let late = Found::of(&self.events, partition).filter(|row| row["late"] == true);
        let sum = |column| -> i64 {
            Found::of(&self.receipts, partition).map(|row| whole(row, column)).sum()
        };
        for (column, counted) in [
            ("accepted", count(&self.events)),
            ("rejected", count(&self.rejected)),
            ("duplicate", count(&self.duplicates)),
            ("late", late.count() as i64),
        ] {
            let told = sum(column);
            ensure!(told == counted, "the receipt tells {told} {column}, the table has {counted}");
        }
        let received = records.iter().filter(is_said).count() as i64;
        ensure!(sum("received") == received, "the receipt tells {} received", sum("received"));
        ensure!(sum("on_time") + sum("late") == sum("accepted"), "on time and late do not add up");
        let newest = Found::of(&self.receipts, partition).filter(|row| !row["site"].is_null());
        let newest = newest.max_by_key(|row| whole(row, "to_offset"));
        let pending = newest.map_or(0, |row| whole(row, "pending"));
        ensure!(pending == 0, "{pending} events are pending, and none is");
        Ok(())
    }

    /// Each line of a load is an event or a duplicate, once, and its receipt counts them; a repair may have made
    /// a duplicate of what is told as accepted.
    fn loads_add_up(&self) -> Result<()> {
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

    /// Sessions are the runs of each visitor's events, cut at the gap and at the cap: late ones were
    /// repaired.
    fn sessions_are_those_of_the_events(&self) -> Result<()> {
        let mut visitors: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for event in &self.events {
            visitors.entry(text(event, "visitor_id")).or_default().push(event);
        }
        let editions = editions();
        let by: BTreeMap<&str, &Rules> = self
            .sessions
            .iter()
            .filter_map(|row| {
                Some((text(row, "session_id"), editions.get(text(row, "config_id"))?))
            })
            .collect();
        let (gap, cap) = (fixed_rules().session_gap.0, fixed_rules().session_cap.0);
        let (mut expected, mut of_loads) = (BTreeSet::new(), BTreeSet::new());
        for (visitor_id, events) in &mut visitors {
            events.sort_by_key(|event| {
                (time(event, "event_time"), whole(event, "seq"), text(event, "event_id"))
            });
            let mut rest = &events[..];
            while let Some(first) = rest.first() {
                let began = time(first, "event_time").context("a time")?;
                let (mut end, mut last, mut cause) = (1, began, "timeout");
                while let Some(next) = rest.get(end) {
                    let at = time(next, "event_time").context("a time")?;
                    if at - last > gap {
                        break;
                    }
                    if at - began > cap {
                        cause = "cap";
                        break;
                    }
                    (end, last) = (end + 1, at);
                }
                let session_id = text(first, "session_id");
                let others =
                    rest[..end].iter().find(|event| text(event, "session_id") != session_id);
                ensure!(
                    others.is_none(),
                    "{visitor_id}: an event of {session_id} is in another session:\n{}",
                    shown(&rest[..end])
                );
                // Beyond the cap an event is in no figure but these.
                let rules = by.get(session_id).context("a session by rules that nobody gave")?;
                let counted = end.min(rules.events_per_session_max as usize);
                let purchases =
                    rest[..counted].iter().filter(|event| text(event, "event_name") == "purchase");
                let count = purchases.count() as i64;
                let late = rest[..end].iter().filter(|event| event["late"] == true).count() as i64;
                ensure!(!session_id.is_empty(), "{visitor_id}: an event has no session");
                if rest[..end].iter().any(|event| !is_live(event)) {
                    of_loads.insert(session_id);
                }
                expected.insert((session_id, began, last, end as i64, cause, count, late));
                rest = &rest[end..];
            }
        }
        let found: BTreeSet<_> = self
            .sessions
            .iter()
            .map(|row| {
                (
                    text(row, "session_id"),
                    time(row, "started_at").unwrap_or(0),
                    time(row, "ended_at").unwrap_or(0),
                    whole(row, "event_count"),
                    close_cause(row, of_loads.contains(text(row, "session_id"))),
                    whole(row, "conversion_count"),
                    whole(row, "revision"),
                )
            })
            .collect();
        ensure!(found.len() == self.sessions.len(), "a session has two rows");
        let missing = expected.difference(&found).next();
        let invented = found.difference(&expected).next();
        ensure!(
            missing.is_none() && invented.is_none(),
            "sessions: {missing:?} is missing, {invented:?} is there"
        );
        Ok(())
    }

    /// A session on time is by the rules in force at the record of its first event; the rows of every
    /// session by those of the session.
    fn rules_hold_from_their_record_on(&self, broker: &Broker) -> Result<()> {
        let mut first_events: BTreeMap<&str, &Value> = BTreeMap::new();
        let of = |event: &Value| {
            (time(event, "event_time"), whole(event, "seq"), text(event, "event_id").to_owned())
        };
        for event in &self.events {
            let first = first_events.entry(text(event, "session_id")).or_insert(event);
            if of(event) < of(first) {
                *first = event;
            }
        }
        // A repair folds all sessions of a run, for a late event or for one that a load had as well.
        let doubled = self.duplicates.iter().filter(|row| !is_live(row));
        let doubled: BTreeSet<&str> = doubled.map(|row| text(row, "event_id")).collect();
        let is_reason = |event: &&Value| {
            event["late"] == true || !is_live(event) || doubled.contains(text(event, "event_id"))
        };
        let repaired: BTreeSet<&str> = self
            .runs()
            .into_iter()
            .filter(|run| run.iter().any(is_reason))
            .flat_map(|run| run.into_iter().map(|event| text(event, "session_id")))
            .collect();
        let in_force: Vec<Vec<(i64, String)>> = (0..broker.partitions())
            .map(|partition| controls(&broker.records(Partition(partition as i32))))
            .collect();
        let (mut by, known) = (BTreeMap::new(), editions());
        for session in &self.sessions {
            let (id, config_id) = (text(session, "session_id"), text(session, "config_id"));
            by.insert(id, config_id);
            let first = first_events.get(id).context("a session without events")?;
            if repaired.contains(id) {
                // It is by the rules at its repair.
                ensure!(known.contains_key(config_id), "{id} is by rules that nobody gave");
                continue;
            }
            let controls = &in_force[whole(first, "log_partition") as usize];
            let before = controls.iter().rfind(|(offset, _)| *offset < whole(first, "log_offset"));
            let wanted = before.or(controls.first()).map_or("", |(_, id)| id.as_str());
            ensure!(config_id == wanted, "{id} is by rules {config_id}, and not by {wanted}");
        }
        for row in self.needs.iter().chain(&self.page_views) {
            let (id, config_id) = (text(row, "session_id"), text(row, "config_id"));
            ensure!(
                by.get(id) == Some(&config_id),
                "a row of {id} is by rules {config_id}, the session by {:?}",
                by.get(id)
            );
        }
        Ok(())
    }

    /// The events of each visitor between two pauses longer than the gap, of whichever logs.
    fn runs(&self) -> Vec<Vec<&Value>> {
        let at = |event: &Value| time(event, "event_time").unwrap_or(0);
        let mut visitors: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for event in &self.events {
            visitors.entry(text(event, "visitor_id")).or_default().push(event);
        }
        let gap = fixed_rules().session_gap.0;
        let mut runs = Vec::new();
        for mut events in visitors.into_values() {
            events.sort_by_key(|event| at(event));
            let of_visitor = events.chunk_by(|one, next| at(next) - at(one) <= gap);
            runs.extend(of_visitor.map(<[&Value]>::to_vec));
        }
        runs
    }

    /// The run as the definitions in Python read it.
    fn as_told(&self) -> Value {
        let told = |edition: Edition| {
            let rules = edition.rules();
            let steps = STEPS.map(|(name, condition)| json!([name, condition]));
            let Asked { name, raised_by, found_by } = edition.need();
            let need = &rules.needs[0];
            let told = json!({
                "gap_us": rules.session_gap.0, "cap_us": rules.session_cap.0,
                "events_max": rules.events_per_session_max, "slow_page_ms": rules.slow_page_ms,
                "conversion": CONVERSION, "page_view": PAGE_VIEW, "error": ERROR,
                "zero_search": ["search_results", 0], "rage_target": RAGE_TARGET, "steps": steps,
                "needs": [[name, raised_by, found_by, need.within.0, need.max_clicks]],
            });
            (config_id(&serde_json::to_vec(&rules).unwrap_or_default()), told)
        };
        let rules: serde_json::Map<String, Value> = Edition::ALL.map(told).into_iter().collect();
        let mut sessions = self.sessions.clone();
        for session in &mut sessions {
            session["close_cause"] = json!(close_cause(session, true));
        }
        json!({
            "rules": rules, "events": self.events, "sessions": sessions, "needs": self.needs,
            "page_views": self.page_views,
        })
    }

    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for rows in [
            &self.events,
            &self.sessions,
            &self.needs,
            &self.page_views,
            &self.rejected,
            &self.duplicates,
            &self.receipts,
        ] {
            let mut lines: Vec<String> = rows.iter().map(Value::to_string).collect();
            lines.sort_unstable();
            lines.hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// Rules of one edition: gap, cap, window and lateness are those of all.
fn fixed_rules() -> Rules {
    Edition::First.rules()
}

/// All rules by their ids.
fn editions() -> BTreeMap<String, Rules> {
    let rules = Edition::ALL.map(Edition::rules).into_iter();
    rules.map(|rules| (config_id(&serde_json::to_vec(&rules).unwrap_or_default()), rules)).collect()
}

/// The first 64 bits of SHA-256 of the rules' JSON.
fn config_id(json: &[u8]) -> String {
    hex::encode(&Sha256::digest(json)[..8])
}

/// Where rules came into force in a partition, and their ids.
fn controls(records: &[Record]) -> Vec<(i64, String)> {
    let controls = records.iter().filter(|record| record.kind == Kind::Control);
    controls.map(|record| (record.offset.0, config_id(&record.payload))).collect()
}

/// Numbers may stand as texts that tell them to the last digit.
fn is_same(told: &Value, sent: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    };
    told == sent || (sent.is_number() && number(told) == number(sent))
}

/// Why a session ended; the last of a visitor in a load ended with it, after which nothing came.
fn close_cause(session: &Value, is_of_load: bool) -> &str {
    match text(session, "close_cause") {
        "end_of_load" if is_of_load => "timeout",
        cause => cause,
    }
}

/// Whether a row is of the log, and not of a load.
fn is_live(row: &Value) -> bool {
    text(row, "log") == TOPIC
}

/// Events, a line each.
fn shown(events: &[&Value]) -> String {
    let line = |event: &&Value| {
        let of = |column| event[column].to_string();
        let columns = ["event_time", "event_id", "log_offset", "late", "session_id"];
        columns.map(of).join(" ")
    };
    events.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Log time, as docs/semantics.md has it.
#[derive(Default)]
struct Clock {
    log_time: Option<i64>,
    /// A leap that is not believed yet.
    leap: Option<i64>,
}

impl Clock {
    fn watermark(&self) -> Option<i64> {
        self.log_time.map(|time| time - fixed_rules().allowed_lateness.0)
    }

    fn advance(&mut self, append_time: i64) {
        if self.leap.is_some_and(|leap| append_time < leap) {
            self.leap = None;
        }
        if let Some(leap) = self.leap
            && append_time >= leap + CONFIRMED
        {
            self.log_time = Some(leap);
            self.leap = None;
        }
        match self.log_time {
            Some(now) if append_time <= now + LEAP => self.log_time = Some(now.max(append_time)),
            _ if self.leap.is_none() => self.leap = Some(append_time),
            _ => {}
        }
    }
}
