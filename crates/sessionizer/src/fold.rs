//! A partition's fold: records in, in the order of the log; rows, receipts and signals out. Equal
//! records give equal rows. It cannot fail: what it refuses is an output.

mod erase;
mod live;
mod state;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use footfall_event::{EventKey, Micros, Offset};

use crate::clock::LEAP;
use crate::dedupe::Dedupe;
use crate::held::{Held, HeldEvents, HeldPlace, Signalled};
use crate::ledger::Ledger;
use crate::signal::{Deadline, Deadlines, SIGNALLED_HELD_MAX, Signal, signal_id, unmet};
use crate::visitors::{VisitorPlace, Visitors};
use crate::{
    Bits, CloseCause, EventRow, Fact, Hit, LogClock, Membership, ReceiptRow, Rows, RuleBook, Rules,
    RulesId, Status, step,
};

pub use live::LiveSession;
pub use state::{FoldState, FoldView};

/// The fold of one partition.
pub struct Fold {
    book: RuleBook,
    clock: LogClock,
    dedupe: Dedupe,
    held: HeldEvents,
    visitors: Visitors,
    /// When to look for the end of a place's session.
    closings: BinaryHeap<Reverse<(Micros, VisitorPlace)>>,
    deadlines: Deadlines,
    open_sessions: u64,
    ledger: Ledger,
    output: Output,
    /// Reused for events that tie.
    tied: Vec<(HeldPlace, Box<Held>)>,
}

/// What became final since the last [`Fold::take_output`], in the order in which it did.
#[derive(Debug, Default)]
pub struct Output {
    pub rows: Rows,
    pub signals: Vec<Signal>,
    pub receipts: Vec<ReceiptRow>,
}

impl Fold {
    /// A fold of a partition's log from its beginning, whose receipt begins at `receipts_from`.
    pub fn new(rules: Arc<Rules>, receipts_from: Offset) -> Fold {
        Fold {
            book: RuleBook::new(rules),
            clock: LogClock::default(),
            dedupe: Dedupe::default(),
            held: HeldEvents::default(),
            visitors: Visitors::default(),
            closings: BinaryHeap::new(),
            deadlines: Deadlines::default(),
            open_sessions: 0,
            ledger: Ledger::new(receipts_from, BTreeMap::new()),
            output: Output::default(),
            tied: Vec::new(),
        }
    }

    /// An accepted event's record. `is_old_resend` tells that its id was found among rows written
    /// long ago; duplicate is decided before late.
    pub fn event(&mut self, append_time: Micros, hit: Hit, is_old_resend: bool) -> Status {
        let offset = hit.offset;
        self.begin(offset, append_time);
        let status = self.judge(&hit, append_time, is_old_resend);
        self.ledger.count(offset, hit.fact(Fact::Site).unwrap_or_default(), status);
        match status {
            Status::OnTime => self.hold(hit),
            Status::Late => self.output.rows.events.push(EventRow {
                cause: offset,
                offset,
                session_id: None,
                late: true,
                overflow: false,
            }),
            Status::Duplicate | Status::Rejected => {}
        }
        self.end();
        status
    }

    /// A rejected event's record.
    pub fn rejection(
        &mut self,
        offset: Offset,
        append_time: Micros,
        site: &str,
        key: EventKey,
    ) -> Status {
        self.begin(offset, append_time);
        let is_fresh = self.remember(key, append_time);
        let status = if is_fresh { Status::Rejected } else { Status::Duplicate };
        self.ledger.count(offset, site, status);
        self.end();
        status
    }

    /// A tick, or a control record that changes nothing.
    pub fn tick(&mut self, offset: Offset, append_time: Micros) {
        self.begin(offset, append_time);
        self.end();
    }

    /// A control record: `rules` hold for what follows it. Held events must be judged by them too,
    /// through [`Fold::judge_held`].
    pub fn change_rules(
        &mut self,
        offset: Offset,
        append_time: Micros,
        rules: Arc<Rules>,
    ) -> RulesId {
        self.tick(offset, append_time);
        if **self.book.newest().1 == *rules {
            return self.book.newest().0;
        }
        self.book.push(rules)
    }

    /// Tells the conditions of each held event, by its record, under rules that came later.
    pub fn judge_held(&mut self, rules: RulesId, mut bits_of: impl FnMut(Offset) -> Bits) {
        for Held { hit, visitor, .. } in self.held.iter_mut().filter(|held| held.hit.rules != rules)
        {
            let judged = (rules, bits_of(hit.offset));
            hit.other_bits.push(judged);
            if let Some(visitor) = visitor {
                let session = self.visitors.at(*visitor).and_then(|entry| entry.session.as_deref());
                self.deadlines.set(hit, judged, *visitor, session, &self.book);
            }
        }
    }

    /// The sets of rules under which events must be judged: the newest, and those that open
    /// sessions and held events follow.
    pub fn rules(&self) -> &RuleBook {
        &self.book
    }

