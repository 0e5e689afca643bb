//! The part of a fold that a snapshot keeps. Held events are named by their records alone, which the
//! log still has; everything else is written as it stands.

use std::collections::BTreeMap;

use footfall_event::Offset;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};

use super::{Fold, Output};
use crate::dedupe::{Dedupe, DedupeState, DedupeView};
use crate::held::{Held, HeldEvents, Signalled};
use crate::ledger::Ledger;
use crate::signal::{Deadline, DeadlineState, Deadlines};
use crate::visitors::Visitors;
use crate::{Hit, LogClock, RuleBook, Session, Visitor};

/// A fold as read from a snapshot, field by field as [`FoldView`] wrote it.
#[derive(Debug, Deserialize)]
pub struct FoldState {
    book: RuleBook,
    clock: LogClock,
    dedupe: DedupeState,
    sessions: Vec<Session>,
    deadlines: Vec<DeadlineState>,
    pending: BTreeMap<Box<str>, u64>,
    /// Records of the held events, ascending, each with its signalled needs.
    pub held: Vec<(Offset, Signalled)>,
}

impl FoldState {
    /// The sets of rules that its events and sessions refer to, the newest last.
    pub fn rules(&self) -> &RuleBook {
        &self.book
    }
}

/// A fold as a snapshot writes it, without a copy of its ids and sessions.
#[derive(Serialize)]
pub struct FoldView<'f> {
    book: &'f RuleBook,
    clock: LogClock,
    dedupe: DedupeView<'f>,
    sessions: Sessions<'f>,
    deadlines: Vec<DeadlineState>,
    pending: &'f BTreeMap<Box<str>, u64>,
    held: Vec<(Offset, Signalled)>,
}

struct Sessions<'f>(&'f Visitors);

impl Serialize for Sessions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.0.sessions().count()))?;
        for session in self.0.sessions() {
            seq.serialize_element(session)?;
        }
        seq.end()
    }
}

impl Fold {
    /// What a snapshot keeps. All output must have been taken.
    pub fn view(&self) -> FoldView<'_> {
        let place = |deadline: &Deadline| {
            let visitor = self.visitors.at(deadline.place)?.visitor.as_ref().clone();
            let Deadline { at, offset, rules, need, .. } = *deadline;
            Some(DeadlineState { at, visitor, offset, rules, need })
        };
        FoldView {
            book: &self.book,
            clock: self.clock,
            dedupe: self.dedupe.view(),
            sessions: Sessions(&self.visitors),
            deadlines: self.deadlines.iter().filter_map(place).collect(),
            pending: self.ledger.pending(),
            held: self.held.offsets(),
        }
    }

    /// The fold of `state`. Its held events must be given back by [`Fold::hold_again`] before the
    /// next record; the receipt goes on at record `receipts_from`.
    pub fn restore(state: FoldState, receipts_from: Offset) -> Fold {
        let mut fold = Fold {
            book: state.book,
            clock: state.clock,
            dedupe: Dedupe::from_state(state.dedupe),
            held: HeldEvents::default(),
            visitors: Visitors::default(),
            closings: std::collections::BinaryHeap::new(),
            deadlines: Deadlines::default(),
            open_sessions: 0,
            ledger: Ledger::new(receipts_from, state.pending),
            output: Output::default(),
            tied: Vec::new(),
        };
        for session in state.sessions {
            fold.put_session(session);
        }
        for DeadlineState { at, visitor: Visitor { site, visitor_id }, offset, rules, need } in
            state.deadlines
        {
            let place = fold.visitors.find_or_add(&site, &visitor_id);
            fold.deadlines.push(Deadline { at, place, offset, rules, need });
        }
        fold
    }

    /// Gives back an event that the snapshot names as held, with its signalled needs.
    pub fn hold_again(&mut self, hit: Hit, signalled: Signalled) {
        let visitor =
            hit.visitor().map(|(site, visitor_id)| self.visitors.find_or_add(site, visitor_id));
        let place = self.held.hold(Held { hit, visitor, signalled });
        if let Some(entry) = visitor.and_then(|visitor| self.visitors.at_mut(visitor)) {
            entry.held.push_back(place);
        }
    }

    fn put_session(&mut self, session: Session) {
        let place = self.visitors.find_or_add(&session.visitor.site, &session.visitor.visitor_id);
        let ends = session.ended_at + self.book.at(session.rules).session_gap;
        let Some(entry) = self.visitors.at_mut(place) else { return };
        entry.has_closing = true;
        entry.visitor = session.visitor.clone();
        entry.session = Some(Box::new(session));
        self.closings.push(std::cmp::Reverse((ends, place)));
        self.open_sessions += 1;
    }
}
