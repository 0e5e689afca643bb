//! Signals: a need's deadline passed and the log held neither a find nor a conversion. They look at
//! what has arrived, held events included, and do not wait for the watermark.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use footfall_event::{Micros, Offset, SessionId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::held::{Held, HeldEvents, in_order};
use crate::need::{Episode, Raised};
use crate::visitors::{Entry, VisitorPlace};
use crate::{Bits, Hit, Rows, RuleBook, RulesId, Session, Visitor, step};

/// A need that was not met in time, by what the log held then. It is never taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The record that moved log time past the deadline.
    pub cause: Offset,
    /// Hash of the need's name and the raising event: equal when it is published again.
    pub id: String,
    pub need: String,
    pub visitor: Arc<Visitor>,
    pub session_id: SessionId,
    pub raised_at: Micros,
    pub raised_path: Option<Box<str>>,
    pub raised_page_type: Option<Box<str>>,
    pub click_count: u64,
    /// `raised_at` + within + grace.
    pub deadline: Micros,
    /// Log time when it was due.
    pub due_at: Micros,
}

/// When to look whether the need that an event may have raised was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    pub at: Micros,
    pub place: VisitorPlace,
    /// The event's record.
    pub offset: Offset,
    pub rules: RulesId,
    pub need: u32,
}

/// The form in which a snapshot keeps a deadline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadlineState {
    pub at: Micros,
    pub visitor: Visitor,
    pub offset: Offset,
    pub rules: RulesId,
    pub need: u32,
}

/// A visitor with more events held raises no signal: to see whether a need was met steps all of them,
/// and nobody but a machine has a thousand events within the lateness.
pub const SIGNALLED_HELD_MAX: usize = 1_000;
/// Room for more is given back when none is left.
const BURST_DEADLINES: usize = 10_000;

#[derive(Debug, Default)]
pub struct Deadlines {
    heap: BinaryHeap<Reverse<Deadline>>,
}

impl Deadlines {
    pub fn push(&mut self, deadline: Deadline) {
        self.heap.push(Reverse(deadline));
    }

    /// Sets the deadlines of the needs that `hit`, which `bits` describe under the rules `id`, may
    /// raise. It may raise one unless `session`, its visitor's as stepped so far, goes on under other
    /// rules or had the need raised or met before.
    pub fn set(
        &mut self,
        hit: &Hit,
        (id, bits): (RulesId, Bits),
        place: VisitorPlace,
        session: Option<&Session>,
        book: &RuleBook,
    ) {
        let rules = book.at(id);
        if !bits.touches_needs(rules) || hit.bits.hidden() || hit.visible_ms == Some(0) {
            return;
        }
        let session = session.filter(|session| session.goes_on_with(hit, book));
        for (need, rule) in rules.needs.iter().enumerate() {
            let is_over = session.is_some_and(|session| {
                session.rules != id || session.needs[need] != Episode::NotRaised
            });
            if bits.raises(need) && !is_over {
                let at = hit.event_time + rule.within + rules.signal_grace;
                let (offset, rules, need) = (hit.offset, id, need as u32);
                self.push(Deadline { at, place, offset, rules, need });
            }
        }
    }

    /// The next deadline that log time has passed.
    pub fn pop_before(&mut self, log_time: Micros) -> Option<Deadline> {
        let Reverse(next) = self.heap.peek()?;
        if next.at >= log_time {
            return None;
        }
        let next = self.heap.pop().map(|Reverse(next)| next);
        if self.heap.is_empty() {
            self.heap.shrink_to(BURST_DEADLINES);
        }
        next
    }

    /// Drops what was set for a place whose visitor is erased.
    pub fn forget(&mut self, place: VisitorPlace) {
        self.heap.retain(|Reverse(deadline)| deadline.place != place);
    }

    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Deadline> {
        self.heap.iter().map(|Reverse(deadline)| deadline)
    }
}

/// The episode that `deadline` asks about, as the visitor's arrived events tell it: `None` when its
/// event did not raise the need, or the need was found or a conversion came.
pub fn unmet(
    deadline: &Deadline,
    entry: &Entry,
    held: &HeldEvents,
    book: &RuleBook,
) -> Option<(SessionId, Raised)> {
    let mut session = entry.session.clone();
    let mut events: Vec<&Held> = entry.held.iter().filter_map(|place| held.at(*place)).collect();
    events.sort_by(|a, b| in_order(&a.hit, &b.hit));
    let mut scratch = Rows::default();
    let asked = |session: &Option<Box<Session>>| {
        let session = session.as_ref().filter(|session| session.rules == deadline.rules)?;
        let raised = session.needs.get(deadline.need as usize)?.raised()?;
        (raised.offset == deadline.offset).then(|| (session.id, raised.clone()))
    };
    let mut latest = asked(&session);
    for event in events {
        step(&mut session, &entry.visitor, &event.hit, &event.signalled, true, book, &mut scratch);
        latest = asked(&session).or(latest);
    }
    latest.filter(|(_, raised)| raised.end.is_none())
}

/// The first 128 bits, as hex, of SHA-256 over the need and what names its raising event.
pub fn signal_id(need: &str, visitor: &Visitor, event_id: &str) -> String {
    let mut hash = Sha256::new();
    for part in [need, &visitor.site, &visitor.visitor_id, event_id] {
        hash.update((part.len() as u32).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(&hash.finalize()[..16])
}
