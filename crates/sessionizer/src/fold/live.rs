//! The sessions that are not over, as all that arrived tells them: what a session holds, and the events
//! of its visitor that wait for the watermark, stepped on a copy. The state stays as it is. How rows of
//! them look is left to the pipeline.

use super::Fold;
use crate::held::{Held, in_order};
use crate::signal::SIGNALLED_HELD_MAX;
use crate::visitors::Entry;
use crate::{CloseCause, NeedRow, Outcome, Rows, SessionRow, Visitor, step};

/// A session whose rows are not final.
#[derive(Clone, Debug)]
pub struct LiveSession {
    /// The session as if it ended with its last event. Its cause, close cause and reasons say nothing.
    pub row: SessionRow,
    /// Its raised needs, in the order of the rules, likewise.
    pub needs: Vec<NeedRow>,
}

impl NeedRow {
    /// The outcome of a need whose session goes on: `None` while neither a find nor a conversion ended
    /// the episode, for the visitor may still find it.
    pub fn decided(&self) -> Option<Outcome> {
        match self.outcome {
            Outcome::FoundInTime | Outcome::FoundLate | Outcome::ConvertedWithout => {
                Some(self.outcome)
            }
            Outcome::Abandoned | Outcome::GaveUp => None,
        }
    }
}

impl Fold {
    /// The sessions of the visitors that `is_meant` names, in no order. A visitor has more than one where
    /// held events lie further apart than the gap: the first is over by what arrived, but not for good.
    pub fn live<'f>(
        &'f self,
        is_meant: impl Fn(&Visitor) -> bool + 'f,
    ) -> impl Iterator<Item = LiveSession> + 'f {
        let meant = self.visitors.iter().filter(move |entry| is_meant(&entry.visitor));
        meant.flat_map(|entry| self.live_of(entry))
    }

    /// [`Fold::live`] of one visitor.
    pub fn live_visitor(&self, site: &str, visitor_id: &str) -> Vec<LiveSession> {
        self.visitors.find(site, visitor_id).map(|entry| self.live_of(entry)).unwrap_or_default()
    }

    fn live_of(&self, entry: &Entry) -> Vec<LiveSession> {
        let (mut live, mut rows) = (Vec::new(), Rows::default());
        let mut session = entry.session.clone();
        // As of signals: stepping what a machine sends in such numbers would hold up all others.
        if entry.held.len() <= SIGNALLED_HELD_MAX {
            let held = entry.held.iter().filter_map(|place| self.held.at(*place));
            let mut held: Vec<&Held> = held.collect();
            held.sort_by(|a, b| in_order(&a.hit, &b.hit));
            for Held { hit, signalled, .. } in held {
                let others = self.open_sessions - u64::from(entry.session.is_some());
                let may_open = others < self.book.at(hit.rules).open_sessions_max;
                let (visitor, book) = (&entry.visitor, &self.book);
                step(&mut session, visitor, hit, signalled, may_open, book, &mut rows);
                live.extend(take_closed(&mut rows));
            }
        }
        if let Some(session) = session {
            session.close(CloseCause::Timeout, &self.book, &mut rows);
            live.extend(take_closed(&mut rows));
        }
        live
    }
}

/// The session that was closed last, if one was.
fn take_closed(rows: &mut Rows) -> Option<LiveSession> {
    let row = rows.sessions.pop()?;
    rows.page_views.clear();
    Some(LiveSession { row, needs: std::mem::take(&mut rows.needs) })
}
