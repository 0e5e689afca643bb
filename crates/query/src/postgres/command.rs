//! From what a client of Postgres sends to what is to be done: queries, which go to the engine, and all that
//! clients say around them. Doing it is left to `connection`.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    CloseCursor, ContextModifier, CopyOption, CopySource, CopyTarget, DeclareType, DiscardObject,
    Expr, FetchDirection, Ident, ObjectName, Query, Reset, Set, Statement as Sql, Value,
    ValueWithSpan, Visit, Visitor,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::PG_CATALOG_TABLES;
use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use datafusion_postgres::datafusion_pg_catalog::sql::rules::{
    CurrentUserVariableToSessionUserFunctionCall, FixVersionColumnName, RewriteRegCastToSubquery,
    SqlStatementRewriteRule, StripCallableQualifier, StripCollate,
};
use pgwire::error::ErrorInfo;

use super::error::{error, not_supported, query_error};
use super::escape::translate_escapes;
use super::rewrite::rewrite;
use crate::diagnose::diagnose;
use crate::{QueryError, catalog, depth, functions, names, statement};

/// Statements of one message.
const STATEMENTS_MAX: usize = 100;

/// Rewrites the questions that clients ask of the catalog into such as DataFusion takes.
static CATALOG_PARSER: LazyLock<PostgresCompatibilityParser> =
    LazyLock::new(PostgresCompatibilityParser::new);

/// Puts words of Postgres into DataFusion's, such as `current_user`, and leaves nothing out.
static WORDS: LazyLock<Vec<Box<dyn SqlStatementRewriteRule>>> = LazyLock::new(|| {
    vec![
        Box::new(StripCallableQualifier),
        Box::new(CurrentUserVariableToSessionUserFunctionCall),
        Box::new(StripCollate),
        Box::new(RewriteRegCastToSubquery::new()),
        Box::new(FixVersionColumnName),
    ]
});

