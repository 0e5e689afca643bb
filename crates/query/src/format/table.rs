//! An answer as a box for a terminal. It is made at once, as wide as its longest values, so it has
//! bounds of its own.

use std::fmt::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::util::display::ArrayFormatter;
use arrow::util::pretty::pretty_format_batches_with_options;

use super::{broken, display};
use crate::QueryError;

/// The longest table.
const ROWS_MAX: usize = 10_000;
/// The largest: rows times the widths of the columns.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// What its rows may take in memory: buffers that are not full, and columns narrower than their names.
const MEMORY_BYTES_MAX: usize = 4 * BYTES_MAX;

/// Whether rows of so many bytes in memory may still become a table; [`check`] tells when they are all
/// there.
///
/// # Errors
/// `Table`.
pub(super) fn check_size(row_count: usize, bytes: usize) -> Result<(), QueryError> {
    if row_count <= ROWS_MAX && bytes <= MEMORY_BYTES_MAX { Ok(()) } else { Err(too_long()) }
}

/// # Errors
/// `Table`.
pub(super) fn check(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<(), QueryError> {
    let row_count: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let line_bytes_max = BYTES_MAX / row_count.max(1);
    match fits(schema, batches, line_bytes_max).map_err(broken)? {
        true => Ok(()),
        false => Err(too_long()),
    }
}

fn too_long() -> QueryError {
    QueryError::Table { rows_max: ROWS_MAX, bytes_max: BYTES_MAX }
}

pub(super) fn write(
    schema: &SchemaRef,
    batches: &mut Vec<RecordBatch>,
    row_count: usize,
    out: &mut Vec<u8>,
) -> Result<(), ArrowError> {
    // The header comes from the first batch.
    batches.insert(0, RecordBatch::new_empty(schema.clone()));
    let table = pretty_format_batches_with_options(batches, &display())?;
    let rows = if row_count == 1 { "row" } else { "rows" };
    out.extend(format!("{table}\n{row_count} {rows}\n").into_bytes());
    Ok(())
}

/// Whether the widest values of all columns are together no longer than `line_bytes_max`.
fn fits(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    line_bytes_max: usize,
) -> Result<bool, ArrowError> {
    let mut line_bytes = 0;
    for (index, field) in schema.fields().iter().enumerate() {
        let mut width = field.name().len();
        for batch in batches {
            let values = ArrayFormatter::try_new(batch.column(index).as_ref(), &display())?;
            for row in 0..batch.num_rows() {
                let mut length = Length { bytes: 0, bytes_max: line_bytes_max };
                // A value that cannot be written is left to the writing, which tells why.
                let _ = write!(length, "{}", values.value(row));
                width = width.max(length.bytes);
                if line_bytes + width > line_bytes_max {
                    return Ok(false);
                }
            }
        }
        line_bytes += width;
    }
    Ok(line_bytes <= line_bytes_max)
}

/// Takes a text's length and nothing else, and no more of it than matters.
struct Length {
    bytes: usize,
    bytes_max: usize,
}

impl Write for Length {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.bytes += text.len();
        if self.bytes > self.bytes_max { Err(std::fmt::Error) } else { Ok(()) }
    }
}
