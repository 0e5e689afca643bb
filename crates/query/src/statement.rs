//! From a text to the one statement in it, if that only reads. Planning it is left to `engine`.

use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::Statement as Sql;
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::diagnose::diagnose;
use crate::{Place, QueryError};

/// The one statement in `text`, of a kind that reads.
///
/// # Errors
/// `Statement`: no SQL, no or several statements, or one that would write or change settings.
pub(crate) fn parse(text: &str) -> Result<Statement, QueryError> {
    let parsed =
        DFParserBuilder::new(text).build().and_then(|mut parser| parser.parse_statements());
    let mut statements = parsed.map_err(|error| diagnose(&error, text))?;
    let Some(statement) = statements.pop_front() else {
        return Err(wrong("there is no statement", None));
    };
    if !statements.is_empty() {
        return Err(wrong("one statement a request: there are several", second_statement(text)));
    }
    require_reading(&statement, text)?;
    Ok(statement)
}

/// # Errors
/// `Statement` for one that would write or change settings.
pub(crate) fn require_reading(statement: &Statement, text: &str) -> Result<(), QueryError> {
    if reads(statement) { Ok(()) } else { Err(refused(text)) }
}

/// Refuses what only the plan shows: a query with a writing statement inside it, SELECT INTO.
///
/// # Errors
/// `Statement`.
pub(crate) fn check_plan(plan: &LogicalPlan, text: &str) -> Result<(), QueryError> {
    let read_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    read_only.verify_plan(plan).map_err(|_| refused(text))
}

/// The tokens of `text` that are no space or comment; empty where it is no SQL.
pub(crate) fn tokens(text: &str) -> Vec<TokenWithSpan> {
    tokens_in(&GenericDialect {}, text)
}

/// [`tokens`] in a dialect.
pub(crate) fn tokens_in(dialect: &dyn Dialect, text: &str) -> Vec<TokenWithSpan> {
    let tokens = Tokenizer::new(dialect, text).tokenize_with_location();
    let mut tokens = tokens.unwrap_or_default();
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
    tokens
}

/// The place where `token` begins.
pub(crate) fn place(text: &str, token: &TokenWithSpan) -> Place {
    let start = token.span.start;
    Place::at(text, start.line as usize, start.column as usize)
}

fn reads(statement: &Statement) -> bool {
    match statement {
        Statement::Explain(explain) => reads(&explain.statement),
        Statement::Statement(sql) => match sql.as_ref() {
            Sql::Explain { statement, .. } => matches!(statement.as_ref(), Sql::Query(_)),
            sql => matches!(
                sql,
                Sql::Query(_)
                    | Sql::ExplainTable { .. }
                    | Sql::ShowTables { .. }
                    | Sql::ShowColumns { .. }
                    | Sql::ShowFunctions { .. }
                    | Sql::ShowVariable { .. }
                    | Sql::ShowCreate { .. }
            ),
        },
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => false,
    }
}

fn refused(text: &str) -> QueryError {
    let tokens = tokens(text);
    let word = tokens.first().map_or(String::new(), |token| token.token.to_string().to_uppercase());
    let message = format!(
        "only queries run here (SELECT, WITH, VALUES, EXPLAIN, SHOW, DESCRIBE), this {word} statement \
         does not: the tables are written by the pipeline alone, and settings are the server's"
    );
    wrong(&message, tokens.first().map(|token| place(text, token)))
}

fn second_statement(text: &str) -> Option<Place> {
    let mut tokens = tokens(text).into_iter().skip_while(|token| token.token == Token::SemiColon);
    let mut rest = tokens.by_ref().skip_while(|token| token.token != Token::SemiColon);
    rest.find(|token| token.token != Token::SemiColon).map(|token| place(text, &token))
}

fn wrong(message: &str, place: Option<Place>) -> QueryError {
    QueryError::Statement { message: message.to_owned(), place, hint: None }
}
