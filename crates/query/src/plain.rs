//! Columns in the types that every client knows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;

/// Below this a copy saves less than it costs.
const COMPACT_BYTES_MIN: usize = 64 * 1024;

/// No string views, no dictionaries, zoned times in UTC.
pub(crate) fn plain_schema(schema: &Schema) -> SchemaRef {
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

/// The rows in the types of `schema`, a [`plain_schema`], without the memory of rows that they were cut
/// from.
pub(crate) fn plain_batch(
    batch: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let columns = schema.fields().iter().zip(batch.columns());
    let columns: Result<Vec<ArrayRef>, ArrowError> = columns
        .map(|(field, column)| match field.data_type() == column.data_type() {
            true => Ok(column.clone()),
            false => cast(column, field.data_type()),
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    compact(RecordBatch::try_new_with_options(schema.clone(), columns?, &options)?)
}

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
