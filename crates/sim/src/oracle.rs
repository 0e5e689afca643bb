//! What must hold when all is calm, computed from what was sent and what the log holds. It shares no code
//! with what it checks.

mod clock;
mod open_sessions;
mod progress;
mod receipts;
mod records;
mod sessions;
mod signals;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::{Context, Result};
use footfall_event::Partition;
use footfall_event::schema::Table;
use footfall_lake::Lake;
use footfall_log::{Kind, Record};
use footfall_sessionizer::Rules;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::broker::{Broker, TOPIC};
use crate::definitions::Definitions;
use crate::rules::{Asked, CONVERSION, ERROR, Edition, HIDDEN, PAGE_VIEW, RAGE_TARGET, STEPS};
use crate::storefront::Ledger;
use crate::tables::{rows, text, time, whole};
use crate::world::World;
pub use progress::{
    has_events_of, has_receipts, is_settled, received, rows_of_events, without_session,
};

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
        let here = i64::from(partition);
        let of = Partition(partition as i32);
        found
            .partition_adds_up(here, &broker.records(of), broker.first(of))
            .with_context(|| format!("partition {here}"))?;
    }
    found.loads_add_up()?;
    found.sessions_are_those_of_the_events()?;
    found.rules_hold_from_their_record_on(broker)?;
    found.signals_are_of_needs(broker)?;
    definitions.hold(&found.as_told())?;
    world.trace("oracle", "checked", &found.events.len().to_string());
    found.count(world);
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

    /// Of records that nobody could read, as they went before the first pipeline came, nothing is said.
    fn partition_adds_up(&self, partition: i64, records: &[Record], first: usize) -> Result<()> {
        self.each_record_once(partition, records)?;
        self.late_is_late(partition, &records[first..])?;
        self.those_without_room_are_refused(partition, records)?;
        self.receipts_add_up(partition, records, first as i64)
    }

    fn of(rows: &[Value], partition: i64) -> impl Iterator<Item = &Value> {
        let is_here = move |row: &&Value| is_live(row) && whole(row, "log_partition") == partition;
        rows.iter().filter(is_here)
    }

    /// What rows tell of a run.
    fn count(&self, world: &World) {
        let is_repaired = |event: &Value| event["late"] == true && !event["session_id"].is_null();
        let of_events =
            |is: &dyn Fn(&Value) -> bool| self.events.iter().filter(|it| is(it)).count();
        for (what, often) in [
            ("late event", of_events(&|event| event["late"] == true)),
            ("repaired event", of_events(&is_repaired)),
            ("event of a load", of_events(&|event| !is_live(event))),
            ("event without room", of_events(&is_refused)),
            ("refused event", self.rejected.len()),
            ("duplicate", self.duplicates.len()),
        ] {
            world.count_all(what, often);
        }
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
        let events = self.events.iter().filter(|event| !is_of_no_session(event));
        json!({
            "rules": rules, "events": events.collect::<Vec<_>>(), "sessions": sessions, "needs": self.needs,
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

/// An event without a visitor, or a hidden one: it neither begins a session nor ends one.
fn is_of_no_session(event: &Value) -> bool {
    text(event, "visitor_id").is_empty() || is_hidden(event)
}

/// It came when as many sessions were open as may be, and no repair has given it one.
fn is_refused(event: &Value) -> bool {
    event["overflow"] == true && event["session_id"].is_null()
}

fn is_hidden(event: &Value) -> bool {
    let [column, value] = HIDDEN;
    text(event, column) == value
}

/// Where rules came into force in a partition, and their ids.
fn controls(records: &[Record]) -> Vec<(i64, String)> {
    let controls = records.iter().filter(|record| record.kind == Kind::Control);
    controls.map(|record| (record.offset.0, config_id(&record.payload))).collect()
}

/// The id of the rules in force at a record, which are the first for what came before any.
fn in_force(controls: &[(i64, String)], offset: i64) -> Result<&str> {
    let before = controls.iter().rfind(|(control, _)| *control < offset);
    before.or(controls.first()).map(|(_, id)| id.as_str()).context("no rules")
}

/// What events of a visitor are ordered by.
fn order(event: &Value) -> (Option<i64>, i64, &str) {
    (time(event, "event_time"), whole(event, "seq"), text(event, "event_id"))
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
