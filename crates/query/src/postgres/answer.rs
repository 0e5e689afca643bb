//! Rows on their way to a client of Postgres: as rows of the protocol, or as the lines of COPY. Which query
//! they answer is left to `connection`.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::{Buf, Bytes};
use datafusion_postgres::arrow_pg::datatypes::arrow_schema_to_pg_fields;
use datafusion_postgres::arrow_pg::encoder::{Encoder, encode_value};
use pgwire::api::portal::Format;
use pgwire::api::results::{CopyEncoder, CopyTextOptions, DataRowEncoder, FieldInfo};
use pgwire::error::ErrorInfo;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::copy::{CopyData, CopyDone, CopyOutResponse};
use pgwire::messages::data::{
    FORMAT_CODE_BINARY, FORMAT_CODE_TEXT, FieldDescription, RowDescription,
};

use super::command::CopyFormat;
use super::error::{ERROR, error, protocol_violation, value_error};
use crate::Rows;

/// A query that was begun: its rows as they are taken.
pub(super) struct Answer {
    pub(super) rows: Rows,
    pub(super) fields: Arc<Vec<FieldInfo>>,
    /// The batch at hand, and how many of its rows were sent.
    pub(super) at_hand: Option<(RecordBatch, usize)>,
}

impl Answer {
    /// # Errors
    /// A column whose type Postgres does not know, by its name.
    pub(super) fn new(rows: Rows, format: &Format) -> Result<Answer, Box<ErrorInfo>> {
        let fields = Arc::new(fields(rows.schema(), format)?);
        Ok(Answer { rows, fields, at_hand: None })
    }
}

/// The columns as a client is told of them.
///
/// # Errors
/// A column whose type Postgres does not know, by its name.
pub(super) fn fields(schema: &Schema, format: &Format) -> Result<Vec<FieldInfo>, Box<ErrorInfo>> {
    if let Format::Individual(each) = format
        && each.len() != schema.fields().len()
    {
        let message = format!("{} formats for {} columns", each.len(), schema.fields().len());
        return Err(Box::new(protocol_violation(ERROR, &message)));
    }
    arrow_schema_to_pg_fields(schema, format, None).map_err(|failed| {
        let unknown = schema.fields().iter().find(|field| {
            let alone = Schema::new(vec![(*field).clone()]);
            arrow_schema_to_pg_fields(&alone, &Format::UnifiedText, None).is_err()
        });
        let name = unknown.map(|field| field.name().as_str()).unwrap_or_default();
        let why = ErrorInfo::from(failed).message;
        let mut refused = error("0A000", &format!("column \"{name}\" cannot be sent: {why}"));
        refused.hint = Some("CAST it AS TEXT".to_owned());
        Box::new(refused)
    })
}

/// A client reads rows as the columns that it was told of.
///
/// # Errors
/// When the rows of an answer are of other types than its statement was described with.
pub(super) fn require_same(told: &Schema, found: &Schema) -> Result<(), Box<ErrorInfo>> {
    let types = |schema| fields(schema, &Format::UnifiedText);
    let (told, found) = (types(told)?, types(found)?);
    let oid = |field: &FieldInfo| field.datatype().oid();
    match told.iter().map(oid).eq(found.iter().map(oid)) {
        true => Ok(()),
        false => {
            let mut refused =
                error("0A000", "the answer has other types than it was described with");
            refused.hint =
                Some("CAST the values that are bound to the types that they have".to_owned());
            Err(Box::new(refused))
        }
    }
}

/// How a client wants its columns.
///
/// # Errors
/// A format that is none.
pub(super) fn format(codes: &[i16]) -> Result<Format, Box<ErrorInfo>> {
    if codes.iter().any(|code| ![FORMAT_CODE_TEXT, FORMAT_CODE_BINARY].contains(code)) {
        return Err(Box::new(protocol_violation(ERROR, "a format is 0, text, or 1, binary")));
    }
    match codes {
        [] => Ok(Format::UnifiedText),
        [all] => Ok(Format::from(*all)),
        each => Ok(Format::Individual(each.to_vec())),
    }
}

pub(super) fn row_description(fields: &[FieldInfo]) -> PgWireBackendMessage {
    let fields: Vec<FieldDescription> = fields.iter().map(FieldDescription::from).collect();
    PgWireBackendMessage::RowDescription(RowDescription::new(fields))
}

/// Row `row` of `batch` as a message.
///
/// # Errors
/// A value that Postgres cannot hold.
pub(super) fn row_message(
    encoder: &mut DataRowEncoder,
    batch: &RecordBatch,
    row: usize,
    fields: &[FieldInfo],
) -> Result<PgWireBackendMessage, Box<ErrorInfo>> {
    encode_row(encoder, batch, row, fields)?;
    Ok(PgWireBackendMessage::DataRow(encoder.take_row()))
}

fn encode_row(
    encoder: &mut impl Encoder,
    batch: &RecordBatch,
    row: usize,
    fields: &[FieldInfo],
) -> Result<(), Box<ErrorInfo>> {
    let schema = batch.schema_ref();
    for (index, field) in fields.iter().enumerate() {
        let column = batch.column(index);
        encode_value(encoder, column, row, schema.field(index), field)
            .map_err(|failed| Box::new(value_error(failed)))?;
    }
    Ok(())
}

