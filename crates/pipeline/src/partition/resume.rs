//! A partition that goes on from a snapshot: the events that it names as held are read from the log
//! again before anything else is folded.

use footfall_event::Offset;
use footfall_log::Record;
use footfall_sessionizer::{Bits, Fold, FoldState, RulesId};

use super::PartitionFold;
use crate::PipelineError;
use crate::batch::HitColumns;
use crate::rows::Origin;
use crate::snapshot::Header;

impl PartitionFold {
    /// A partition that goes on from a snapshot; the receipt goes on at `receipts_from`.
    ///
    /// # Errors
    /// `Conditions`.
    pub fn resume(
        origin: Origin,
        header: Header,
        state: FoldState,
        receipts_from: Offset,
    ) -> Result<Self, PipelineError> {
        let to_hold = state.held.iter().cloned().collect();
        let fold = Fold::restore(state, receipts_from);
        let (position, last) = (header.offset, header.last_append_time);
        PartitionFold::with(origin, fold, header.rules, position, last, to_hold)
    }

    /// Whether all events that the snapshot names are held again. Before that there is nothing to
    /// settle, and a snapshot would leave them out.
    pub fn is_whole(&self) -> bool {
        self.to_hold.is_empty()
    }

    /// Gives the fold the events back that its snapshot names.
    pub(super) fn hold_again(&mut self, records: &[Record]) -> Result<(), PipelineError> {
        let Some(last) = records.last() else { return Ok(()) };
        for record in records.iter().filter(|record| self.to_hold.contains_key(&record.offset)) {
            let pushed = self.decoder.push(&record.payload, record.offset, record.append_time);
            // What is wrong with it may quote the event.
            pushed.map_err(|error| {
                tracing::debug!(%error, offset = record.offset.0, "a held record is unreadable");
                self.held_lost(record.offset, "is no event's record".to_owned())
            })?;
        }
        let rows = self.decoder.finish().rows;
        self.places.keep(&rows);
        let bits = self.judge(&rows)?;
        let columns = HitColumns::of(&rows);
        for row in 0..rows.num_rows() {
            let offset = columns.offset(row);
            let rules = self.rules_at(offset);
            let signalled = self.to_hold.remove(&offset).unwrap_or_default();
            let own =
                bits.iter().find(|(id, _)| *id == rules).map_or(Bits::default(), |b| b.1[row]);
            let others = bits.iter().filter(|(id, _)| *id != rules).map(|(id, b)| (*id, b[row]));
            let hit = columns.hit(row, (rules, own), others.collect());
            self.fold.hold_again(hit, signalled);
        }
        match self.to_hold.first_key_value() {
            Some((offset, _)) if *offset <= last.offset => {
                Err(self.held_lost(*offset, "the log does not give it".to_owned()))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn require_whole(&self) -> Result<(), PipelineError> {
        match self.to_hold.first_key_value() {
            Some((offset, _)) => {
                Err(self.held_lost(*offset, "the log does not give it".to_owned()))
            }
            None => Ok(()),
        }
    }

    fn held_lost(&self, offset: Offset, why: String) -> PipelineError {
        let (topic, partition) = (self.origin.log.to_string(), self.origin.partition);
        PipelineError::HeldLost { topic, partition, offset, why }
    }

    fn rules_at(&self, offset: Offset) -> RulesId {
        let in_force = self.rules_from.iter().rev().find(|(from, _)| *from <= offset);
        in_force.map_or(self.fold.rules().newest().0, |(_, id)| *id)
    }
}
