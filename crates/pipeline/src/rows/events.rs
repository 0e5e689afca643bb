//! Rows of `events`: gathered from the decoded batches in the order in which the fold settled them.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::compute::interleave;
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
    /// Rows that no settled event has asked for.
    waiting: usize,
}

/// More batches than this are made one, as gathering from many is slow.
const BATCHES_MAX: usize = 64;

impl EventPlaces {
    /// Keeps a batch of the `events` schema, whose offsets ascend and lie behind all before.
    pub fn keep(&mut self, rows: &RecordBatch) {
        let waiting = rows.num_rows();
        if waiting > 0 {
            self.batches.push_back(Kept { rows: rows.clone(), offsets: offsets(rows), waiting });
        }
    }

    pub fn batches(&self) -> impl Iterator<Item = &RecordBatch> {
        self.batches.iter().map(|kept| &kept.rows)
    }

    /// The record's row will not be asked for: it was a duplicate.
    pub fn forget(&mut self, offset: Offset) {
        if let Some((batch, _)) = self.find(offset) {
            self.batches[batch].waiting -= 1;
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
            self.batches[batch].waiting -= 1;
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

    /// Drops the batches that are settled through, and makes one of many small ones.
    fn tidy(&mut self) -> Result<(), ArrowError> {
        self.batches.retain(|kept| kept.waiting > 0);
        if self.batches.len() > BATCHES_MAX {
            let rows = arrow::compute::concat_batches(&Table::Events.schema(), self.batches())?;
            let waiting = self.batches.iter().map(|kept| kept.waiting).sum();
            self.batches = VecDeque::from([Kept { offsets: offsets(&rows), rows, waiting }]);
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