/// Rows as COPY sends them.
pub(super) struct Copying {
    lines: Lines,
    fields: Arc<Vec<FieldInfo>>,
}

enum Lines {
    Text(CopyEncoder),
    Csv { encoder: DataRowEncoder, style: CsvStyle },
}

/// What tells the values of a line apart.
#[derive(Clone)]
struct CsvStyle {
    delimiter: u8,
    null: String,
    quote: u8,
    escape: u8,
}

impl Copying {
    pub(super) fn new(format: &CopyFormat, fields: Arc<Vec<FieldInfo>>) -> Copying {
        let byte = |letter: Option<char>, default: u8| {
            letter.and_then(|letter| u8::try_from(letter).ok()).unwrap_or(default)
        };
        let lines = match format.is_csv {
            true => {
                let quote = byte(format.quote, b'"');
                let style = CsvStyle {
                    delimiter: byte(format.delimiter, b','),
                    null: format.null.clone().unwrap_or_default(),
                    quote,
                    escape: byte(format.escape, quote),
                };
                Lines::Csv { encoder: DataRowEncoder::new(fields.clone()), style }
            }
            false => {
                let options = CopyTextOptions {
                    delimiter: format.delimiter.unwrap_or('\t').to_string().into(),
                    null_string: format.null.as_deref().unwrap_or("\\N").into(),
                };
                Lines::Text(CopyEncoder::new_text(fields.clone(), options))
            }
        };
        Copying { lines, fields }
    }

    /// What stands before the rows; with a line of the columns' names if `has_header`.
    ///
    /// # Errors
    /// A name that cannot be sent.
    pub(super) fn begin(
        &self,
        format: &CopyFormat,
    ) -> Result<Vec<PgWireBackendMessage>, Box<ErrorInfo>> {
        let columns = self.fields.len();
        let begun = CopyOutResponse::new(0, columns as i16, vec![FORMAT_CODE_TEXT; columns]);
        let mut messages = vec![PgWireBackendMessage::CopyOutResponse(begun)];
        if format.has_header {
            let name = |field: &FieldInfo| Field::new(field.name(), DataType::Utf8, false);
            let schema = Arc::new(Schema::new(self.fields.iter().map(name).collect::<Vec<_>>()));
            let names = self
                .fields
                .iter()
                .map(|field| Arc::new(StringArray::from(vec![field.name()])) as ArrayRef);
            let names = RecordBatch::try_new(schema, names.collect());
            let names = names.map_err(|failed| Box::new(error("XX000", &failed.to_string())))?;
            let texts = Arc::new(fields(names.schema_ref(), &Format::UnifiedText)?);
            messages.push(Copying::new(format, texts).row(&names, 0)?);
        }
        Ok(messages)
    }

    /// # Errors
    /// A value that Postgres cannot hold.
    pub(super) fn row(
        &mut self,
        batch: &RecordBatch,
        row: usize,
    ) -> Result<PgWireBackendMessage, Box<ErrorInfo>> {
        let line = match &mut self.lines {
            Lines::Text(encoder) => {
                encode_row(encoder, batch, row, &self.fields)?;
                encoder.take_copy().data
            }
            Lines::Csv { encoder, style } => {
                encode_row(encoder, batch, row, &self.fields)?;
                style.line(&encoder.take_row().data)
            }
        };
        Ok(PgWireBackendMessage::CopyData(CopyData::new(line)))
    }

    pub(super) fn end() -> PgWireBackendMessage {
        PgWireBackendMessage::CopyDone(CopyDone::new())
    }
}

impl CsvStyle {
    /// A line of the values of a row as the protocol has them: a length, -1 for NULL, and so many bytes.
    fn line(&self, mut values: &[u8]) -> Bytes {
        let mut line = Vec::with_capacity(values.len());
        let mut is_first = true;
        while values.len() >= 4 {
            if !std::mem::take(&mut is_first) {
                line.push(self.delimiter);
            }
            let length = values.get_i32();
            match usize::try_from(length) {
                Ok(length) => {
                    let (value, rest) = values.split_at(length.min(values.len()));
                    self.value(value, &mut line);
                    values = rest;
                }
                Err(_) => line.extend_from_slice(self.null.as_bytes()),
            }
        }
        line.push(b'\n');
        line.into()
    }

    /// In quotes where it would be read as something else, as a text that is empty would be as NULL.
    fn value(&self, value: &[u8], line: &mut Vec<u8>) {
        let is_special =
            |byte: &u8| [self.delimiter, self.quote, self.escape, b'\n', b'\r'].contains(byte);
        if value != self.null.as_bytes() && !value.iter().any(is_special) {
            return line.extend_from_slice(value);
        }
        line.push(self.quote);
        for byte in value {
            if [self.quote, self.escape].contains(byte) {
                line.push(self.escape);
            }
            line.push(*byte);
        }
        line.push(self.quote);
    }
}
