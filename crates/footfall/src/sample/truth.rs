//! What the generator meant: one row for each need that a session was meant to raise, and totals.
//! Nothing here looks at an event's columns; whether the pipeline finds the same is left to others.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::intent::{Need, Outcome};
use super::json::JsonObject;

/// A need that a session was meant to raise, and what was meant to become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TruthRow {
    pub site: Arc<str>,
    /// As the tables name the visitor: `u:<id>` where only a user id is known.
    pub visitor_id: String,
    pub need: Need,
    /// Microseconds UTC, as are all times here.
    pub raised_at: i64,
    pub raised_path: String,
    pub raised_page_type: &'static str,
    pub outcome: Outcome,
    /// Set for the two found outcomes alone.
    pub found_at: Option<i64>,
    /// Clicks from the raising to the end of the episode, both included.
    pub click_count: u32,
    /// A conversion at or after the raising.
    pub converted: bool,
    pub session_first_event_id: String,
    pub session_started_at: i64,
    pub session_ended_at: i64,
    /// Longest wait that is in time, in microseconds.
    pub within: i64,
}

impl TruthRow {
    /// One line of JSON, without its end of line.
    pub fn to_json(&self) -> String {
        let left_after = self.session_ended_at - self.raised_at;
        let stayed = self.outcome.is_found() || self.converted || left_after >= self.within;
        let mut json = JsonObject::with_capacity(512);
        json.text("site", &self.site);
        json.text("visitor_id", &self.visitor_id);
        json.text("need", self.need.name());
        json.time("raised_at", self.raised_at);
        json.text("raised_path", &self.raised_path);
        json.text("raised_page_type", self.raised_page_type);
        json.text("outcome", self.outcome.name());
        match self.found_at {
            Some(found_at) => {
                json.time("found_at", found_at);
                json.whole("info_ms", (found_at - self.raised_at) / 1_000);
            }
            None => {
                json.null("found_at");
                json.null("info_ms");
            }
        }
        json.whole("click_count", i64::from(self.click_count));
        json.flag("converted", self.converted);
        json.whole("left_after_ms", left_after / 1_000);
        json.flag("left_before_deadline", !stayed);
        json.text("session_first_event_id", &self.session_first_event_id);
        json.time("session_started_at", self.session_started_at);
        json.time("session_ended_at", self.session_ended_at);
        json.finish()
    }
}

/// Counts over what was drawn from a sample so far; of sessions, over those begun so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Distinct events, the late ones included.
    pub events: u64,
    /// Events sent once more.
    pub resends: u64,
    /// Events meant to arrive beyond the allowed lateness.
    pub late: u64,
    /// Events of hidden pages, which belong to no session.
    pub hidden: u64,
    /// Events without a visitor.
    pub cookieless: u64,
    pub sessions: u64,
    /// Page views within sessions, a `page_view` and its `view_item` counted as one.
    pub page_views: u64,
    pub needs: BTreeMap<(Need, Outcome), u64>,
}

impl Totals {
    /// One line of JSON, without its end of line.
    pub fn to_json(&self) -> String {
        let mut json = JsonObject::with_capacity(512);
        let counts = [
            ("events", self.events),
            ("resends", self.resends),
            ("late", self.late),
            ("hidden", self.hidden),
            ("cookieless", self.cookieless),
            ("sessions", self.sessions),
            ("page_views", self.page_views),
        ];
        for (name, count) in counts {
            json.whole(name, count as i64);
        }
        json.object("needs", |needs| {
            for need in Need::ALL {
                needs.object(need.name(), |outcomes| {
                    for outcome in Outcome::ALL {
                        let count = self.needs.get(&(need, outcome)).copied().unwrap_or(0);
                        outcomes.whole(outcome.name(), count as i64);
                    }
                });
            }
        });
        json.finish()
    }
}
