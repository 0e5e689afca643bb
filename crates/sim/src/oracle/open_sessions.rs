//! Which events found no room for a session, recounted from the events that were on time.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use footfall_log::Record;
use serde_json::Value;

use super::{Found, controls, editions, fixed_rules, in_force, is_hidden, is_refused, order};
use crate::tables::{text, time, whole};

/// When a session that is open began, and its last event.
struct Open {
    began: i64,
    last: i64,
}

impl Found {
    /// An event is refused a session if as many of other visitors are open as may be, and it would begin one; but a
    /// repair may have given it one.
    pub fn those_without_room_are_refused(&self, partition: i64, records: &[Record]) -> Result<()> {
        let (editions, controls) = (editions(), controls(records));
        let (gap, cap) = (fixed_rules().session_gap.0, fixed_rules().session_cap.0);
        let repaired = self.repaired_sessions();
        let is_folded = |row: &&Value| {
            row["late"] == false && !text(row, "visitor_id").is_empty() && !is_hidden(row)
        };
        let mut events: Vec<&Value> =
            Found::of(&self.events, partition).filter(is_folded).collect();
        events.sort_by_key(|event| order(event));
        let mut open: BTreeMap<(&str, &str), Open> = BTreeMap::new();
        for event in events {
            let (offset, at) = (whole(event, "log_offset"), time(event, "event_time"));
            let at = at.context("a time")?;
            let rules = editions.get(in_force(&controls, offset)?);
            let rules = rules.context("rules that nobody gave")?;
            open.retain(|_, session| session.last + gap >= at);
            let visitor = (text(event, "site"), text(event, "visitor_id"));
            let goes_on = open.remove(&visitor).filter(|session| at - session.began <= cap);
            let expected = goes_on.is_none() && open.len() as u64 >= rules.open_sessions_max;
            if !expected {
                let began = goes_on.map_or(at, |session| session.began);
                open.insert(visitor, Open { began, last: at });
            }
            let is_refused = is_refused(event);
            let is_repaired = repaired.contains(text(event, "session_id"));
            ensure!(
                is_refused == expected || is_repaired && !is_refused,
                "record {offset} has no session: {is_refused}, and should have none: {expected}; open are {:?}",
                open.keys()
            );
        }
        Ok(())
    }
}
