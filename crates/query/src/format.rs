//! The formats of an answer, for the server and for a terminal alike. Running the query is left to
//! `engine`, its rows come from `rows`.

mod csv;
mod json;
mod table;

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::util::display::FormatOptions;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::{QueryError, Rows};

/// RFC 3339; zoned times are in UTC by then.
const ZONED_TIME: &str = "%Y-%m-%dT%H:%M:%S%.6fZ";
const LOCAL_TIME: &str = "%Y-%m-%dT%H:%M:%S%.6f";
/// Rows of a row group, and bytes after which one ends: what a Parquet answer holds in memory.
const GROUP_ROWS: usize = 64 * 1024;
const GROUP_BYTES: usize = 16 * 1024 * 1024;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `{"columns":[{"name","type"}],"rows":[[…]],"row_count":n}`. Integers and decimals are JSON
    /// numbers with all their digits, times RFC 3339 with microseconds, lists and structs nested.
    Json,
    /// A JSON object a row, on a line of its own; values as in `Json`.
    JsonLines,
    /// RFC 4180 with a header; lists and structs as JSON, NULL as nothing.
    Csv,
    /// Arrow's IPC stream.
    Arrow,
    /// A Parquet file, compressed by zstd.
    Parquet,
    /// A box for a terminal; as wide as its rows, so only for short answers: a long one is refused.
    Table,
}

impl Format {
    pub const ALL: [Format; 6] = [
        Format::Json,
        Format::JsonLines,
        Format::Csv,
        Format::Arrow,
        Format::Parquet,
        Format::Table,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::JsonLines => "jsonl",
            Format::Csv => "csv",
            Format::Arrow => "arrow",
            Format::Parquet => "parquet",
            Format::Table => "table",
        }
    }

    /// The format that is called `name`.
    pub fn named(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }
}

/// Writes rows to `out` as they come, with the bytes that the server would send. What was written
/// before an error is not whole.
///
/// # Errors
/// Any of the query's; `Statement` when the format cannot hold one of the types, `Table` when the
/// answer is too long for one; `Engine` when `out` fails.
pub async fn write(mut rows: Rows, format: Format, out: &mut impl Write) -> Result<(), QueryError> {
    let failed = |error: std::io::Error| QueryError::Engine { reason: error.to_string() };
    let mut encoder = Encoder::new(format, rows.schema())?;
    while let Some(batch) = rows.next().await {
        encoder.rows(&batch?)?;
        out.write_all(&encoder.take()).map_err(failed)?;
    }
    encoder.finish()?;
    out.write_all(&encoder.take()).map_err(failed)?;
    out.flush().map_err(failed)
}

/// An answer's bytes as they come into being: feed `rows`, `finish`, and `take` at any time.
pub(crate) struct Encoder {
    bytes: Vec<u8>,
    row_count: usize,
    kind: Kind,
}

enum Kind {
    Json { is_first: bool },
    JsonLines,
    Csv,
    Arrow(Box<StreamWriter<Vec<u8>>>),
    Parquet(Box<ArrowWriter<Vec<u8>>>),
    Table { schema: SchemaRef, batches: Vec<RecordBatch>, bytes: usize },
    Finished,
}

