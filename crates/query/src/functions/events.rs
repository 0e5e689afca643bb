//! Which rows of `events` a function reads: what its arguments `filter`, `include_bots`, `from` and `to`
//! come to.

use datafusion::common::ScalarValue;
use datafusion::sql::parser::DFParserBuilder;
use datafusion::sql::sqlparser::ast::{Expr, Value};

use super::arguments::Arguments;
use super::template::Template;
use crate::QueryError;

/// In 2262: DataFusion reads a literal time as nanoseconds first. No event lies behind it, or before its like.
const LITERAL_MAX_US: i64 = i64::MAX / 1_000;

/// ` AND …` of the arguments `filter` and `include_bots`.
pub(super) fn condition(
    arguments: &mut Arguments<'_>,
    template: &mut Template,
) -> Result<String, QueryError> {
    let mut condition = String::new();
    if !arguments.flag("include_bots")? {
        condition.push_str(" AND bot IS NULL");
    }
    if let Some(filter) = arguments.condition("filter")? {
        template.put("filter", filter);
        condition.push_str(" AND $filter");
    }
    Ok(condition)
}

/// Adds ` AND …` for events in `[from_us, to_us)`, by days too, so that only their files are read.
pub(super) fn between(
    from_us: Option<i64>,
    to_us: Option<i64>,
    condition: &mut String,
    template: &mut Template,
) -> Result<(), QueryError> {
    if let Some(from_us) = from_us {
        template.put_value("from", time(from_us))?;
        condition.push_str(" AND event_time >= $from AND event_date >= CAST($from AS DATE)");
    }
    if let Some(to_us) = to_us {
        template.put_value("to", time(to_us))?;
        condition.push_str(" AND event_time < $to AND event_date <= CAST($to AS DATE)");
    }
    Ok(())
}

/// A literal time, or the last there is.
pub(super) fn time(time_us: i64) -> ScalarValue {
    let time_us = time_us.clamp(-LITERAL_MAX_US, LITERAL_MAX_US);
    ScalarValue::TimestampMicrosecond(Some(time_us), Some("UTC".into()))
}

/// A condition of the configuration.
///
/// # Errors
/// `Engine` when it is no expression, which the configuration's check excludes.
pub(super) fn parse(condition: &str) -> Result<Expr, QueryError> {
    let parsed = DFParserBuilder::new(condition).build().and_then(|mut parser| parser.parse_expr());
    parsed.map(|parsed| parsed.expr).map_err(|error| QueryError::Engine {
        reason: format!("the configured condition `{condition}`: {error}"),
    })
}

/// A literal text.
pub(super) fn text(text: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.to_owned()).with_empty_span())
}
