//! From an error of DataFusion to one that says whose fault it is, where in the statement it lies,
//! and what may have been meant. Answering it is left to `routes`.

use std::sync::LazyLock;

use datafusion::arrow::error::ArrowError;
use datafusion::common::{Column, DataFusionError, Diagnostic, SchemaError};
use datafusion::execution::SessionStateDefaults;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::{Place, QueryError, catalog, statement};

/// Least likeness (0 to 1) of a name that is offered in place of an unknown one.
const LIKENESS_MIN: f64 = 0.6;
/// So many columns are listed when none is like the unknown one.
const COLUMNS_LISTED_MAX: usize = 12;

/// The error as it concerns who sent `text`.
pub(crate) fn diagnose(error: &DataFusionError, text: &str) -> QueryError {
    let first = error.iter().next().unwrap_or(error);
    let lake = |reason: String| QueryError::Lake { reason };
    if let Some(reason) = spill_limit(first) {
        return QueryError::Memory { reason };
    }
    match first.find_root() {
        DataFusionError::External(cause) => match cause.downcast_ref::<QueryError>() {
            Some(ours) => ours.clone(),
            None => lake(cause.to_string()),
        },
        DataFusionError::ObjectStore(cause) => lake(cause.to_string()),
        DataFusionError::ParquetError(cause) => lake(cause.to_string()),
        DataFusionError::IoError(cause) => lake(cause.to_string()),
        DataFusionError::ArrowError(cause, _) if is_from_store(cause) => lake(cause.to_string()),
        DataFusionError::ResourcesExhausted(reason) => {
            QueryError::Memory { reason: reason.clone() }
        }
        DataFusionError::Internal(reason) => QueryError::Engine { reason: reason.clone() },
        DataFusionError::ExecutionJoin(cause) => QueryError::Engine { reason: cause.to_string() },
        root => {
            let finding = find(first, root);
            let place = place(first, root, &finding, text);
            QueryError::Statement { message: finding.message, place, hint: finding.hint }
        }
    }
}

/// The `known` name that is most like `name`, if any is like it at all.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|known| (strsim::normalized_damerau_levenshtein(name, known), known))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

/// DataFusion reports a full spill folder as an I/O error in one place and as exhausted resources in
/// another; only the text is the same.
fn spill_limit(error: &DataFusionError) -> Option<String> {
    let message = error.to_string();
    let start = message.find("The used disk space during the spilling process")?;
    Some(message[start..].split(". ").next().unwrap_or_default().to_owned())
}

fn is_from_store(error: &ArrowError) -> bool {
    use ArrowError::{ExternalError, IoError, IpcError, ParquetError};
    matches!(error, ExternalError(_) | IoError(..) | IpcError(_) | ParquetError(_))
}

/// What is wrong, in words.
struct Finding {
    message: String,
    hint: Option<String>,
}

fn find(error: &DataFusionError, root: &DataFusionError) -> Finding {
    match root {
        DataFusionError::SQL(error, _) => Finding { message: syntax(error), hint: None },
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => {
                unknown_column(field, valid_fields)
            }
            other => Finding { message: other.to_string(), hint: None },
        },
        _ => {
            let diagnostic = error.diagnostic();
            let message =
                diagnostic.map_or_else(|| root.message().to_string(), |d| d.message.clone());
            if let Some(name) = quoted(&message, "table '", "' not found") {
                return unknown_table(name);
            }
            if let Some(name) = quoted(&message, "Invalid function '", "'") {
                return unknown_function(name);
            }
            Finding { message, hint: diagnostic.and_then(advice) }
        }
    }
}

fn quoted<'a>(message: &'a str, before: &str, after: &str) -> Option<&'a str> {
    message.strip_prefix(before)?.strip_suffix(after)
}

