//! The arguments of a function after FROM, as they stand in the statement: conditions stay SQL, what
//! must be a constant is computed.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use arrow::array::RecordBatchOptions;
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, DataFusionError, ScalarValue};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{ColumnarValue, Expr as Logical, ExprSchemable};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::sqlparser::ast::{
    Expr, ExprWithAlias, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Value, Visit,
    Visitor,
};
use footfall_event::schema::{Table, time_type};

use super::{Declared, duration, events};
use crate::diagnose::nearest;
use crate::format::type_name;
use crate::{QueryError, bind};

/// Whose events a function reads, and of which time.
pub(super) const EVENTS: &[&str] = &["from", "to", "filter", "include_bots"];

/// A function that stands after FROM.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signature {
    pub(super) name: &'static str,
    /// Arguments that are given by name, in groups that functions share.
    pub(super) named: &'static [&'static [&'static str]],
    /// A right call.
    pub(super) usage: &'static str,
}

/// The arguments of one call. What is read is taken out.
#[derive(Debug)]
pub(super) struct Arguments<'a> {
    signature: Signature,
    session: &'a SessionState,
    pub(super) declared: &'a Declared,
    pub(super) positional: Vec<Expr>,
    named: BTreeMap<String, Expr>,
}

impl<'a> Arguments<'a> {
    /// # Errors
    /// `Statement` for an unknown name, and for one that is given twice.
    pub(super) fn new(
        signature: Signature,
        args: Vec<FunctionArg>,
        session: &'a SessionState,
        declared: &'a Declared,
    ) -> Result<Self, QueryError> {
        let (positional, named_ones) = (Vec::new(), BTreeMap::new());
        let mut arguments = Self { signature, session, declared, positional, named: named_ones };
        for arg in args {
            match named(arg) {
                Ok((None, expression)) if arguments.named.is_empty() => {
                    arguments.positional.push(expression);
                }
                Ok((None, expression)) => {
                    let message =
                        format!("`{expression}` has no name, and stands behind what has one");
                    return Err(arguments.wrong(message));
                }
                Ok((Some(name), expression)) => arguments.put(name, expression)?,
                Err(arg) => return Err(arguments.wrong(format!("`{arg}` is no argument"))),
            }
        }
        Ok(arguments)
    }

    fn put(&mut self, name: String, expression: Expr) -> Result<(), QueryError> {
        let mut known = self.signature.named.iter().copied().flatten().copied();
        if !known.clone().any(|known| known == name) {
            let like = nearest(&name, known.by_ref());
            let meant = like.map(|like| format!(": did you mean `{like}`?")).unwrap_or_default();
            return Err(self.wrong(format!("there is no argument `{name}`{meant}")));
        }
        match self.named.insert(name.clone(), expression) {
            None => Ok(()),
            Some(_) => Err(self.wrong(format!("`{name}` is given twice"))),
        }
    }

    pub(super) fn wrong(&self, message: impl std::fmt::Display) -> QueryError {
        wrong(self.signature, &message.to_string())
    }

    /// A value over the columns of `events`, for example to group by.
    ///
    /// # Errors
    /// `Statement` if it is no value of one event that can be read as text.
    pub(super) fn value(&mut self, name: &str) -> Result<Option<Expr>, QueryError> {
        let Some(expression) = self.named.remove(name) else { return Ok(None) };
        if let Some(DataType::List(_) | DataType::Struct(_) | DataType::LargeList(_)) =
            self.type_of(&expression)?
        {
            return Err(self.wrong(format!("`{expression}` is no single value")));
        }
        Ok(Some(expression))
    }

    /// A condition over the columns of `events` that is given by name.
    ///
    /// # Errors
    /// As [`Arguments::step`].
    pub(super) fn condition(&mut self, name: &str) -> Result<Option<Expr>, QueryError> {
        let Some(expression) = self.named.remove(name) else { return Ok(None) };
        self.step(&expression).map(|(_, condition)| Some(condition))
    }