/// What is to be done.
#[derive(Clone, Debug)]
pub(super) enum Command {
    /// Answers with rows; `tag` is what is said behind them.
    Query {
        statement: Box<Statement>,
        tag: &'static str,
    },
    Copy {
        statement: Box<Statement>,
        format: CopyFormat,
    },
    Begin,
    Commit,
    Rollback,
    /// Of a transaction that failed, the part behind a savepoint.
    RollbackTo,
    /// `SAVEPOINT` or `RELEASE`.
    Savepoint(&'static str),
    Set {
        name: String,
        value: String,
        is_local: bool,
    },
    Reset(Option<String>),
    Show(String),
    ShowAll,
    Declare {
        cursor: String,
        statement: Box<Statement>,
    },
    Fetch {
        cursor: String,
        rows: Option<usize>,
    },
    /// One cursor, or all of them.
    Close(Option<String>),
    /// A prepared statement, or all of them.
    Deallocate(Option<String>),
    DiscardAll,
    /// Changes nothing here; `tag` is said.
    Nothing(&'static str),
}

#[derive(Clone, Debug)]
pub(super) struct CopyFormat {
    pub(super) is_csv: bool,
    pub(super) has_header: bool,
    pub(super) delimiter: Option<char>,
    pub(super) null: Option<String>,
    pub(super) quote: Option<char>,
    pub(super) escape: Option<char>,
}

/// All statements of `text`, in their order. It needs a deep stack.
///
/// # Errors
/// What is no SQL, asks for more than there is, or would write.
pub(super) fn commands(text: &str) -> Result<Vec<Command>, Box<ErrorInfo>> {
    let wrong = |failed: QueryError| Box::new(query_error(&failed, text));
    let tokens = statement::tokens_in(&PostgreSqlDialect {}, text);
    depth::check_tokens(&tokens, text).map_err(wrong)?;
    let parsed = Parser::parse_sql(&PostgreSqlDialect {}, text);
    let statements = parsed.map_err(|error| wrong(syntax(error, text)))?;
    if statements.len() > STATEMENTS_MAX {
        let message = format!("{} statements at once: at most {STATEMENTS_MAX}", statements.len());
        return Err(Box::new(error("54000", &message)));
    }
    let is_alone = statements.len() == 1;
    statements.into_iter().map(|sql| command(sql, text, is_alone)).collect()
}

fn syntax(error: ParserError, text: &str) -> QueryError {
    diagnose(&error.into(), text)
}

fn command(sql: Sql, text: &str, is_alone: bool) -> Result<Command, Box<ErrorInfo>> {
    // What stands within another statement is not the text.
    let within = |sql| reading(sql, text, false).map(Box::new);
    let reading = |sql| reading(sql, text, is_alone).map(Box::new);
    Ok(match sql {
        Sql::StartTransaction { .. } => Command::Begin,
        Sql::Commit { .. } => Command::Commit,
        Sql::Rollback { savepoint: Some(_), .. } => Command::RollbackTo,
        Sql::Rollback { .. } => Command::Rollback,
        Sql::Savepoint { .. } => Command::Savepoint("SAVEPOINT"),
        Sql::ReleaseSavepoint { .. } => Command::Savepoint("RELEASE"),
        Sql::Set(set) => return settings(set),
        Sql::Reset(reset) => match reset.reset {
            Reset::ALL => Command::Reset(None),
            Reset::ConfigurationParameter(name) => Command::Reset(Some(plain(&name))),
        },
        Sql::ShowVariable { variable } => shown(&variable),
        Sql::Copy {
            source, to: true, target: CopyTarget::Stdout, options, legacy_options, ..
        } => {
            if let Some(option) = legacy_options.first() {
                let message = format!("COPY with {option} in the form of before Postgres 9");
                return Err(Box::new(not_supported(&message, COPY_USAGE)));
            }
            let format = copy_format(&options)?;
            Command::Copy { statement: within(copied(source)?)?, format }
        }
        Sql::Copy { .. } => {
            let mut refused = error("25006", "COPY only sends rows here, and to the client alone");
            refused.hint = Some(COPY_USAGE.to_owned());
            return Err(Box::new(refused));
        }
        Sql::Declare { stmts } => {
            let mut declared = stmts.into_iter();
            let (Some(first), None) = (declared.next(), declared.next()) else {
                return Err(Box::new(not_supported(
                    "several cursors in one DECLARE",
                    "declare each alone",
                )));
            };
            let (Some(DeclareType::Cursor), Some(query), [name]) =
                (first.declare_type, first.for_query, first.names.as_slice())
            else {
                let hint = "DECLARE name CURSOR FOR SELECT …";
                return Err(Box::new(not_supported("DECLARE of anything but a cursor", hint)));
            };
            let wants = [first.binary, first.scroll, first.hold];
            if wants.contains(&Some(true)) {
                let message = "a cursor reads forwards here, as text, within its transaction";
                let hint = "leave BINARY, SCROLL and WITH HOLD out";
                return Err(Box::new(not_supported(message, hint)));
            }
            let statement = within(Sql::Query(query))?;
            Command::Declare { cursor: cursor_name(name), statement }
        }
        Sql::Fetch { name, direction, into: None, .. } => {
            Command::Fetch { cursor: cursor_name(&name), rows: rows(&direction)? }
        }
        Sql::Close { cursor: CloseCursor::All } => Command::Close(None),
        Sql::Close { cursor: CloseCursor::Specific { name } } => {
            Command::Close(Some(cursor_name(&name)))
        }
        Sql::Deallocate { name, .. } => {
            let all = name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all");
            Command::Deallocate((!all).then_some(name.value))
        }
        Sql::Discard { object_type: DiscardObject::ALL } => Command::DiscardAll,
        // Neither plans nor sequences nor temporary tables are kept.
        Sql::Discard { .. } => Command::Nothing("DISCARD"),
        Sql::UNLISTEN { .. } => Command::Nothing("UNLISTEN"),
        Sql::LISTEN { .. } => Command::Nothing("LISTEN"),
        Sql::Explain { .. } => Command::Query { statement: reading(sql)?, tag: "EXPLAIN" },
        Sql::ShowTables { .. } | Sql::ShowColumns { .. } | Sql::ShowFunctions { .. } => {
            Command::Query { statement: reading(sql)?, tag: "SHOW" }
        }
        sql => Command::Query { statement: reading(sql)?, tag: "SELECT" },
    })
}

/// A statement that reads, in the words of DataFusion.
fn reading(sql: Sql, text: &str, is_alone: bool) -> Result<Statement, Box<ErrorInfo>> {
    let wrong = |failed: QueryError| Box::new(query_error(&failed, text));
    let mut sql = sql;
    match asked(&sql) {
        Asked::Tables => {}
        Asked::Nothing => {
            for rule in WORDS.iter() {
                sql = rule.rewrite(sql);
            }
        }
        Asked::Catalog => {
            // The text itself where it can be: the rewriter knows some questions by their words.
            let is_text = is_alone && matches!(sql, Sql::Query(_));
            let text = if is_text { text.to_owned() } else { sql.to_string() };
            let rewritten = CATALOG_PARSER.parse(&text);
            sql = match rewritten.map_err(|error| wrong(syntax(error, &text)))?.pop() {
                Some(sql) => sql,
                None => {
                    return Err(wrong(syntax(ParserError::ParserError("no statement".into()), "")));
                }
            };
            rewrite(&mut sql);
        }
    }
    translate_escapes(&mut sql);
    let parsed = Statement::Statement(Box::new(sql));
    statement::require_reading(&parsed, text).map_err(wrong)?;
    names::check(&parsed).map_err(wrong)?;
    Ok(parsed)
}

/// What a statement asks of.
enum Asked {
    /// Of tables of a shop, or of names that are not known: nothing is rewritten, for the rewriter leaves out
    /// what it cannot plan.
    Tables,
    /// Of the catalog of Postgres, and of nothing else.
    Catalog,
    /// Of no table at all.
    Nothing,
}

fn asked(sql: &Sql) -> Asked {
    let mut relations = Relations::default();
    let _ = sql.visit(&mut relations);
    let is_ours = |name: &str| catalog::names().chain(functions::names()).any(|ours| ours == name);
    let (mut names_catalog, mut names_others) = (false, false);
    for name in &relations.named {
        match name.as_slice() {
            // A query of WITH may be called like a table, and asks of it.
            [table] if is_ours(table) => names_others = true,
            [table] if relations.with.contains(table) => {}
            [table] if MAKERS_OF_ROWS.contains(&table.as_str()) => {}
            [table] if PG_CATALOG_TABLES.contains(&table.as_str()) => names_catalog = true,
            [schema, _] | [_, schema, _]
                if schema == "pg_catalog" || schema == "information_schema" =>
            {
                names_catalog = true;
            }
            _ => names_others = true,
        }
    }
    match (names_others, names_catalog) {
        (true, _) => Asked::Tables,
        (false, true) => Asked::Catalog,
        (false, false) => Asked::Nothing,
    }
}

/// Functions after FROM that ask of no table.
const MAKERS_OF_ROWS: [&str; 2] = ["generate_series", "unnest"];

#[derive(Default)]
struct Relations {
    named: Vec<Vec<String>>,
    with: HashSet<String>,
}

impl Visitor for Relations {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let with = query.with.iter().flat_map(|with| &with.cte_tables);
        self.with.extend(with.map(|table| plain_ident(&table.alias.name)));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let parts = relation.0.iter().filter_map(|part| part.as_ident().map(plain_ident));
        self.named.push(parts.collect());
        ControlFlow::Continue(())
    }
}

const COPY_USAGE: &str = "COPY (SELECT …) TO STDOUT WITH (FORMAT csv, HEADER)";

fn copied(source: CopySource) -> Result<Sql, Box<ErrorInfo>> {
    match source {
        CopySource::Query(query) => Ok(Sql::Query(query)),
        CopySource::Table { table_name, columns } => {
            let columns = match columns.is_empty() {
                true => "*".to_owned(),
                false => {
                    let columns: Vec<String> = columns.iter().map(Ident::to_string).collect();
                    columns.join(", ")
                }
            };
            let text = format!("SELECT {columns} FROM {table_name}");
            let parsed = Parser::parse_sql(&PostgreSqlDialect {}, &text);
            let parsed =
                parsed.map_err(|error| Box::new(query_error(&syntax(error, &text), &text)));
            parsed?.pop().ok_or_else(|| Box::new(error("42601", "COPY of nothing")))
        }
    }
}

fn copy_format(options: &[CopyOption]) -> Result<CopyFormat, Box<ErrorInfo>> {
    let mut format = CopyFormat {
        is_csv: false,
        has_header: false,
        delimiter: None,
        null: None,
        quote: None,
        escape: None,
    };
    for option in options {
        match option {
            CopyOption::Format(name) if name.value.eq_ignore_ascii_case("csv") => {
                format.is_csv = true;
            }
            CopyOption::Format(name) if name.value.eq_ignore_ascii_case("text") => {}
            CopyOption::Header(has_header) => format.has_header = *has_header,
            CopyOption::Delimiter(delimiter) if is_plain(*delimiter) => {
                format.delimiter = Some(*delimiter);
            }
            CopyOption::Null(null) => format.null = Some(null.clone()),
            CopyOption::Quote(quote) if is_plain(*quote) => format.quote = Some(*quote),
            CopyOption::Escape(escape) if is_plain(*escape) => format.escape = Some(*escape),
            CopyOption::Encoding(name)
                if ["utf8", "utf-8"].contains(&name.to_lowercase().as_str()) => {}
            other => {
                let message = format!("COPY with {other}");
                return Err(Box::new(not_supported(&message, COPY_USAGE)));
            }
        }
    }
    Ok(format)
}

/// As Postgres takes them: one byte, and no end of a line.
fn is_plain(letter: char) -> bool {
    letter.is_ascii() && !matches!(letter, '\n' | '\r' | '\\')
}

/// How many rows are fetched, all of them where there is no number.
fn rows(direction: &FetchDirection) -> Result<Option<usize>, Box<ErrorInfo>> {
    let count = |value: &ValueWithSpan| match &value.value {
        Value::Number(digits, _) => digits.parse().ok(),
        _ => None,
    };
    let limit = match direction {
        FetchDirection::Next | FetchDirection::Forward { limit: None } => return Ok(Some(1)),
        FetchDirection::All | FetchDirection::ForwardAll => return Ok(None),
        FetchDirection::Count { limit } | FetchDirection::Forward { limit: Some(limit) } => {
            count(limit)
        }
        _ => None,
    };
    limit.map(Some).ok_or_else(|| {
        let hint = "FETCH FORWARD 1000 FROM name, or FETCH ALL FROM name";
        Box::new(not_supported("a cursor reads forwards here", hint))
    })
}

fn settings(set: Set) -> Result<Command, Box<ErrorInfo>> {
    let refused = |set: &Set| {
        let hint = "settings are set one by one: SET name TO value";
        Err(Box::new(not_supported(&set.to_string(), hint)))
    };
    Ok(match &set {
        Set::SingleAssignment { scope, variable, values, hivevar: false } => {
            let is_local = *scope == Some(ContextModifier::Local);
            let values: Vec<String> = values.iter().map(value_text).collect();
            match values.as_slice() {
                [value] if value.eq_ignore_ascii_case("default") => {
                    Command::Reset(Some(plain(variable)))
                }
                _ => Command::Set { name: plain(variable), value: values.join(", "), is_local },
            }
        }
        Set::SetTimeZone { value, local } => {
            let value = value_text(value);
            match value.to_lowercase().as_str() {
                "local" | "default" => Command::Reset(Some("timezone".to_owned())),
                _ => Command::Set { name: "timezone".to_owned(), value, is_local: *local },
            }
        }
        Set::SetNames { charset_name, .. } => Command::Set {
            name: "client_encoding".to_owned(),
            value: charset_name.value.clone(),
            is_local: false,
        },
        // Whatever its modes: a transaction only reads, and each statement sees what is there.
        Set::SetTransaction { .. } => Command::Nothing("SET"),
        Set::SetRole { role_name: None, .. } => Command::Nothing("SET"),
        other => return refused(other),
    })
}

fn shown(variable: &[Ident]) -> Command {
    let words: Vec<String> = variable.iter().map(|word| word.value.to_lowercase()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["all"] => Command::ShowAll,
        ["time", "zone"] => Command::Show("timezone".to_owned()),
        ["transaction", "isolation", "level"] => Command::Show("transaction_isolation".to_owned()),
        ["session", "authorization"] => Command::Show("session_authorization".to_owned()),
        words => Command::Show(words.join(".")),
    }
}

/// The text of a value that is set: quoted, bare or a number.
fn value_text(value: &Expr) -> String {
    match value {
        Expr::Value(value) => match value.value.clone().into_string() {
            Some(text) => text,
            None => value.to_string(),
        },
        Expr::Identifier(name) => name.value.clone(),
        other => other.to_string(),
    }
}

fn cursor_name(name: &Ident) -> String {
    plain_ident(name)
}

fn plain(name: &ObjectName) -> String {
    let parts = name.0.iter().filter_map(|part| part.as_ident().map(plain_ident));
    parts.collect::<Vec<_>>().join(".")
}

/// A name as Postgres compares it.
fn plain_ident(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}