fn unknown_column(field: &Column, valid: &[Column]) -> Finding {
    let near = nearest(field.name(), valid.iter().map(Column::name));
    let hint = match near {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None if valid.is_empty() => None,
        None if valid.len() <= COLUMNS_LISTED_MAX => {
            let names: Vec<&str> = valid.iter().map(Column::name).collect();
            Some(format!("there are: {}", names.join(", ")))
        }
        None => Some("DESCRIBE and the table's name list its columns".to_owned()),
    };
    Finding { message: format!("there is no column `{}`", field.flat_name()), hint }
}

fn unknown_table(name: &str) -> Finding {
    let hint = match nearest(name, catalog::names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let names: Vec<&str> = catalog::names().collect();
            format!("there are: {}; files cannot be read", names.join(", "))
        }
    };
    Finding { message: format!("there is no table `{name}`"), hint: Some(hint) }
}

fn unknown_function(name: &str) -> Finding {
    let near = nearest(name, FUNCTIONS.iter().map(String::as_str));
    let hint = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "SHOW FUNCTIONS lists them".to_owned(),
    };
    Finding { message: format!("there is no function `{name}`"), hint: Some(hint) }
}

/// The names of all functions that a session has.
static FUNCTIONS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let scalar = SessionStateDefaults::default_scalar_functions();
    let aggregate = SessionStateDefaults::default_aggregate_functions();
    let window = SessionStateDefaults::default_window_functions();
    let scalar = scalar.iter().map(|function| function.name().to_owned());
    let aggregate = aggregate.iter().map(|function| function.name().to_owned());
    let window = window.iter().map(|function| function.name().to_owned());
    scalar.chain(aggregate).chain(window).collect()
});

fn advice(diagnostic: &Diagnostic) -> Option<String> {
    let helps = diagnostic.helps.iter().map(|help| help.message.as_str());
    let notes = diagnostic.notes.iter().map(|note| note.message.as_str());
    let all: Vec<&str> = helps.chain(notes).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

fn syntax(error: &ParserError) -> String {
    match error {
        ParserError::RecursionLimitExceeded => "the statement is nested too deeply".to_owned(),
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
            let end = message.find(" at Line: ").unwrap_or(message.len());
            message[..end].to_owned()
        }
    }
}

/// The place that the error names itself, else that of the one token it quotes.
fn place(
    error: &DataFusionError,
    root: &DataFusionError,
    finding: &Finding,
    text: &str,
) -> Option<Place> {
    if let Some(span) = error.diagnostic().and_then(|diagnostic| diagnostic.span) {
        return Some(Place::at(text, span.start.line as usize, span.start.column as usize));
    }
    if let DataFusionError::SQL(error, _) = root {
        return syntax_place(&error.to_string(), text);
    }
    quoted_words(&finding.message).find_map(|word| only_token(text, word))
}

/// sqlparser ends its messages with ` at Line: 1, Column: 2`, but at the end of the text.
fn syntax_place(message: &str, text: &str) -> Option<Place> {
    let Some((_, location)) = message.rsplit_once(" at Line: ") else {
        return message.contains("EOF").then(|| Place::end(text));
    };
    let (line, column) = location.split_once(", Column: ")?;
    Some(Place::at(text, line.trim().parse().ok()?, column.trim().parse().ok()?))
}

/// The words that a message puts between quotes of any kind.
fn quoted_words(message: &str) -> impl Iterator<Item = &str> {
    let mut pieces = message.split(['\'', '`', '"']);
    pieces.next();
    pieces.step_by(2).filter(|word| !word.is_empty())
}

/// Where `word` stands in the text, if it is there exactly once.
fn only_token(text: &str, word: &str) -> Option<Place> {
    let tokens = statement::tokens(text);
    let mut places = tokens.iter().filter(|token| match &token.token {
        Token::Word(name) => name.value.eq_ignore_ascii_case(word),
        Token::SingleQuotedString(value) => value == word,
        Token::Number(digits, _) => digits == word,
        _ => false,
    });
    let place = places.next().map(|token| statement::place(text, token));
    place.filter(|_| places.next().is_none())
}