    /// The name and the condition of a step: a text names one that is declared.
    ///
    /// # Errors
    /// `Statement` if no such step is declared, or it is no condition of one event.
    pub(super) fn step(&self, expression: &Expr) -> Result<(String, Expr), QueryError> {
        let name = expression.to_string();
        // A statement that is only described: its columns are the same whatever the condition.
        if bind::is_placeholder(expression) {
            return Ok((name, Expr::Value(Value::Boolean(true).with_empty_span())));
        }
        let Some(text) = text_of(expression) else {
            return match self.type_of(expression)? {
                None | Some(DataType::Boolean | DataType::Null) => Ok((name, expression.clone())),
                Some(other) => Err(self
                    .wrong(format!("`{expression}` is {}, not true or false", type_name(&other)))),
            };
        };
        let steps = &self.declared.steps;
        match steps.iter().find(|step| step.name == text) {
            Some(step) => Ok((text.to_owned(), events::parse(&step.when)?)),
            None => {
                let meant = nearest(text, steps.iter().map(|step| step.name.as_str()))
                    .map(|like| format!(": did you mean '{like}'?"))
                    .unwrap_or_default();
                Err(self.wrong(format!("no step '{text}' is declared{meant}")))
            }
        }
    }

    /// The type of an expression over the columns of `events`; `None` where it has a placeholder, or is wrong in a
    /// way that the statement's own planning tells better.
    fn type_of(&self, expression: &Expr) -> Result<Option<DataType>, QueryError> {
        if expression.visit(&mut Subqueries).is_break() {
            return Err(self.wrong(format!(
                "`{expression}` asks another query: only the columns of an event can be named"
            )));
        }
        let Ok(events) = DFSchema::try_from_qualified_schema("events", &Table::Events.schema())
        else {
            return Ok(None);
        };
        let sql = ExprWithAlias { expr: expression.clone(), alias: None };
        let Ok(planned) = self.session.create_logical_expr_from_sql_expr(sql, &events) else {
            return Ok(None);
        };
        let is_of_many = |part: &Logical| {
            Ok(matches!(part, Logical::AggregateFunction(_) | Logical::WindowFunction(_)))
        };
        if planned.exists(is_of_many).unwrap_or(false) {
            return Err(self.wrong(format!("`{expression}` is of many events, not of one")));
        }
        Ok(planned.get_type(&events).ok())
    }

    /// # Errors
    /// `Statement` if it is no duration, or not longer than 0.
    pub(super) fn duration_us(&mut self, name: &str) -> Result<Option<i64>, QueryError> {
        let Some(value) = self.constant(name)? else { return Ok(None) };
        match duration::micros(&value) {
            Ok(micros) if micros > 0 => Ok(Some(micros)),
            Ok(_) => Err(self.wrong(format!("`{name}` is not longer than 0"))),
            Err(why) => Err(self.wrong(format!("`{name}`: {why}"))),
        }
    }

    /// # Errors
    /// `Statement` if it is no whole number in the range.
    pub(super) fn whole(
        &mut self,
        name: &str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Result<Option<i64>, QueryError> {
        let Some(value) = self.constant(name)? else { return Ok(None) };
        let data_type = value.data_type();
        // A cast would cut what is not whole.
        let is_whole = data_type.is_integer() || data_type.is_string();
        match value.cast_to(&DataType::Int64).ok().filter(|_| is_whole) {
            Some(ScalarValue::Int64(Some(whole))) if range.contains(&whole) => Ok(Some(whole)),
            _ => {
                let (least, most) = (range.start(), range.end());
                Err(self.wrong(format!(
                    "`{name}` is {value}, not a whole number from {least} to {most}"
                )))
            }
        }
    }

    /// # Errors
    /// `Statement` if it is neither true nor false.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, QueryError> {
        match self.constant(name)? {
            None => Ok(false),
            Some(ScalarValue::Boolean(Some(flag))) => Ok(flag),
            Some(other) => Err(self.wrong(format!("`{name}` is {other}, not true or false"))),
        }
    }

