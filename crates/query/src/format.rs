//! The formats of an answer, for the server and for a terminal alike. Running the query is left to
//! `engine`.

mod csv;
mod json;
mod table;

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::util::display::FormatOptions;

use crate::QueryError;

/// RFC 3339; zoned times are in UTC by then.
const ZONED_TIME: &str = "%Y-%m-%dT%H:%M:%S%.6fZ";
const LOCAL_TIME: &str = "%Y-%m-%dT%H:%M:%S%.6f";

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `{"columns":[{"name","type"}],"rows":[[…]],"row_count":n}`. Integers and decimals are JSON
    /// numbers with all their digits, times RFC 3339 with microseconds, lists and structs nested.
    Json,
    /// RFC 4180 with a header; lists and structs as JSON, NULL as nothing.
    Csv,
    /// Arrow's IPC stream.
    Arrow,
    /// A box for a terminal; as wide as its rows, so only for short answers: a long one is refused.
    Table,
}

impl Format {
    /// The format that is called `name`.
    pub fn named(name: &str) -> Option<Format> {
        match name {
            "json" => Some(Format::Json),
            "csv" => Some(Format::Csv),
            "arrow" => Some(Format::Arrow),
            "table" => Some(Format::Table),
            _ => None,
        }
    }
}

/// Writes rows to `out`, with the bytes that the server would send. `batches` are an
/// [`Answer`](crate::Answer)'s, in plain types.
///
/// # Errors
/// `Statement` when the format cannot hold one of the types, `Table` when the answer is too long for
/// one; `Engine` when `out` fails.
pub fn write(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    format: Format,
    out: &mut impl Write,
) -> Result<(), QueryError> {
    let failed = |error: std::io::Error| QueryError::Engine { reason: error.to_string() };
    let mut encoder = Encoder::new(format, schema, batches)?;
    for batch in batches {
        encoder.rows(batch)?;
        out.write_all(&encoder.take()).map_err(failed)?;
    }
    encoder.finish()?;
    out.write_all(&encoder.take()).map_err(failed)
}

/// An answer's bytes as they come into being: feed `rows`, `finish`, and `take` at any time.
pub(crate) struct Encoder {
    bytes: Vec<u8>,
    row_count: usize,
    kind: Kind,
}

enum Kind {
    Json { is_first: bool },
    Csv,
    Arrow(Box<StreamWriter<Vec<u8>>>),
    Table { schema: SchemaRef, batches: Vec<RecordBatch> },
}

impl Encoder {
    /// An encoder for `batches`, which are yet to be fed.
    ///
    /// # Errors
    /// `Statement` when the format cannot hold one of the types; `Table` when they are too long.
    pub(crate) fn new(
        format: Format,
        schema: &SchemaRef,
        batches: &[RecordBatch],
    ) -> Result<Self, QueryError> {
        let row_count = batches.iter().map(RecordBatch::num_rows).sum();
        let mut bytes = Vec::new();
        let kind = match format {
            Format::Json => {
                json::check(schema).map_err(unfit)?;
                json::begin(schema, &mut bytes);
                Kind::Json { is_first: true }
            }
            Format::Csv => {
                csv::header(schema, &mut bytes).map_err(unfit)?;
                Kind::Csv
            }
            Format::Arrow => {
                let writer = StreamWriter::try_new(Vec::new(), schema).map_err(unfit)?;
                Kind::Arrow(Box::new(writer))
            }
            Format::Table => {
                table::check(schema, batches)?;
                Kind::Table { schema: schema.clone(), batches: Vec::new() }
            }
        };
        Ok(Self { bytes, row_count, kind })
    }

    /// # Errors
    /// `Engine`.
    pub(crate) fn rows(&mut self, batch: &RecordBatch) -> Result<(), QueryError> {
        let written = match &mut self.kind {
            Kind::Json { is_first } => json::rows(batch, is_first, &mut self.bytes),
            Kind::Csv => csv::rows(batch, &mut self.bytes),
            Kind::Arrow(writer) => writer.write(batch),
            Kind::Table { batches, .. } => {
                batches.push(batch.clone());
                Ok(())
            }
        };
        written.map_err(broken)
    }

    /// # Errors
    /// `Engine`.
    pub(crate) fn finish(&mut self) -> Result<(), QueryError> {
        match &mut self.kind {
            Kind::Json { .. } => json::end(self.row_count, &mut self.bytes),
            Kind::Csv => {}
            Kind::Arrow(writer) => writer.finish().map_err(broken)?,
            Kind::Table { schema, batches } => {
                table::write(schema, batches, self.row_count, &mut self.bytes).map_err(broken)?;
            }
        }
        Ok(())
    }

    /// What was encoded since the last call.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        match &mut self.kind {
            Kind::Arrow(writer) => std::mem::take(writer.get_mut()),
            _ => std::mem::take(&mut self.bytes),
        }
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
