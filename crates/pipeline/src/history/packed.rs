//! Rows on their way through the sort: each is packed into one value, whose bytes sort as the fold
//! wants its rows. Sorting is left to `sorted`.
//!
//! A sort moves every row several times, in memory and to the disk and back; one value of bytes moves
//! in half the time of the 60 columns of `events`, most of which are NULL.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryBuilder, Date32Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::{is_null, nullif};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};
use footfall_event::Micros;
use footfall_event::schema::{Table, time_type};

use super::Load;
use crate::PipelineError;
use crate::batch::place;

/// The columns that a packed row begins with: its place in the order of the fold. What has no visitor
/// has no session and needs no order in time: there, rows go by their ids, as those of the lake do
/// that they are held against.
const KEY: [&str; 5] = ["site", "visitor_id", "event_time", "seq", "event_id"];
/// Columns that the load itself tells, or that nothing has filled yet.
const TOLD: [&str; 8] = [
    "received_time",
    "appended_at",
    "log",
    "log_partition",
    "session_id",
    "late",
    "overflow",
    "event_date",
];

/// Packs a load's rows of the `events` schema, and gives them back.
pub struct Packing {
    converter: RowConverter,
    /// Columns that are packed behind the key.
    carried: Vec<usize>,
    log: String,
    received: Micros,
}

impl Packing {
    /// # Errors
    /// `Rows`, when a column of `events` cannot be packed, which is a mistake in this program.
    pub fn new(load: &Load) -> Result<Packing, PipelineError> {
        let schema = Table::Events.schema();
        let is_carried = |name: &str| {
            !TOLD.contains(&name) && !["site", "visitor_id", "event_id"].contains(&name)
        };
        let carried = (0..schema.fields().len()).filter(|i| is_carried(schema.field(*i).name()));
        let carried: Vec<usize> = carried.collect();
        let columns = KEY.iter().map(|name| place(name)).chain(carried.iter().copied());
        let fields = columns.map(|i| SortField::new(schema.field(i).data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        Ok(Packing { converter, carried, log: load.log(), received: load.started })
    }

    /// Of packed rows: one column of bytes.
    pub fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new(ROW, DataType::Binary, false)]))
    }

    /// The rows of `events` for which `is_wanted`.
    ///
    /// # Errors
    /// `Rows`.
    pub fn pack(
        &self,
        events: &RecordBatch,
        is_wanted: impl Fn(usize) -> bool,
    ) -> Result<RecordBatch, PipelineError> {
        let column = |name| events.column(place(name));
        let cookieless = is_null(column("visitor_id"))?;
        let seq = column("seq").as_primitive::<Int64Type>();
        let seq: Int64Array = seq.iter().map(|seq| Some(seq.unwrap_or(0))).collect();
        let mut columns: Vec<ArrayRef> = vec![
            column("site").clone(),
            column("visitor_id").clone(),
            nullif(column("event_time"), &cookieless)?,
            nullif(&seq, &cookieless)?,
            column("event_id").clone(),
        ];
        columns.extend(self.carried.iter().map(|i| events.column(*i).clone()));
        let rows = self.converter.convert_columns(&columns)?;
        let packed = match (0..rows.num_rows()).all(&is_wanted) {
            true => rows.try_into_binary()?,
            false => {
                let mut packed = BinaryBuilder::with_capacity(rows.num_rows(), rows.size());
                for row in (0..rows.num_rows()).filter(|row| is_wanted(*row)) {
                    packed.append_value(rows.row(row).data());
                }
                packed.finish()
            }
        };
        Ok(RecordBatch::try_new(Packing::schema(), vec![Arc::new(packed)])?)
    }

    /// The rows as they were before they were packed.
    ///
    /// # Errors
    /// `Rows`.
    pub fn unpack(&self, packed: &RecordBatch) -> Result<RecordBatch, PipelineError> {
        let parser = self.converter.parser();
        let rows = packed.column(0).as_binary::<i32>().iter().flatten();
        let columns = self.converter.convert_rows(rows.map(|row| parser.parse(row)))?;
        let (key, carried) = columns.split_at(KEY.len());
        let schema = Table::Events.schema();
        let event_time = self.carried.iter().position(|i| *i == place("event_time"));
        let times = event_time.map(|at| carried[at].as_primitive::<TimestampMicrosecondType>());
        let column = |i: usize| match self.carried.binary_search(&i) {
            Ok(at) => carried[at].clone(),
            Err(_) => match KEY.iter().position(|name| *name == schema.field(i).name()) {
                Some(at) => key[at].clone(),
                None => self.told(schema.field(i), packed.num_rows(), times),
            },
        };
        let columns = (0..schema.fields().len()).map(column).collect();
        Ok(RecordBatch::try_new(schema.clone(), columns)?)
    }

    fn told(
        &self,
        field: &Field,
        rows: usize,
        times: Option<&TimestampMicrosecondArray>,
    ) -> ArrayRef {
        match field.name().as_str() {
            "log" => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&self.log, rows))),
            "log_partition" => Arc::new(Int32Array::from_value(0, rows)),
            "received_time" => {
                let received = TimestampMicrosecondArray::from_value(self.received.0, rows);
                Arc::new(received.with_data_type(time_type()))
            }
            "event_date" => {
                let days = times.into_iter().flat_map(|times| times.values());
                Arc::new(Date32Array::from_iter_values(days.map(|time| Micros(*time).day().0)))
            }
            _ => new_null_array(field.data_type(), rows),
        }
    }
}

/// The column of packed rows.
pub const ROW: &str = "row";
