//! A person who is to be erased, as far as a fold knows of them. The tables and the log are left to the
//! pipeline.

use footfall_event::{Micros, Offset};

use super::Fold;
use crate::visitors::VisitorPlace;
use crate::{EventRow, Fact, Visitor};

impl Fold {
    /// A control record that erases the visitors that `is_meant` names. Their sessions end without a
    /// row. Events that they have held become rows at once, of no session: each record that was accepted
    /// has a row then, which is taken out of the table with all others of theirs. What they send behind
    /// this record is a stranger's.
    pub fn erase(
        &mut self,
        offset: Offset,
        append_time: Micros,
        is_meant: impl Fn(&Visitor) -> bool,
    ) {
        self.begin(offset, append_time);
        for place in self.visitors.places_of(is_meant) {
            self.erase_visitor(offset, place);
        }
        self.end();
    }

    fn erase_visitor(&mut self, cause: Offset, place: VisitorPlace) {
        let Some(entry) = self.visitors.at_mut(place) else { return };
        self.open_sessions -= u64::from(entry.session.take().is_some());
        for held in self.held.remove(&std::mem::take(&mut entry.held)) {
            let (offset, session_id) = (held.hit.offset, None);
            let row = EventRow { cause, offset, session_id, late: false, overflow: false };
            self.output.rows.events.push(row);
            self.ledger.wrote(cause, held.hit.fact(Fact::Site).unwrap_or_default(), false);
        }
        self.deadlines.forget(place);
        self.visitors.forget_if_idle(place);
    }
}
