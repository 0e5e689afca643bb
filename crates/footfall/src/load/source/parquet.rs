//! Parquet files, row by row: each column in one of three forms that `fill` knows. What the values
//! mean is left to `fill`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, StringArray, StringBuilder,
};
use arrow::array::{RecordBatch, TimestampMicrosecondArray};
use arrow::compute::{cast, nullif};
use arrow::datatypes::{DataType, Field, Float64Type, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, make_encoder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use footfall_event::{Event, Micros, write_text};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::SourceError;
use super::file::{self, BytesRead, ROW_BYTES_MAX, too_long};
use super::rows::{Raw, Rows};
use crate::map::{Bound, Cell, Plan, Unnamed, fill};

const READ_ROWS: usize = 8_192;

pub struct ParquetReader {
    path: PathBuf,
    batches: ParquetRecordBatchReader,
    pub bound: Bound,
    columns: Vec<Values>,
    /// Of `columns`: how many rows they have, and which is next.
    len: usize,
    next: usize,
    rows: u64,
    rows_total: u64,
    bytes_total: u64,
    bytes_counted: u64,
    read: BytesRead,
}

/// A column's values, in the form in which they are passed on.
enum Values {
    Text(StringArray),
    /// Texts that may be none: older writers did not mark theirs as such.
    Bytes(BinaryArray),
    /// JSON other than texts: numbers, booleans, lists, structs.
    Json(StringArray),
    Time(TimestampMicrosecondArray),
}

impl ParquetReader {
    /// # Errors
    /// When the file is no Parquet, or lacks a column that the plan needs.
    pub fn open(path: &Path, plan: &Plan, read: &BytesRead) -> Result<ParquetReader, SourceError> {
        let (file, bytes_total) = file::open(path)?;
        let unfit = |error: &dyn std::fmt::Display| {
            let why = format!("is no whole Parquet file ({error}): get it again, unpacked");
            SourceError::unfit(path, why)
        };
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| unfit(&e))?;
        let fields = builder.schema().fields();
        let names = fields.iter().map(|field| field.name().clone()).collect();
        let bound = Bound::new(plan, names).map_err(|why| SourceError::unfit(path, why))?;
        let rows_total = builder.metadata().file_metadata().num_rows().unsigned_abs();
        let batches = builder.with_batch_size(READ_ROWS).build().map_err(|e| unfit(&e))?;
        Ok(ParquetReader {
            path: path.to_owned(),
            batches,
            bound,
            columns: Vec::new(),
            len: 0,
            next: 0,
            rows: 0,
            rows_total,
            bytes_total,
            bytes_counted: 0,
            read: read.clone(),
        })
    }

    /// Reads a row, or finds that there is none left.
    pub fn read_row(&mut self, plan: &Plan, rows: &mut Rows) -> Result<bool, SourceError> {
        while self.next == self.len {
            if !self.read_batch()? {
                return Ok(false);
            }
        }
        let names = &self.bound.names;
        let row = ParquetRow { columns: &self.columns, names, row: self.next };
        let others = self.bound.others.iter().map(|other| Unnamed {
            name: &names[other.column],
            cell: row.cell(other.column),
            cut: None,
            target: other.target,
        });
        let mut event = Event::default();
        let filled = match row.bytes() <= ROW_BYTES_MAX {
            true => fill(plan, &mut event, |slot| row.cell(self.bound.slots[slot]), others),
            false => Err(too_long("row")),
        };
        plan.complete(&mut event);
        rows.take(&mut event, filled, &Raw::Parquet(row));
        self.next += 1;
        self.rows += 1;
        Ok(true)
    }

    fn read_batch(&mut self) -> Result<bool, SourceError> {
        let Some(batch) = self.batches.next() else {
            self.count(self.bytes_total);
            return Ok(false);
        };
        let converted = batch.and_then(|batch| self.convert(&batch));
        converted.map_err(|error| SourceError::Broken {
            file: self.path.clone(),
            rows: self.rows,
            why: format!("its Parquet data cannot be read ({error})"),
        })?;
        let rows = self.rows + self.len as u64;
        self.count((self.bytes_total as f64 * rows as f64 / self.rows_total.max(1) as f64) as u64);
        Ok(true)
    }

    fn convert(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let columns = batch.columns().iter().map(Values::new);
        self.columns = columns.collect::<Result<_, _>>()?;
        (self.len, self.next) = (batch.num_rows(), 0);
        Ok(())
    }

    /// The reader jumps about in the file, so progress is told by its rows.
    fn count(&mut self, bytes: u64) {
        let bytes = bytes.clamp(self.bytes_counted, self.bytes_total);
        self.read.add(bytes - self.bytes_counted);
        self.bytes_counted = bytes;
    }
}

