//! Rows on their way to a client of Postgres: as rows of the protocol, or as the lines of COPY. Which query
//! they answer is left to `connection`.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use bytes::Bytes;
use datafusion_postgres::arrow_pg::datatypes::arrow_schema_to_pg_fields;
use datafusion_postgres::arrow_pg::encoder::encode_value;
use pgwire::api::portal::Format;
use pgwire::api::results::{
    CopyCsvOptions, CopyEncoder, CopyTextOptions, DataRowEncoder, FieldFormat, FieldInfo,
};
use pgwire::error::ErrorInfo;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::copy::{CopyData, CopyDone, CopyOutResponse};
use pgwire::messages::data::{
    FORMAT_CODE_BINARY, FORMAT_CODE_TEXT, FieldDescription, RowDescription,
};
use tokio::sync::OwnedSemaphorePermit;

use super::command::CopyFormat;
use super::error::{ERROR, error, protocol_violation, value_error};
use crate::Rows;

/// A query that was begun: its rows as they are taken.
pub(super) struct Answer {
    pub(super) rows: Rows,
    pub(super) fields: Arc<Vec<FieldInfo>>,
    /// The batch at hand, and how many of its rows were sent.
    pub(super) at_hand: Option<(RecordBatch, usize)>,
    /// Held while the client lets the rest wait.
    pub(super) waits: Option<OwnedSemaphorePermit>,
}

impl Answer {
    /// # Errors
    /// A column whose type Postgres does not know, by its name.
    pub(super) fn new(rows: Rows, format: &Format) -> Result<Answer, Box<ErrorInfo>> {
        let fields = Arc::new(fields(rows.schema(), format)?);
        Ok(Answer { rows, fields, at_hand: None, waits: None })
    }
}

/// The columns as a client is told of them.
///
/// # Errors
/// A column whose type Postgres does not know, by its name.
pub(super) fn fields(schema: &Schema, format: &Format) -> Result<Vec<FieldInfo>, Box<ErrorInfo>> {
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

/// How a client wants its columns.
///
/// # Errors
/// Another number of formats than of columns; a format that is none.
pub(super) fn format(codes: &[i16], columns: usize) -> Result<Format, Box<ErrorInfo>> {
    if codes.iter().any(|code| ![FORMAT_CODE_TEXT, FORMAT_CODE_BINARY].contains(code)) {
        return Err(Box::new(protocol_violation(ERROR, "a format is 0, text, or 1, binary")));
    }
    match codes {
        [] => Ok(Format::UnifiedText),
        [all] => Ok(Format::from(*all)),
        each if each.len() == columns => Ok(Format::Individual(each.to_vec())),
        each => {
            let message = format!("{} formats for {columns} columns", each.len());
            Err(Box::new(protocol_violation(ERROR, &message)))
        }
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
    let schema = batch.schema_ref();
    for (index, field) in fields.iter().enumerate() {
        let column = batch.column(index);
        encode_value(encoder, column, row, schema.field(index), field)
            .map_err(|failed| Box::new(value_error(failed)))?;
    }
    Ok(PgWireBackendMessage::DataRow(encoder.take_row()))
}

/// Rows as COPY sends them.
pub(super) struct Copying {
    encoder: CopyEncoder,
    fields: Arc<Vec<FieldInfo>>,
}

impl Copying {
    pub(super) fn new(format: &CopyFormat, fields: Arc<Vec<FieldInfo>>) -> Copying {
        let encoder = match format.is_csv {
            true => {
                let quote = format.quote.unwrap_or('"').to_string();
                let options = CopyCsvOptions {
                    escape: format.escape.map_or(quote.clone(), String::from).into(),
                    quote: quote.into(),
                    delimiter: format.delimiter.unwrap_or(',').to_string().into(),
                    null_string: format.null.clone().unwrap_or_default().into(),
                    force_quote: Vec::new(),
                };
                CopyEncoder::new_csv(fields.clone(), options)
            }
            false => {
                let options = CopyTextOptions {
                    delimiter: format.delimiter.unwrap_or('\t').to_string().into(),
                    null_string: format.null.as_deref().unwrap_or("\\N").into(),
                };
                CopyEncoder::new_text(fields.clone(), options)
            }
        };
        Copying { encoder, fields }
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
            let text = |field: &FieldInfo| {
                let name = field.name().to_owned();
                FieldInfo::new(name, None, None, pgwire::api::Type::TEXT, FieldFormat::Text)
            };
            let names: Arc<Vec<FieldInfo>> = Arc::new(self.fields.iter().map(text).collect());
            let mut header = Copying::new(format, names);
            for field in self.fields.iter() {
                let encoded = header.encoder.encode_field(&field.name());
                encoded.map_err(|failed| Box::new(value_error(failed)))?;
            }
            messages.push(header.take());
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
        let schema = batch.schema_ref();
        for (index, field) in self.fields.iter().enumerate() {
            let column = batch.column(index);
            encode_value(&mut self.encoder, column, row, schema.field(index), field)
                .map_err(|failed| Box::new(value_error(failed)))?;
        }
        Ok(self.take())
    }

    fn take(&mut self) -> PgWireBackendMessage {
        let line: Bytes = self.encoder.take_copy().data;
        PgWireBackendMessage::CopyData(CopyData::new(line))
    }

    pub(super) fn end() -> PgWireBackendMessage {
        PgWireBackendMessage::CopyDone(CopyDone::new())
    }
}