    /// Drops sets of rules that no session and no held event follows any more. All output must have
    /// been taken, and all held events given back: their rows name rules too.
    pub fn forget_rules(&mut self) {
        if self.book.iter().count() > 1 {
            let (visitors, held) = (&self.visitors, &self.held);
            self.book.keep(|id| {
                visitors.sessions().any(|session| session.rules == id)
                    || held.iter().any(|event| event.hit.rules == id)
            });
        }
    }

    pub fn clock(&self) -> LogClock {
        self.clock
    }

    pub fn open_sessions(&self) -> u64 {
        self.open_sessions
    }

    pub fn held_events(&self) -> usize {
        self.held.len()
    }

    /// The lowest record whose event is held.
    pub fn lowest_held(&self) -> Option<Offset> {
        self.held.iter().map(|held| held.hit.offset).min()
    }

    pub fn remembered_ids(&self) -> usize {
        self.dedupe.len()
    }

    /// Whether a tick should come soon: an event is held, or a deadline lies ahead.
    pub fn waits(&self) -> bool {
        self.held.len() > 0 || !self.deadlines.is_empty()
    }

    /// Whether anything but ticks was read since the last [`Fold::take_output`].
    pub fn has_news(&self) -> bool {
        self.ledger.has_news() || !self.output.rows.is_empty()
    }

    /// Rows that wait to be taken.
    pub fn rows_waiting(&self) -> usize {
        let rows = &self.output.rows;
        rows.events.len() + rows.sessions.len() + rows.needs.len() + rows.page_views.len()
    }

    /// Signals that came due since they were last taken.
    pub fn take_signals(&mut self) -> Vec<Signal> {
        std::mem::take(&mut self.output.signals)
    }

    /// What became final; a range of the receipt ends behind the last record.
    pub fn take_output(&mut self) -> Output {
        self.ledger.cut(self.clock.watermark());
        let mut output = std::mem::take(&mut self.output);
        output.receipts = self.ledger.take_rows();
        output
    }

    fn begin(&mut self, offset: Offset, append_time: Micros) {
        let before = self.clock.watermark();
        let rules = self.book.newest().1;
        if let Some(log_time) = self.clock.log_time() {
            // As of the record before: what this one's own step passes may be held still, and stand in no table.
            self.dedupe.expire(log_time, rules.dedupe_window);
        }
        let leapt_from = self.clock.advance(append_time, rules.allowed_lateness);
        let now = self.now(append_time);
        if let Some(from) = leapt_from {
            // Not as of the record that confirms the leap, which may lie far behind it.
            self.dedupe.leap(from, now);
        }
        self.ledger.begin(offset, now.hour(), before);
        self.output.rows.cause = offset;
    }

    /// Signals look at all that has arrived, so they come before the watermark's work: a jump of
    /// log time may pass a deadline and close the session at once.
    fn end(&mut self) {
        self.raise_signals();
        self.settle();
    }

    /// Log time, or the append time of a partition whose first record waits to be confirmed.
    fn now(&self, append_time: Micros) -> Micros {
        self.clock.log_time().unwrap_or(append_time)
    }

    fn remember(&mut self, key: EventKey, append_time: Micros) -> bool {
        let (now, max) = (self.now(append_time), self.book.newest().1.dedupe_ids_max);
        self.dedupe.insert(key, now, max)
    }

    fn judge(&mut self, hit: &Hit, append_time: Micros, is_old_resend: bool) -> Status {
        if !self.remember(hit.key(), append_time) || is_old_resend {
            return Status::Duplicate;
        }
        match self.clock.watermark() {
            Some(watermark) if hit.event_time < watermark => Status::Late,
            // The collector's clock was wrong: held, it would be in no table until then.
            _ if hit.event_time > self.now(append_time).max(append_time) + self.ahead_max() => {
                Status::Late
            }
            _ if self.has_no_room(hit) => Status::Late,
            _ => Status::OnTime,
        }
    }

    /// How far ahead an event may be held: its id must not be forgotten while it is in no table.
    fn ahead_max(&self) -> Micros {
        LEAP.min(Micros(self.book.newest().1.dedupe_window.0 / 4))
    }

    /// Whether as many events are held as may be, of all visitors or of the hit's own: one who sends
    /// millions must not make the others late.
    fn has_no_room(&self, hit: &Hit) -> bool {
        let rules = self.book.newest().1;
        let held = self.held.len() as u64;
        if held < rules.held_events_per_visitor_max.min(rules.held_events_max) {
            return false;
        }
        let own = hit.visitor().and_then(|(site, visitor_id)| self.visitors.find(site, visitor_id));
        held >= rules.held_events_max
            || own.is_some_and(|own| own.held.len() as u64 >= rules.held_events_per_visitor_max)
    }

    fn hold(&mut self, hit: Hit) {
        let Some((site, visitor_id)) = hit.visitor() else {
            self.held.hold(Held { hit, visitor: None, signalled: Signalled::default() });
            return;
        };
        let visitor = self.visitors.find_or_add(site, visitor_id);
        let Some(entry) = self.visitors.at_mut(visitor) else { return };
        let session = entry.session.as_deref();
        for judged in std::iter::once(&(hit.rules, hit.bits)).chain(&hit.other_bits) {
            self.deadlines.set(&hit, *judged, visitor, session, &self.book);
        }
        let held = Held { hit, visitor: Some(visitor), signalled: Signalled::default() };
        entry.held.push_back(self.held.hold(held));
    }

