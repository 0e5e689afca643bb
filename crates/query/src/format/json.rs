//! An answer as one JSON object, row by row; and values as JSON for other formats. The values'
//! encoding is arrow-json's.

use arrow::array::{Array, RecordBatch, StringArray, new_empty_array};
use arrow::datatypes::{FieldRef, Schema};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, NullableEncoder, make_encoder};

use super::{LOCAL_TIME, ZONED_TIME, type_name};

/// # Errors
/// When a type has no JSON form.
pub(super) fn check(schema: &Schema) -> Result<(), ArrowError> {
    let options = options();
    for field in schema.fields() {
        make_encoder(field, &new_empty_array(field.data_type()), &options)?;
    }
    Ok(())
}

pub(super) fn begin(schema: &Schema, out: &mut Vec<u8>) {
    let columns: Vec<serde_json::Value> = schema
        .fields()
        .iter()
        .map(
            |field| serde_json::json!({"name": field.name(), "type": type_name(field.data_type())}),
        )
        .collect();
    out.extend(format!("{{\"columns\":{},\"rows\":[", serde_json::Value::from(columns)).bytes());
}

/// `is_first`: whether no row was written so far.
pub(super) fn rows(
    batch: &RecordBatch,
    is_first: &mut bool,
    out: &mut Vec<u8>,
) -> Result<(), ArrowError> {
    let (options, schema) = (options(), batch.schema());
    let columns = schema.fields().iter().zip(batch.columns());
    let columns: Result<Vec<NullableEncoder<'_>>, ArrowError> =
        columns.map(|(field, column)| make_encoder(field, column, &options)).collect();
    let mut columns = columns?;
    for row in 0..batch.num_rows() {
        out.extend(if std::mem::take(is_first) { &b"\n["[..] } else { &b",\n["[..] });
        for (index, column) in columns.iter_mut().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            value(column, row, out);
        }
        out.push(b']');
    }
    Ok(())
}

/// A row is an object on a line of its own.
pub(super) fn lines(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    let (options, schema) = (options(), batch.schema());
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let key = format!("{}:", serde_json::Value::from(field.name().as_str()));
        columns.push((key, make_encoder(field, column, &options)?));
    }
    for row in 0..batch.num_rows() {
        out.push(b'{');
        for (index, (key, column)) in columns.iter_mut().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend(key.bytes());
            value(column, row, out);
        }
        out.extend(b"}\n");
    }
    Ok(())
}

pub(super) fn end(row_count: usize, out: &mut Vec<u8>) {
    out.extend(format!("\n],\"row_count\":{row_count}}}\n").bytes());
}

/// Each value of a column as JSON text; NULL stays NULL.
pub(super) fn texts(field: &FieldRef, column: &dyn Array) -> Result<StringArray, ArrowError> {
    let options = options();
    let mut encoder = make_encoder(field, column, &options)?;
    let texts = (0..column.len()).map(|row| {
        let mut text = Vec::new();
        value(&mut encoder, row, &mut text);
        (!column.is_null(row)).then(|| String::from_utf8_lossy(&text).into_owned())
    });
    Ok(texts.collect())
}

fn value(column: &mut NullableEncoder<'_>, row: usize, out: &mut Vec<u8>) {
    match column.is_null(row) {
        true => out.extend(b"null"),
        false => column.encode(row, out),
    }
}

fn options() -> EncoderOptions {
    EncoderOptions::default()
        .with_explicit_nulls(true)
        .with_timestamp_tz_format(ZONED_TIME.to_owned())
        .with_timestamp_format(LOCAL_TIME.to_owned())
}
