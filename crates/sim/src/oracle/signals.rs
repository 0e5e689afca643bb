//! Signals, as they were published: what they say is of an event that is there, and the same each time.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Found, editions};
use crate::broker::Broker;
use crate::tables::{text, time};

impl Found {
    /// A signal may come again, and must be what it was; the need's row tells of it, where it was not made anew
    /// by a repair.
    pub fn signals_are_of_needs(&self, broker: &Broker) -> Result<()> {
        let needs: BTreeMap<Raised<'_>, &Value> =
            self.needs.iter().map(|row| (raised(row), row)).collect();
        let events: BTreeSet<(&str, &str, Option<i64>)> = self
            .events
            .iter()
            .map(|row| (text(row, "site"), text(row, "visitor_id"), time(row, "event_time")))
            .collect();
        let repaired = self.repaired_sessions();
        let published: Vec<(String, Value)> = broker
            .published()
            .into_iter()
            .map(|(key, payload)| Ok((key, serde_json::from_slice(&payload)?)))
            .collect::<Result<_>>()?;
        let mut known: BTreeMap<&str, &Value> = BTreeMap::new();
        let rules = editions();
        for (key, signal) in &published {
            let id = text(signal, "signal_id");
            let before = *known.entry(id).or_insert(signal);
            ensure!(before == signal, "signal {id} was {before}, and then {signal}");
            let told = raised(signal);
            let (site, visitor_id, need, raised_at) = told;
            ensure!(key == visitor_id, "signal {signal} has the key {key}");
            ensure!(events.contains(&(site, visitor_id, raised_at)), "{signal} is of no event");
            let need = rules.values().flat_map(|rules| &rules.needs).find(|it| it.name == need);
            let need = need.with_context(|| format!("{signal} is of no need"))?;
            let grace = rules.values().map(|rules| rules.signal_grace).max().unwrap_or_default();
            let due = raised_at.map(|at| at + need.within.0 + grace.0);
            ensure!(time(signal, "deadline") == due, "the deadline of {signal} should be {due:?}");
            if let Some(row) = needs.get(&told)
                && !repaired.contains(text(row, "session_id"))
            {
                ensure!(row["signalled"] == true, "{row} was signalled, and says it was not");
            }
        }
        Ok(())
    }
}

/// Site, visitor, need, and when it was raised.
type Raised<'r> = (&'r str, &'r str, &'r str, Option<i64>);

fn raised(row: &Value) -> Raised<'_> {
    (text(row, "site"), text(row, "visitor_id"), text(row, "need"), time(row, "raised_at"))
}
