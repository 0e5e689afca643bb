//! Values for the placeholders of a statement, put into its syntax tree: what a value holds is never
//! read as SQL.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, cast};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr as Sql, Statement as SqlStatement, Value, Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::unparser::expr_to_sql;

use crate::QueryError;

/// Values by the names of their placeholders, `$1` or `$name`.
#[derive(Clone, Debug, Default)]
pub struct Parameters(HashMap<String, ScalarValue>);

impl Parameters {
    /// Values for `$1`, `$2`, ….
    pub fn numbered(values: impl IntoIterator<Item = ScalarValue>) -> Parameters {
        let numbered = values.into_iter().enumerate();
        Parameters(numbered.map(|(index, value)| (format!("${}", index + 1), value)).collect())
    }

    /// Values for `$name`, by name.
    pub fn named(values: impl IntoIterator<Item = (String, ScalarValue)>) -> Parameters {
        Parameters(values.into_iter().map(|(name, value)| (format!("${name}"), value)).collect())
    }
}

/// `statement` with a value in the place of each placeholder.
///
/// # Errors
/// `Statement` for a placeholder without a value, or a value without a placeholder.
pub(crate) fn bind(statement: &mut Statement, parameters: &Parameters) -> Result<(), QueryError> {
    let names = placeholders(statement);
    if let Some(name) = parameters.0.keys().find(|name| !names.contains(*name)) {
        return Err(wrong(format!("there is a value for {name}, but no {name} in the statement")));
    }
    visit(statement, &mut Binding { parameters, is_complete: true })
}

/// `statement` with a value in the place of each placeholder that has one.
///
/// # Errors
/// `Statement` for a value that SQL has no words for.
pub(crate) fn bind_known(
    statement: &mut Statement,
    parameters: &Parameters,
) -> Result<(), QueryError> {
    visit(statement, &mut Binding { parameters, is_complete: false })
}

fn visit(statement: &mut Statement, binding: &mut Binding<'_>) -> Result<(), QueryError> {
    match sql_mut(statement).map(|sql| sql.visit(binding)) {
        Some(ControlFlow::Break(error)) => Err(error),
        _ => Ok(()),
    }
}

/// Whether `expression` is a placeholder that has no value yet.
pub(crate) fn is_placeholder(expression: &Sql) -> bool {
    placeholder(expression).is_some()
}

/// The names of a statement's placeholders.
pub(crate) fn placeholders(statement: &Statement) -> BTreeSet<String> {
    let mut names = Names::default();
    if let Some(sql) = sql(statement) {
        let _ = sql.visit(&mut names);
    }
    names.0
}

#[derive(Default)]
struct Names(BTreeSet<String>);

impl Visitor for Names {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &Sql) -> ControlFlow<()> {
        if let Some(name) = placeholder(expression) {
            self.0.insert(name.to_owned());
        }
        ControlFlow::Continue(())
    }
}

struct Binding<'a> {
    parameters: &'a Parameters,
    /// Whether each placeholder must have a value.
    is_complete: bool,
}

impl VisitorMut for Binding<'_> {
    type Break = QueryError;

    fn post_visit_expr(&mut self, expression: &mut Sql) -> ControlFlow<QueryError> {
        let Some(name) = placeholder(expression) else { return ControlFlow::Continue(()) };
        let value = match self.parameters.0.get(name) {
            Some(value) => value,
            None if self.is_complete => {
                return ControlFlow::Break(wrong(format!("there is no value for {name}")));
            }
            None => return ControlFlow::Continue(()),
        };
        match expr_to_sql(&literal(value)) {
            Ok(literal) => *expression = literal,
            Err(error) => {
                return ControlFlow::Break(wrong(format!("the value for {name}: {error}")));
            }
        }
        ControlFlow::Continue(())
    }
}

/// The value as it is written. What would be read back as another type is cast to its own: a small number as
/// a large one, a decimal as a float.
fn literal(value: &ScalarValue) -> Expr {
    let written = |value: ScalarValue| Expr::Literal(value, None);
    let data_type = value.data_type();
    match (value.is_null(), &data_type) {
        (true, DataType::Null) => written(value.clone()),
        (true, _) => cast(written(ScalarValue::Null), data_type),
        (false, kept) if is_read_back(kept) => written(value.clone()),
        (false, _) => match value.cast_to(&DataType::Utf8) {
            Ok(text) => cast(written(text), data_type),
            Err(_) => written(value.clone()),
        },
    }
}

/// Whether a value of the type is one of it again when it is read as SQL, or has no words as a text.
fn is_read_back(data_type: &DataType) -> bool {
    use DataType::{Binary, Boolean, FixedSizeList, Float64, Int64, LargeList, List, Struct, Utf8};
    matches!(
        data_type,
        Boolean
            | Int64
            | Float64
            | Utf8
            | Binary
            | List(_)
            | LargeList(_)
            | FixedSizeList(..)
            | Struct(_)
    )
}

/// The name of the placeholder that `expression` is.
pub(crate) fn placeholder(expression: &Sql) -> Option<&str> {
    match expression {
        Sql::Value(value) => match &value.value {
            Value::Placeholder(name) => Some(name),
            _ => None,
        },
        _ => None,
    }
}

fn sql(statement: &Statement) -> Option<&SqlStatement> {
    match statement {
        Statement::Explain(explain) => sql(&explain.statement),
        Statement::Statement(sql) => Some(sql),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => None,
    }
}

pub(crate) fn sql_mut(statement: &mut Statement) -> Option<&mut SqlStatement> {
    match statement {
        Statement::Explain(explain) => sql_mut(&mut explain.statement),
        Statement::Statement(sql) => Some(sql),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => None,
    }
}

fn wrong(message: String) -> QueryError {
    let hint = "values stand in `parameters`, for $1, $2, … as a list, for $name as an object";
    QueryError::Statement { message, place: None, hint: Some(hint.to_owned()) }
}