impl Encoder {
    /// # Errors
    /// `Statement` when the format cannot hold one of the types.
    pub(crate) fn new(format: Format, schema: &SchemaRef) -> Result<Self, QueryError> {
        let mut bytes = Vec::new();
        let kind = match format {
            Format::Json => {
                json::check(schema).map_err(unfit)?;
                json::begin(schema, &mut bytes);
                Kind::Json { is_first: true }
            }
            Format::JsonLines => {
                json::check(schema).map_err(unfit)?;
                Kind::JsonLines
            }
            Format::Csv => {
                csv::header(schema, &mut bytes).map_err(unfit)?;
                Kind::Csv
            }
            Format::Arrow => {
                let writer = StreamWriter::try_new(Vec::new(), schema).map_err(unfit)?;
                Kind::Arrow(Box::new(writer))
            }
            Format::Parquet => {
                if schema.fields().iter().any(|field| has_interval(field.data_type())) {
                    let message = "an interval has no type in Parquet: CAST it to text";
                    return Err(unfit(ArrowError::NotYetImplemented(message.to_owned())));
                }
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(GROUP_ROWS))
                    .set_max_row_group_bytes(Some(GROUP_BYTES))
                    .build();
                let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties));
                Kind::Parquet(Box::new(writer.map_err(|error| unfit(error.into()))?))
            }
            Format::Table => Kind::Table { schema: schema.clone(), batches: Vec::new(), bytes: 0 },
        };
        Ok(Self { bytes, row_count: 0, kind })
    }

    /// # Errors
    /// `Engine`; `Table` when there are too many rows for one.
    pub(crate) fn rows(&mut self, batch: &RecordBatch) -> Result<(), QueryError> {
        self.row_count += batch.num_rows();
        let written = match &mut self.kind {
            Kind::Json { is_first } => json::rows(batch, is_first, &mut self.bytes),
            Kind::JsonLines => json::lines(batch, &mut self.bytes),
            Kind::Csv => csv::rows(batch, &mut self.bytes),
            Kind::Arrow(writer) => writer.write(batch),
            Kind::Parquet(writer) => writer.write(batch).map_err(ArrowError::from),
            Kind::Table { batches, bytes, .. } => {
                *bytes += batch.get_array_memory_size();
                table::check_size(self.row_count, *bytes)?;
                batches.push(batch.clone());
                Ok(())
            }
            Kind::Finished => Ok(()),
        };
        written.map_err(broken)
    }

    /// # Errors
    /// `Engine`; `Table` when the rows are too wide for one.
    pub(crate) fn finish(&mut self) -> Result<(), QueryError> {
        match std::mem::replace(&mut self.kind, Kind::Finished) {
            Kind::Json { .. } => json::end(self.row_count, &mut self.bytes),
            Kind::Arrow(writer) => self.bytes = writer.into_inner().map_err(broken)?,
            Kind::Parquet(writer) => {
                self.bytes = writer.into_inner().map_err(|error| broken(error.into()))?;
            }
            Kind::Table { schema, mut batches, .. } => {
                table::check(&schema, &batches)?;
                let bytes = &mut self.bytes;
                table::write(&schema, &mut batches, self.row_count, bytes).map_err(broken)?;
            }
            Kind::JsonLines | Kind::Csv | Kind::Finished => {}
        }
        Ok(())
    }

    /// What was encoded since the last call.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        match &mut self.kind {
            Kind::Arrow(writer) => std::mem::take(writer.get_mut()),
            Kind::Parquet(writer) => std::mem::take(writer.inner_mut()),
            _ => std::mem::take(&mut self.bytes),
        }
    }
}

fn has_interval(data_type: &DataType) -> bool {
    match data_type {
        DataType::Interval(_) => true,
        DataType::List(entry) | DataType::LargeList(entry) => has_interval(entry.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_interval(field.data_type())),
        _ => false,
    }
}

/// A type as an analyst calls it.
pub(crate) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => "integer".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float32 => "real".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone".to_owned(),
        DataType::Timestamp(_, None) => "timestamp".to_owned(),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            format!("decimal({precision},{scale})")
        }
        DataType::List(entry) | DataType::LargeList(entry) => {
            format!("list({})", type_name(entry.data_type()))
        }
        DataType::Struct(fields) => {
            let fields =
                fields.iter().map(|f| format!("{} {}", f.name(), type_name(f.data_type())));
            format!("struct({})", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string().to_lowercase(),
    }
}

fn display() -> FormatOptions<'static> {
    FormatOptions::new()
        .with_timestamp_tz_format(Some(ZONED_TIME))
        .with_timestamp_format(Some(LOCAL_TIME))
}

fn unfit(error: ArrowError) -> QueryError {
    QueryError::Statement {
        message: format!("the answer does not fit the format: {error}"),
        place: None,
        hint: Some("cast the column, or choose another format".to_owned()),
    }
}

fn broken(error: ArrowError) -> QueryError {
    QueryError::Engine { reason: error.to_string() }
}
