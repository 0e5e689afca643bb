//! How a query fails, one variant for each thing a caller does differently. How an error of
//! DataFusion becomes one of these is left to `diagnose`.

use std::time::Duration;

use crate::Outcome;

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueryError {
    /// The statement is wrong, or is no query: to be changed by who wrote it.
    #[error("{message}")]
    Statement { message: String, place: Option<Place>, hint: Option<String> },
    /// The query ran into the time limit.
    #[error("the query took longer than the limit of {} s", .limit.as_secs_f64())]
    Time { limit: Duration },
    /// The query, with those that run beside it, needs more memory or temporary disk than there is.
    #[error("the query needs more memory or temporary disk space than queries may use: {reason}")]
    Memory { reason: String },
    /// The answer is too long.
    #[error("the answer has more than {rows_max} rows, which is the limit")]
    Rows { rows_max: usize },
    /// The answer is too long for a table.
    #[error(
        "the answer is too long for a table, which holds {rows_max} rows and {bytes_max} bytes"
    )]
    Table { rows_max: usize, bytes_max: usize },
    /// Too many queries run.
    #[error("{concurrency_max} queries run already, and others wait")]
    Busy { concurrency_max: usize, retry_after: Duration },
    /// The lake cannot be read.
    #[error("the lake cannot be read: {reason}")]
    Lake { reason: String },
    /// The live tables cannot be read.
    #[error("the live tables cannot be read: {reason}")]
    Live { reason: String },
    /// The engine is broken or stops.
    #[error("the query engine failed: {reason}")]
    Engine { reason: String },
}

/// A place in a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// The line, and below it a caret under the column.
    pub snippet: String,
}

/// Characters of a line that a snippet shows on either side of the place.
const SNIPPET_REACH: usize = 60;

impl Place {
    /// The place in `text`; `line` and `column` count from 1, and may lie past its end.
    pub(crate) fn at(text: &str, line: usize, column: usize) -> Place {
        let content = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let start = column.saturating_sub(1 + SNIPPET_REACH);
        let shown: String = content.chars().skip(start).take(2 * SNIPPET_REACH).collect();
        // A tab stays a tab, so that the caret stands under its column in any terminal.
        let keep_tab = |character| if character == '\t' { '\t' } else { ' ' };
        let until = content.chars().map(keep_tab).chain(std::iter::repeat(' '));
        let indent: String = until.skip(start).take(column.saturating_sub(1 + start)).collect();
        Place { line, column, snippet: format!("{shown}\n{indent}^") }
    }

    /// Behind the last character of `text`.
    pub(crate) fn end(text: &str) -> Place {
        let text = text.trim_end();
        let last = text.lines().last().unwrap_or_default();
        Place::at(text, text.lines().count().max(1), last.chars().count() + 1)
    }
}

impl QueryError {
    /// What the way out is, as a sentence; `None` where the message says all.
    pub fn hint(&self) -> Option<String> {
        match self {
            QueryError::Statement { hint, .. } => hint.clone(),
            QueryError::Time { .. } => Some(
                "restrict event_date or session_date, so that fewer days are read, or aggregate less at once"
                    .to_owned(),
            ),
            QueryError::Memory { .. } => Some(
                "group by fewer distinct values, sort fewer rows (ORDER BY with LIMIT), or try again when fewer queries run"
                    .to_owned(),
            ),
            QueryError::Rows { rows_max } => Some(format!(
                "aggregate, or add LIMIT {rows_max} to say that a part is enough; no answer is ever cut silently"
            )),
            QueryError::Table { rows_max, .. } => Some(format!(
                "add LIMIT (at most {rows_max}), name fewer columns, or ask for csv or json"
            )),
            QueryError::Busy { .. } => Some("try again in a moment".to_owned()),
            QueryError::Lake { .. } | QueryError::Live { .. } | QueryError::Engine { .. } => None,
        }
    }

    pub fn place(&self) -> Option<&Place> {
        match self {
            QueryError::Statement { place, .. } => place.as_ref(),
            _ => None,
        }
    }

    /// The error as it is counted, and as its answer is labelled.
    pub fn outcome(&self) -> Outcome {
        match self {
            QueryError::Statement { .. } => Outcome::BadQuery,
            QueryError::Time { .. } => Outcome::Timeout,
            QueryError::Memory { .. } => Outcome::Memory,
            QueryError::Rows { .. } | QueryError::Table { .. } => Outcome::Rows,
            QueryError::Busy { .. } => Outcome::Busy,
            QueryError::Lake { .. } | QueryError::Live { .. } | QueryError::Engine { .. } => {
                Outcome::Failed
            }
        }
    }

    /// The error for a terminal: message, place with a caret, hint; several lines, the last unended.
    pub fn report(&self) -> String {
        let place = self.place().map(|Place { line, column, snippet }| {
            (*line as u64, *column as u64, snippet.as_str())
        });
        report(&self.to_string(), place, self.hint().as_deref())
    }
}

/// [`QueryError::report`] of an error's parts, for one that came from a server: `place` is line,
/// column and snippet.
pub fn report(message: &str, place: Option<(u64, u64, &str)>, hint: Option<&str>) -> String {
    let mut report = match place {
        Some((line, column, snippet)) => {
            format!("line {line}, column {column}: {message}\n{snippet}")
        }
        None => message.to_owned(),
    };
    if let Some(hint) = hint {
        report.push_str("\nhint: ");
        report.push_str(hint);
    }
    report
}