    fn raise_signals(&mut self) {
        let Some(log_time) = self.clock.log_time() else { return };
        while let Some(deadline) = self.deadlines.pop_before(log_time) {
            self.raise_signal(&deadline, log_time);
        }
    }

    fn raise_signal(&mut self, deadline: &Deadline, log_time: Micros) {
        let Some(entry) = self.visitors.at_mut(deadline.place) else { return };
        if entry.held.len() > SIGNALLED_HELD_MAX {
            return;
        }
        let unmet = unmet(deadline, entry, &self.held, &self.book);
        // It was signalled before where another session of other rules was known then.
        let Some((session_id, raised)) = unmet.filter(|(_, raised)| !raised.signalled) else {
            return;
        };
        let need = self.book.at(deadline.rules).needs[deadline.need as usize].name.clone();
        let in_session = entry.session.as_mut().and_then(|session| {
            session.needs.get_mut(deadline.need as usize)?.raised_by(deadline.offset)
        });
        match in_session {
            Some(episode) => episode.signalled = true,
            None => {
                for place in &entry.held {
                    if let Some(held) = self.held.at_mut(*place)
                        && held.hit.offset == deadline.offset
                    {
                        held.signalled.note(&need);
                    }
                }
            }
        }
        self.output.signals.push(Signal {
            cause: self.output.rows.cause,
            id: signal_id(&need, &entry.visitor, &raised.event_id),
            need,
            visitor: entry.visitor.clone(),
            session_id,
            raised_at: raised.raised_at,
            raised_path: raised.path,
            raised_page_type: raised.page_type,
            click_count: raised.click_count,
            deadline: deadline.at,
            due_at: log_time,
        });
    }

    /// Steps the events that the watermark has passed, in event order, and closes sessions between
    /// them as event time goes by.
    fn settle(&mut self) {
        let Some(watermark) = self.clock.watermark() else { return };
        while let Some(time) = self.held.next_time().filter(|time| *time < watermark) {
            self.close_sessions(time);
            let mut tied = std::mem::take(&mut self.tied);
            self.held.take_next(&mut tied);
            for (place, held) in tied.drain(..) {
                self.settle_event(place, &held);
            }
            self.tied = tied;
        }
        self.close_sessions(watermark);
    }

    fn settle_event(&mut self, place: HeldPlace, held: &Held) {
        let hit = &held.hit;
        let membership = match held.visitor {
            None => Membership::Outside,
            Some(visitor) => self.step_visitor(visitor, place, held),
        };
        let (session_id, overflow) = match membership {
            Membership::In { session, overflow } => (Some(session), overflow),
            Membership::Outside => (None, false),
            Membership::Refused => (None, true),
        };
        let cause = self.output.rows.cause;
        let row = EventRow { cause, offset: hit.offset, session_id, late: false, overflow };
        self.output.rows.events.push(row);
        self.ledger.wrote(cause, hit.fact(Fact::Site).unwrap_or_default(), overflow);
    }

    fn step_visitor(&mut self, visitor: VisitorPlace, place: HeldPlace, held: &Held) -> Membership {
        let cap = self.book.at(held.hit.rules).open_sessions_max;
        let Some(entry) = self.visitors.at_mut(visitor) else { return Membership::Outside };
        // As a rule it is the one that came first, or near it.
        if let Some(at) = entry.held.iter().position(|other| *other == place) {
            entry.held.remove(at);
        }
        let others = self.open_sessions - u64::from(entry.session.is_some());
        let membership = step(
            &mut entry.session,
            &entry.visitor,
            &held.hit,
            &held.signalled,
            others < cap,
            &self.book,
            &mut self.output.rows,
        );
        self.open_sessions = others + u64::from(entry.session.is_some());
        if let Some(session) = &entry.session
            && !entry.has_closing
        {
            entry.has_closing = true;
            let gap = self.book.at(session.rules).session_gap;
            self.closings.push(Reverse((session.ended_at + gap, visitor)));
        }
        self.visitors.forget_if_idle(visitor);
        membership
    }

    /// Closes the sessions whose last event lies more than the gap before `time`.
    fn close_sessions(&mut self, time: Micros) {
        while let Some(Reverse((at, place))) = self.closings.peek().copied()
            && at < time
        {
            self.closings.pop();
            self.visitors.clear_closing(place);
            let Some(entry) = self.visitors.at_mut(place) else { continue };
            let Some(session) = &entry.session else { continue };
            let ends = session.ended_at + self.book.at(session.rules).session_gap;
            if ends >= time {
                entry.has_closing = true;
                self.closings.push(Reverse((ends, place)));
            } else if let Some(session) = entry.session.take() {
                self.open_sessions -= 1;
                session.close(CloseCause::Timeout, &self.book, &mut self.output.rows);
                self.visitors.forget_if_idle(place);
            }
        }
    }
}
