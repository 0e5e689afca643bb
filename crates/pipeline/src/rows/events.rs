//! Rows of `events`: gathered from the decoded batches in the order in which the fold settled them.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::compute::{filter_record_batch, interleave};
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use footfall_event::Offset;
use footfall_event::schema::Table;
use footfall_sessionizer::EventRow;

use super::session_ids;
use crate::batch::place;

/// The decoded batches that still hold unsettled rows, and where each record's row is.
#[derive(Default)]
pub struct EventPlaces {
    batches: VecDeque<Kept>,
}

struct Kept {
    rows: RecordBatch,
    /// The column `log_offset`, ascending.
    offsets: Int64Array,
    /// Which rows no settled event has asked for, and how many they are.
    is_waiting: Vec<bool>,
    waiting: usize,
}

impl Kept {
    fn new(rows: RecordBatch) -> Kept {
        let (offsets, waiting) = (offsets(&rows), rows.num_rows());
        Kept { rows, offsets, is_waiting: vec![true; waiting], waiting }
    }

    fn settle(&mut self, row: usize) {
        self.waiting -= usize::from(std::mem::replace(&mut self.is_waiting[row], false));
    }

    /// The rows that wait alone.
    fn without_settled(&self) -> Result<RecordBatch, ArrowError> {
        filter_record_batch(&self.rows, &BooleanArray::from(self.is_waiting.clone()))
    }
}

/// More batches than this are made one, as gathering from many is slow.
const BATCHES_MAX: usize = 64;

impl EventPlaces {
    /// Keeps a batch of the `events` schema, whose offsets ascend and lie behind all before.
    pub fn keep(&mut self, rows: &RecordBatch) {
        if rows.num_rows() > 0 {
            self.batches.push_back(Kept::new(rows.clone()));
        }
    }

    pub fn batches(&self) -> impl Iterator<Item = &RecordBatch> {
        self.batches.iter().map(|kept| &kept.rows)
    }

    /// The record's row will not be asked for: it was a duplicate.
    pub fn forget(&mut self, offset: Offset) {
        if let Some((batch, row)) = self.find(offset) {
            self.batches[batch].settle(row);
        }
    }

    /// The rows of `settled`, in its order, in the `events` schema.
    ///
    /// # Errors
    /// `ArrowError` when a record has no row here, which is a mistake in this program.
    pub fn take(&mut self, settled: &[EventRow]) -> Result<RecordBatch, ArrowError> {
        let mut places = Vec::with_capacity(settled.len());
        for event in settled {
            let found = self.find(event.offset);
            let (batch, row) = found.ok_or_else(|| {
                ArrowError::InvalidArgumentError(format!("record {} has no row", event.offset))
            })?;
            self.batches[batch].settle(row);
            places.push((batch, row));
        }
        let batches = self.batches.iter().map(|kept| kept.rows.clone()).collect::<Vec<_>>();
        let rows = event_rows(&batches, &places, settled)?;
        self.tidy()?;
        Ok(rows)
    }

    fn find(&self, offset: Offset) -> Option<(usize, usize)> {
        let is_before = |kept: &Kept| kept.offsets.values().last() < Some(&offset.0);
        let batch = self.batches.partition_point(is_before);
        let row = self.batches.get(batch)?.offsets.values().binary_search(&offset.0).ok()?;
        Some((batch, row))
    }

    /// Lets go of rows that are settled: of batches of which all are, of those of which most are, as a few
    /// held events would keep everything that came beside them, and where many small ones are made one.
    fn tidy(&mut self) -> Result<(), ArrowError> {
        self.batches.retain(|kept| kept.waiting > 0);
        for kept in &mut self.batches {
            if 2 * kept.waiting < kept.rows.num_rows() {
                *kept = Kept::new(kept.without_settled()?);
            }
        }
        if self.batches.len() > BATCHES_MAX {
            let waiting = self.batches.iter().map(Kept::without_settled);
            let waiting = waiting.collect::<Result<Vec<_>, _>>()?;
            let rows = arrow::compute::concat_batches(&Table::Events.schema(), &waiting)?;
            self.batches = VecDeque::from([Kept::new(rows)]);
        }
        Ok(())
    }
}

fn offsets(rows: &RecordBatch) -> Int64Array {
    rows.column(place("log_offset")).as_primitive::<Int64Type>().clone()
}