    /// # Errors
    /// `Statement` if it is no text.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, QueryError> {
        match self.constant(name)? {
            None => Ok(None),
            Some(value) => match value.try_as_str().flatten() {
                Some(text) => Ok(Some(text.to_owned())),
                None => Err(self.wrong(format!("`{name}` is {value}, not a text"))),
            },
        }
    }

    /// One of `choices`, the first if none is named.
    ///
    /// # Errors
    /// `Statement` if it is none of them.
    pub(super) fn choice<T: Copy>(
        &mut self,
        name: &str,
        choices: &[(&str, T)],
    ) -> Result<T, QueryError> {
        let Some(text) = self.text(name)? else { return Ok(choices[0].1) };
        let chosen = choices.iter().find(|(choice, _)| *choice == text);
        chosen.map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<String> = choices.iter().map(|(name, _)| format!("'{name}'")).collect();
            self.wrong(format!("`{name}` is '{text}': there are {}", names.join(", ")))
        })
    }

    fn time_us(&mut self, name: &str) -> Result<Option<i64>, QueryError> {
        let Some(value) = self.constant(name)? else { return Ok(None) };
        // A cast would take a number for microseconds.
        let is_time = !value.data_type().is_numeric();
        match value.cast_to(&time_type()).ok().filter(|_| is_time) {
            Some(ScalarValue::TimestampMicrosecond(Some(micros), _)) => Ok(Some(micros)),
            _ => Err(self.wrong(format!(
                "`{name}` is {value}, not a time such as '2026-11-01' or '2026-11-01T08:00:00Z'"
            ))),
        }
    }

    /// `from` and `to`, in microseconds UTC.
    ///
    /// # Errors
    /// `Statement` if one is no time, or they hold nothing between them.
    pub(super) fn range_us(&mut self) -> Result<(Option<i64>, Option<i64>), QueryError> {
        let (from_us, to_us) = (self.time_us("from")?, self.time_us("to")?);
        match (from_us, to_us) {
            (Some(from_us), Some(to_us)) if from_us >= to_us => {
                Err(self.wrong("`from` is not before `to`"))
            }
            range => Ok(range),
        }
    }

    /// # Errors
    /// `Statement` if anything stands without its name; `names` are those that it may want.
    pub(super) fn require_names(&self, names: &str) -> Result<(), QueryError> {
        match self.positional.first() {
            None => Ok(()),
            Some(first) => Err(self.wrong(format!("`{first}` has no name: say {names}"))),
        }
    }

    fn constant(&mut self, name: &str) -> Result<Option<ScalarValue>, QueryError> {
        let Some(expression) = self.named.remove(name) else { return Ok(None) };
        // A statement that is only described: its columns are the same without the value.
        if bind::is_placeholder(&expression) {
            return Ok(None);
        }
        let shown = expression.to_string();
        let value = constant(self.session, expression)
            .map_err(|_| self.wrong(format!("`{name}` is `{shown}`, which is no constant")))?;
        if value.is_null() {
            return Err(self.wrong(format!("`{name}` is NULL")));
        }
        Ok(Some(value))
    }

    /// The arguments of the call `name(…)` that stands as an argument itself.
    pub(super) fn inner(
        &self,
        signature: Signature,
        expression: &Expr,
    ) -> Option<Result<Arguments<'a>, QueryError>> {
        let Expr::Function(function) = expression else { return None };
        if !function.name.to_string().eq_ignore_ascii_case(signature.name) {
            return None;
        }
        let FunctionArguments::List(list) = &function.args else { return None };
        Some(Arguments::new(signature, list.args.clone(), self.session, self.declared))
    }
}

pub(super) fn wrong(signature: Signature, message: &str) -> QueryError {
    QueryError::Statement {
        message: format!("{}(): {message}", signature.name),
        place: None,
        hint: Some(format!("such as {}", signature.usage)),
    }
}

fn named(arg: FunctionArg) -> Result<(Option<String>, Expr), FunctionArg> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Ok((None, expression)),
        FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expression), .. } => {
            Ok((Some(name.value.to_lowercase()), expression))
        }
        FunctionArg::ExprNamed {
            name: Expr::Identifier(name),
            arg: FunctionArgExpr::Expr(expression),
            ..
        } => Ok((Some(name.value.to_lowercase()), expression)),
        other => Err(other),
    }
}

/// The text that an expression is, if it is one.
pub(super) fn text_of(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text)
            | Value::EscapedStringLiteral(text)
            | Value::UnicodeStringLiteral(text) => Some(text),
            Value::DollarQuotedString(text) => Some(&text.value),
            _ => None,
        },
        _ => None,
    }
}

/// Stops at a query within an expression.
struct Subqueries;

impl Visitor for Subqueries {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

fn constant(session: &SessionState, sql: Expr) -> Result<ScalarValue, DataFusionError> {
    let (nothing, schema) = (Schema::empty(), DFSchema::empty());
    let sql = ExprWithAlias { expr: sql, alias: None };
    let expression = session.create_logical_expr_from_sql_expr(sql, &schema)?;
    // It knows when the query began, for now().
    let context = SimplifyContext::builder()
        .with_config_options(session.config_options().clone())
        .with_query_execution_start_time(session.execution_props().query_execution_start_time)
        .build();
    let simplifier = ExprSimplifier::new(context);
    let expression = simplifier.simplify(simplifier.coerce(expression, &schema)?)?;
    let expression = session.create_physical_expr(expression, &schema)?;
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(nothing.into(), Vec::new(), &options)?;
    match expression.evaluate(&row)? {
        ColumnarValue::Scalar(value) => Ok(value),
        ColumnarValue::Array(values) => ScalarValue::try_from_array(&values, 0),
    }
}
