//! From an error of DataFusion to one that says whose fault it is, where in the statement it lies,
//! and what may have been meant. Answering it is left to `routes`.

use std::sync::LazyLock;

use datafusion::arrow::error::ArrowError;
use datafusion::common::{Column, DataFusionError, Diagnostic, SchemaError};
use datafusion::execution::SessionStateDefaults;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::{Place, QueryError, catalog, dictionary, functions, statement};

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
        DataFusionError::ParquetError(cause) => match predicate_failure(&cause.to_string()) {
            Some(failure) => failure.diagnose(text),
            None => lake(cause.to_string()),
        },
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

/// What failed when a condition was evaluated while a file was read.
enum PredicateFailure {
    Memory(String),
    Statement(String),
}

impl PredicateFailure {
    fn diagnose(self, text: &str) -> QueryError {
        match self {
            PredicateFailure::Memory(reason) => QueryError::Memory { reason },
            PredicateFailure::Statement(message) => {
                let place = message_place(&message, text);
                QueryError::Statement { message, place, hint: None }
            }
        }
    }
}

/// DataFusion hands conditions down to the Parquet reader, and keeps of their errors only the debug
/// text: `ArrowError(CastError("Cannot …"), …)`, `Execution("…")`, `ArrowError(DivideByZero, …)`.
fn predicate_failure(message: &str) -> Option<PredicateFailure> {
    let (_, failure) = message.split_once("Error evaluating filter predicate: ")?;
    if failure.contains("DivideByZero") {
        return Some(PredicateFailure::Statement(ArrowError::DivideByZero.to_string()));
    }
    let reason = first_literal(failure).unwrap_or_else(|| failure.to_owned());
    Some(match failure.contains("ResourcesExhausted(") {
        true => PredicateFailure::Memory(reason),
        false => PredicateFailure::Statement(reason),
    })
}

/// The first string that a debug text quotes, as it was.
fn first_literal(debug: &str) -> Option<String> {
    let (_, quoted) = debug.split_once('"')?;
    let (mut literal, mut characters) = (String::new(), quoted.chars());
    loop {
        match characters.next()? {
            '"' => return Some(literal),
            '\\' => literal.push(match characters.next()? {
                'n' => '\n',
                't' => '\t',
                other => other,
            }),
            other => literal.push(other),
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
        DataFusionError::SchemaError(cause, _) => match (cause.as_ref(), error.diagnostic()) {
            (SchemaError::FieldNotFound { field, valid_fields }, _) => {
                unknown_column(field, valid_fields)
            }
            (_, Some(diagnostic)) => {
                Finding { message: diagnostic.message.clone(), hint: advice(diagnostic) }
            }
            (other, None) => Finding { message: other.to_string(), hint: None },
        },
        DataFusionError::ArrowError(error, _) => {
            Finding { message: arrow_message(error), hint: None }
        }
        _ => {
            // DataFusion's diagnostic of an operator names neither it nor, in order, its types.
            let diagnostic =
                error.diagnostic().filter(|d| d.message != "expressions have incompatible types");
            let message =
                diagnostic.map_or_else(|| root.message().to_string(), |d| d.message.clone());
            if let Some(name) = quoted(&message, "table '", "' not found") {
                return unknown_table(name);
            }
            if let Some(name) = quoted(&message, "Invalid function '", "'") {
                return unknown_function(name, FUNCTIONS.iter().map(String::as_str));
            }
            if let Some(name) = quoted(&message, "table function '", "' not found") {
                let known = functions::names().chain(["generate_series", "range"]);
                return unknown_function(name, known);
            }
            if let Some(finding) = unfit_arguments(&message) {
                return finding;
            }
            Finding { message, hint: diagnostic.and_then(advice) }
        }
    }
}

/// The error without the name of its kind, which says less than the text.
fn arrow_message(error: &ArrowError) -> String {
    match error {
        ArrowError::CastError(message)
        | ArrowError::ParseError(message)
        | ArrowError::ComputeError(message)
        | ArrowError::InvalidArgumentError(message)
        | ArrowError::ArithmeticOverflow(message) => message.clone(),
        other => other.to_string(),
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

fn unknown_function<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Finding {
    let near = nearest(name, known);
    let hint = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "SHOW FUNCTIONS lists DataFusion's, docs/functions.md Footfall's".to_owned(),
    };
    Finding { message: format!("there is no function `{name}`"), hint: Some(hint) }
}

/// DataFusion tells first of each way in which the arguments do not fit, then that none does, and
/// then, line by line, which would.
fn unfit_arguments(message: &str) -> Option<Finding> {
    let start = message.find("No function matches the given name and argument types")?;
    let mut lines = message[start..].lines();
    let summary = lines.next()?.to_owned();
    let candidates: Vec<&str> = lines.map(str::trim).filter(|line| line.ends_with(')')).collect();
    let hint = (!candidates.is_empty()).then(|| format!("there are: {}", candidates.join(", ")));
    Some(Finding { message: summary, hint })
}

/// The names of all functions that a session has.
static FUNCTIONS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let scalar = SessionStateDefaults::default_scalar_functions();
    let aggregate = SessionStateDefaults::default_aggregate_functions();
    let window = SessionStateDefaults::default_window_functions();
    let scalar = scalar.iter().map(|function| function.name().to_owned());
    let aggregate = aggregate.iter().map(|function| function.name().to_owned());
    let window = window.iter().map(|function| function.name().to_owned());
    let own = dictionary::functions().map(|(name, _, _)| name.to_owned());
    scalar.chain(aggregate).chain(window).chain(own).collect()
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

/// The place that the error names itself, else one that its message tells.
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
    message_place(&finding.message, text)
}

/// The first place of what the message quotes or names: a name, a constant, an operator.
fn message_place(message: &str, text: &str) -> Option<Place> {
    let tokens = statement::tokens(text);
    let place = |token: &TokenWithSpan| statement::place(text, token);
    if let Some(operation) =
        quoted(message, "Cannot coerce arithmetic expression ", " to valid types")
    {
        let is_operator = |token: &&TokenWithSpan| {
            !matches!(token.token, Token::Word(_))
                && operation.contains(&format!(" {} ", token.token))
        };
        return tokens.iter().find(is_operator).map(place);
    }
    if message == ArrowError::DivideByZero.to_string() {
        return division(&tokens).map(place);
    }
    let place_of = |word| tokens.iter().find(|token| stands_for(&token.token, word)).map(place);
    quoted_words(message).find_map(|word| {
        // A qualifier that DataFusion added is not in the text, and types are not.
        place_of(word)
            .or_else(|| word.rsplit_once('.').and_then(|(_, name)| place_of(name)))
            .or_else(|| word.split_once('(').and_then(|(name, _)| place_of(name)))
    })
}

/// The division by a 0 that is written out, else the only one.
fn division(tokens: &[TokenWithSpan]) -> Option<&TokenWithSpan> {
    let is_division = |token: &TokenWithSpan| matches!(token.token, Token::Div | Token::Mod);
    let by_zero = tokens.windows(2).find(|pair| {
        let zero = matches!(&pair[1].token, Token::Number(digits, _) if digits == "0");
        is_division(&pair[0]) && zero
    });
    let mut divisions = tokens.iter().filter(|token| is_division(token));
    by_zero.map(|pair| &pair[0]).or_else(|| divisions.next().filter(|_| divisions.next().is_none()))
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

fn stands_for(token: &Token, word: &str) -> bool {
    match token {
        Token::Word(name) => name.value.eq_ignore_ascii_case(word),
        Token::SingleQuotedString(value) => value == word,
        Token::Number(digits, _) => digits == word,
        _ => false,
    }
}