/// The rows at `places` (batch, row) of `batches`, with what the fold settled of each.
///
/// # Errors
/// `ArrowError` when a place does not exist.
fn event_rows(
    batches: &[RecordBatch],
    places: &[(usize, usize)],
    settled: &[EventRow],
) -> Result<RecordBatch, ArrowError> {
    let schema = Table::Events.schema();
    let gather = |column: usize| -> Result<ArrayRef, ArrowError> {
        let arrays = batches.iter().map(|batch| batch.column(column).as_ref()).collect::<Vec<_>>();
        // Most columns of most events are NULL throughout.
        if arrays.iter().all(|array| array.null_count() == array.len()) {
            return Ok(new_null_array(schema.field(column).data_type(), places.len()));
        }
        interleave(&arrays, places)
    };
    with_settled(gather, settled)
}

/// `rows` with what the fold settled of each.
///
/// # Errors
/// `ArrowError` when they are not as many, which is a mistake in this program.
pub fn settled_rows(rows: &RecordBatch, settled: &[EventRow]) -> Result<RecordBatch, ArrowError> {
    with_settled(|column| Ok(rows.column(column).clone()), settled)
}

fn with_settled(
    column: impl Fn(usize) -> Result<ArrayRef, ArrowError>,
    settled: &[EventRow],
) -> Result<RecordBatch, ArrowError> {
    let ids = settled.iter().map(|event| event.session_id).collect::<Vec<_>>();
    let flags = |flag: fn(&EventRow) -> bool| -> ArrayRef {
        Arc::new(settled.iter().map(|event| Some(flag(event))).collect::<BooleanArray>())
    };
    let (session_id, late, overflow) = (place("session_id"), place("late"), place("overflow"));
    let schema = Table::Events.schema();
    let columns = (0..schema.fields().len()).map(|at| match at {
        _ if at == session_id => Ok(Arc::new(session_ids(&ids)) as ArrayRef),
        _ if at == late => Ok(flags(|event| event.late)),
        _ if at == overflow => Ok(flags(|event| event.overflow)),
        _ => column(at),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema, columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::text_at;
    use crate::testing::{STARTED, TOPIC, at, decoded};

    fn late(offset: usize) -> EventRow {
        let offset = Offset(offset as i64);
        EventRow { cause: offset, offset, session_id: None, late: true, overflow: false }
    }

    fn rows(places: &EventPlaces) -> usize {
        places.batches().map(RecordBatch::num_rows).sum()
    }

    #[test]
    fn a_held_event_keeps_no_settled_ones_beside_it() {
        const EVENTS: usize = 100;
        const HELD: usize = 7;
        let ids: Vec<String> = (0..EVENTS).map(|number| format!("e{number}")).collect();
        let lines: Vec<String> = ids.iter().map(|id| at(1, id, "")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut places = EventPlaces::default();
        places.keep(&decoded(TOPIC, &lines, STARTED));
        let settled: Vec<EventRow> = (0..EVENTS).filter(|row| *row != HELD).map(late).collect();
        let taken = places.take(&settled[..10]).unwrap();
        assert_eq!((taken.num_rows(), rows(&places)), (10, EVENTS), "most of it waits");
        places.take(&settled[10..]).unwrap();
        assert_eq!(rows(&places), 1);
        let taken = places.take(&[late(HELD)]).unwrap();
        assert_eq!(text_at(&taken, "event_id", 0), Some("e7"));
        assert_eq!(rows(&places), 0);
    }

    #[test]
    fn many_batches_are_made_one_of_what_waits() {
        let ids = (0..=BATCHES_MAX).flat_map(|number| [format!("a{number}"), format!("b{number}")]);
        let lines: Vec<String> = ids.map(|id| at(1, &id, "")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let all = decoded(TOPIC, &lines, STARTED);
        let mut places = EventPlaces::default();
        for first in (0..lines.len()).step_by(2) {
            places.keep(&all.slice(first, 2));
        }
        let first: Vec<EventRow> = (0..=BATCHES_MAX).map(|number| late(2 * number)).collect();
        places.take(&first).unwrap();
        assert_eq!((places.batches().count(), rows(&places)), (1, BATCHES_MAX + 1));
        let taken = places.take(&[late(2 * BATCHES_MAX + 1), late(1)]).unwrap();
        assert_eq!(text_at(&taken, "event_id", 0), Some(&*format!("b{BATCHES_MAX}")));
        assert_eq!(text_at(&taken, "event_id", 1), Some("b0"));
    }
}
