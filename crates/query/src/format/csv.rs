//! An answer as CSV, piece by piece: arrow-csv, with nested values as JSON text.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::csv::WriterBuilder;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use super::{LOCAL_TIME, ZONED_TIME, json};

/// # Errors
/// When a type has no text form.
pub(super) fn header(schema: &SchemaRef, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    json::check(schema)?;
    let empty = flat(&RecordBatch::new_empty(schema.clone()))?;
    write(&empty, true, out)
}

pub(super) fn rows(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    write(&flat(batch)?, false, out)
}

fn write(batch: &RecordBatch, has_header: bool, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    let mut writer = WriterBuilder::new()
        .with_header(has_header)
        .with_timestamp_tz_format(ZONED_TIME.to_owned())
        .with_timestamp_format(LOCAL_TIME.to_owned())
        .build(out);
    writer.write(batch)
}

fn flat(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let (mut fields, mut columns) = (Vec::new(), Vec::<ArrayRef>::new());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested() {
            fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
            columns.push(Arc::new(json::texts(field, column)?));
        } else {
            fields.push(field.clone());
            columns.push(column.clone());
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}
