//! Sessions, from all events at once, and the rules that they are by.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use footfall_event::Partition;
use serde_json::Value;

use super::records::id_of;
use super::{
    Found, close_cause, controls, editions, fixed_rules, in_force, is_live, is_of_no_session,
    is_refused, order, shown,
};
use crate::broker::Broker;
use crate::tables::{text, time, whole};

impl Found {
    /// Sessions are the runs of each visitor's events, cut at the gap and at the cap: late ones were
    /// repaired. An event for which no session had room cuts too, and begins none.
    pub fn sessions_are_those_of_the_events(&self) -> Result<()> {
        let mut visitors: BTreeMap<(&str, &str), Vec<&Value>> = BTreeMap::new();
        for event in &self.events {
            ensure!(
                !is_refused(event) || is_live(event) && event["late"] == false,
                "a repair and a load have room for every session: {event}"
            );
            if is_of_no_session(event) {
                ensure!(event["session_id"].is_null(), "it is of no session, and has one: {event}");
            } else {
                visitors.entry(visitor_of(event)).or_default().push(event);
            }
        }
        let (mut expected, mut of_loads) = (BTreeSet::new(), BTreeSet::new());
        for (visitor, events) in &mut visitors {
            events.sort_by_key(|event| order(event));
            let mut rest = &events[..];
            while let Some(first) = rest.first() {
                if is_refused(first) {
                    rest = &rest[1..];
                    continue;
                }
                let began = time(first, "event_time").context("a time")?;
                let (end, last, cause) = first_session(rest)?;
                let session_id = text(first, "session_id");
                let others =
                    rest[..end].iter().find(|event| text(event, "session_id") != session_id);
                ensure!(
                    others.is_none(),
                    "{visitor:?}: an event of {session_id} is in another session:\n{}",
                    shown(&rest[..end])
                );
                let late = rest[..end].iter().filter(|event| event["late"] == true).count() as i64;
                ensure!(!session_id.is_empty(), "{visitor:?}: an event has no session");
                if rest[..end].iter().any(|event| !is_live(event)) {
                    of_loads.insert(session_id);
                }
                expected.insert((session_id, began, last, end as i64, cause, late));
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
    pub fn rules_hold_from_their_record_on(&self, broker: &Broker) -> Result<()> {
        let mut first_events: BTreeMap<&str, &Value> = BTreeMap::new();
        for event in self.events.iter().filter(|event| !event["session_id"].is_null()) {
            let first = first_events.entry(text(event, "session_id")).or_insert(event);
            if order(event) < order(first) {
                *first = event;
            }
        }
        let repaired = self.repaired_sessions();
        let all_controls: Vec<Vec<(i64, String)>> = (0..broker.partitions())
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
            let controls = &all_controls[whole(first, "log_partition") as usize];
            let wanted = in_force(controls, whole(first, "log_offset"))?;
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

    /// Those of runs that a repair folds: all sessions of a run, for a late event or for one that a load had as well.
    pub fn repaired_sessions(&self) -> BTreeSet<&str> {
        let doubled = self.duplicates.iter().filter(|row| !is_live(row));
        let doubled: BTreeSet<[&str; 2]> = doubled.map(id_of).collect();
        let is_reason = |event: &&Value| {
            event["late"] == true || !is_live(event) || doubled.contains(&id_of(event))
        };
        self.runs()
            .into_iter()
            .filter(|run| run.iter().any(is_reason))
            .flat_map(|run| run.into_iter().map(|event| text(event, "session_id")))
            .collect()
    }

    /// The events of each visitor between two pauses longer than the gap, of whichever logs.
    fn runs(&self) -> Vec<Vec<&Value>> {
        let at = |event: &Value| time(event, "event_time").unwrap_or(0);
        let mut visitors: BTreeMap<(&str, &str), Vec<&Value>> = BTreeMap::new();
        for event in &self.events {
            visitors.entry(visitor_of(event)).or_default().push(event);
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
}

/// How many of a visitor's events the first session takes, when the last of them was, and why it ends there.
fn first_session(events: &[&Value]) -> Result<(usize, i64, &'static str)> {
    let (gap, cap) = (fixed_rules().session_gap.0, fixed_rules().session_cap.0);
    let times: Option<Vec<i64>> = events.iter().map(|event| time(event, "event_time")).collect();
    let times = times.context("a time")?;
    let began = times.first().context("an event")?;
    let mut last = began;
    for (count, at) in times.iter().enumerate().skip(1) {
        if at - last > gap {
            return Ok((count, *last, "timeout"));
        }
        if at - began > cap {
            return Ok((count, *last, "cap"));
        }
        last = at;
    }
    Ok((times.len(), *last, "timeout"))
}

/// A visitor is one of a site.
fn visitor_of(event: &Value) -> (&str, &str) {
    (text(event, "site"), text(event, "visitor_id"))
}
