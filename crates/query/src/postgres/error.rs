//! Errors as Postgres clients know them: severity, SQLSTATE, message, hint, position. The codes are those of
//! Postgres' documentation, appendix A.

use pgwire::error::{ErrorInfo, PgWireError};

use crate::{Place, QueryError};

pub(super) const ERROR: &str = "ERROR";
/// Ends the connection.
pub(super) const FATAL: &str = "FATAL";
const WARNING: &str = "WARNING";

/// An error with a code and a message.
pub(super) fn error(code: &str, message: &str) -> ErrorInfo {
    of(ERROR, code, message)
}

pub(super) fn fatal(code: &str, message: &str) -> ErrorInfo {
    of(FATAL, code, message)
}

/// What a client is told beside an answer.
pub(super) fn warning(message: &str) -> ErrorInfo {
    of(WARNING, "01000", message)
}

pub(super) fn protocol_violation(severity: &str, message: &str) -> ErrorInfo {
    of(severity, "08P01", message)
}

pub(super) fn not_supported(message: &str, hint: &str) -> ErrorInfo {
    let mut error = error("0A000", message);
    error.hint = Some(hint.to_owned());
    error
}

pub(super) fn canceled(by: &str) -> ErrorInfo {
    error("57014", &format!("canceling statement due to {by}"))
}

fn of(severity: &str, code: &str, message: &str) -> ErrorInfo {
    ErrorInfo::new(severity.to_owned(), code.to_owned(), message.to_owned())
}

/// The error of a query; `text` is what was sent.
pub(super) fn query_error(failed: &QueryError, text: &str) -> ErrorInfo {
    let mut info = error(code(failed), &failed.to_string());
    info.hint = failed.hint();
    info.position = failed.place().and_then(|place| position(place, text));
    info
}

/// The error of a value that was bound.
pub(super) fn value_error(error: PgWireError) -> ErrorInfo {
    let mut info = ErrorInfo::from(error);
    info.severity = ERROR.to_owned();
    if info.code == "XX000" {
        info.code = "22P02".to_owned();
    }
    info
}

fn code(error: &QueryError) -> &'static str {
    match error {
        QueryError::Statement { message, .. } => match message {
            it if it.starts_with("there is no table") => "42P01",
            it if it.starts_with("there is no column") => "42703",
            it if it.starts_with("there is no function") => "42883",
            it if it.starts_with("only queries run here") => "25006",
            it if it.starts_with("Divide by zero") => "22012",
            _ => "42000",
        },
        QueryError::Time { .. } => "57014",
        QueryError::Memory { .. } => "53200",
        QueryError::Rows { .. } | QueryError::Table { .. } => "54000",
        QueryError::Busy { .. } => "53300",
        QueryError::Lake { .. } | QueryError::Live { .. } => "58030",
        QueryError::Engine { .. } => "XX000",
    }
}

/// In characters of the whole text, counted from 1. A place within a statement that was rewritten is none.
fn position(place: &Place, text: &str) -> Option<String> {
    let lines_before = text.split_inclusive('\n').take(place.line.checked_sub(1)?);
    let before: usize = lines_before.map(|line| line.chars().count()).sum();
    let position = before + place.column;
    (place.column > 0 && position <= text.chars().count() + 1).then(|| position.to_string())
}
