//! A whole answer in memory, accounted for in the memory that queries share. Writing it in a format
//! is left to `format`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::common::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};

use crate::engine::Slot;

/// The rows of one query, all of them.
pub struct Answer {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    row_count: usize,
    memory: MemoryReservation,
    _slot: Slot,
}

impl Answer {
    /// An answer without rows. `schema` is the query's; the answer's is in plain types.
    pub(crate) fn new(schema: &SchemaRef, pool: &Arc<dyn MemoryPool>, slot: Slot) -> Self {
        let memory = MemoryConsumer::new("answer").register(pool);
        Self {
            schema: plain_schema(schema),
            batches: Vec::new(),
            row_count: 0,
            memory,
            _slot: slot,
        }
    }

    /// # Errors
    /// `ResourcesExhausted` when memory runs out.
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = compact(plain_batch(batch, &self.schema)?)?;
        self.memory.try_grow(batch.get_array_memory_size())?;
        self.row_count += batch.num_rows();
        self.batches.push(batch);
        Ok(())
    }

    /// Types are plain: no string views, no dictionaries, zoned times in UTC.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// In the query's order; may be empty.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    pub fn row_count(&self) -> usize {
        self.row_count
    }
}

fn plain_schema(schema: &Schema) -> SchemaRef {
    let fields: Vec<FieldRef> = schema.fields().iter().map(plain_field).collect();
    Arc::new(Schema::new(fields))
}

fn plain_field(field: &FieldRef) -> FieldRef {
    Arc::new(Field::clone(field).with_data_type(plain_type(field.data_type())))
}

fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, value) => plain_type(value),
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("UTC".into())),
        DataType::List(entry) => DataType::List(plain_field(entry)),
        DataType::LargeList(entry) => DataType::LargeList(plain_field(entry)),
        DataType::FixedSizeList(entry, size) => DataType::FixedSizeList(plain_field(entry), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        other => other.clone(),
    }
}

fn plain_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = schema.fields().iter().zip(batch.columns());
    let columns: Result<Vec<ArrayRef>, ArrowError> = columns
        .map(|(field, column)| match field.data_type() == column.data_type() {
            true => Ok(column.clone()),
            false => cast(column, field.data_type()),
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns?, &options)
}

/// The batch without the memory of rows that it was cut from.
fn compact(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let own = |column: &ArrayRef| column.to_data().get_slice_memory_size();
    let own_bytes: Result<Vec<usize>, ArrowError> = batch.columns().iter().map(own).collect();
    let own_bytes: usize = own_bytes?.iter().sum();
    if batch.get_array_memory_size() <= 2 * own_bytes.max(COMPACT_BYTES_MIN) {
        return Ok(batch);
    }
    let rows = UInt32Array::from_iter_values(0..batch.num_rows() as u32);
    take_record_batch(&batch, &rows)
}

/// Below this a copy saves less than it costs.
const COMPACT_BYTES_MIN: usize = 64 * 1024;