impl Values {
    fn new(array: &ArrayRef) -> Result<Values, ArrowError> {
        use DataType::*;
        let text = |array: &dyn Array| Ok(cast(array, &Utf8)?.as_string::<i32>().clone());
        match array.data_type() {
            Utf8 | LargeUtf8 | Utf8View => text(array).map(Values::Text),
            Binary | LargeBinary | BinaryView => {
                Ok(Values::Bytes(cast(array, &Binary)?.as_binary::<i32>().clone()))
            }
            Dictionary(_, values) => Values::new(&cast(array, values)?),
            RunEndEncoded(_, values) => Values::new(&cast(array, values.data_type())?),
            Timestamp(_, _) | Date32 | Date64 => {
                let micros = cast(array, &Timestamp(TimeUnit::Microsecond, None))?;
                let micros = micros.as_primitive::<TimestampMicrosecondType>().clone();
                Ok(Values::Time(micros))
            }
            Float16 | Float32 | Float64 => text(&finite(array)?).map(Values::Json),
            Null | Boolean | Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64
            | Decimal32(..) | Decimal64(..) | Decimal128(..) | Decimal256(..) => {
                text(array).map(Values::Json)
            }
            List(_) | LargeList(_) | FixedSizeList(..) | ListView(_) | LargeListView(_)
            | Struct(_) | Map(..) => json(array).map(Values::Json),
            _ => shown(array).map(Values::Text),
        }
    }

    fn cell(&self, row: usize) -> Cell<'_> {
        match self {
            Values::Text(texts) if texts.is_valid(row) => Cell::Text(texts.value(row)),
            Values::Bytes(values) if values.is_valid(row) => {
                let bytes = values.value(row);
                std::str::from_utf8(bytes).map_or(Cell::Bytes(bytes), Cell::Text)
            }
            Values::Json(texts) if texts.is_valid(row) => Cell::Json(texts.value(row)),
            Values::Time(times) if times.is_valid(row) => Cell::Time(Micros(times.value(row))),
            _ => Cell::Null,
        }
    }
}

/// Without NaN and infinities, which JSON and our columns do not have.
fn finite(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let numbers = cast(array, &DataType::Float64)?;
    let numbers = numbers.as_primitive::<Float64Type>();
    nullif(array, &BooleanArray::from_unary(numbers, |number| !number.is_finite()))
}

fn json(array: &ArrayRef) -> Result<StringArray, ArrowError> {
    let field = Arc::new(Field::new("column", array.data_type().clone(), true));
    let options = EncoderOptions::default();
    let mut encoder = make_encoder(&field, array, &options)?;
    let mut texts = StringBuilder::new();
    let mut json = Vec::new();
    for row in 0..array.len() {
        json.clear();
        if encoder.is_null(row) {
            texts.append_null();
        } else {
            encoder.encode(row, &mut json);
            texts.append_value(String::from_utf8_lossy(&json));
        }
    }
    Ok(texts.finish())
}

/// As people read them: times of day, UUIDs and the like.
fn shown(array: &ArrayRef) -> Result<StringArray, ArrowError> {
    let options = FormatOptions::new();
    let formatter = ArrayFormatter::try_new(array, &options)?;
    let text = |row| array.is_valid(row).then(|| formatter.value(row).to_string());
    Ok((0..array.len()).map(text).collect())
}

/// One row of a file.
#[derive(Clone, Copy)]
pub struct ParquetRow<'r> {
    columns: &'r [Values],
    names: &'r [String],
    row: usize,
}

impl<'r> ParquetRow<'r> {
    fn cell(&self, column: usize) -> Cell<'r> {
        self.columns[column].cell(self.row)
    }

    /// Appends the row as a JSON object that names every column.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        for (column, name) in self.names.iter().enumerate() {
            out.push(if column == 0 { b'{' } else { b',' });
            write_text(name, out);
            out.push(b':');
            match self.cell(column) {
                Cell::Null => out.extend_from_slice(b"null"),
                Cell::Text(text) => write_text(text, out),
                Cell::Bytes(bytes) => write_text(&String::from_utf8_lossy(bytes), out),
                Cell::Json(json) => out.extend_from_slice(json.as_bytes()),
                Cell::Time(time) => write_text(&time.to_string(), out),
            }
        }
        out.push(b'}');
    }

    /// What its texts take in memory.
    pub fn bytes(&self) -> usize {
        let bytes = |column| match self.cell(column) {
            Cell::Text(text) | Cell::Json(text) => text.len(),
            Cell::Bytes(bytes) => bytes.len(),
            Cell::Null | Cell::Time(_) => size_of::<Micros>(),
        };
        (0..self.columns.len()).map(bytes).sum()
    }
}
