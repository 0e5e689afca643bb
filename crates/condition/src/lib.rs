//! Conditions: SQL boolean expressions over one event's own columns, evaluated a batch at a time. What
//! they are asked for (steps, needs, conversion) is left to those who declare them.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, SchemaError};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, Volatility};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::prelude::SessionContext;
use footfall_event::schema::Table;

/// Columns of `events` that say how an event was kept, not what it is.
const NOT_THE_EVENTS_OWN: [&str; 7] =
    ["session_id", "late", "overflow", "appended_at", "log", "log_partition", "log_offset"];

/// The columns a condition may name.
static COLUMNS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let schema = Table::Events.schema();
    let own = schema.fields().iter().filter(|f| !NOT_THE_EVENTS_OWN.contains(&f.name().as_str()));
    Arc::new(Schema::new(own.cloned().collect::<Vec<_>>()))
});

/// DataFusion's own functions and settings.
static CONTEXT: LazyLock<SessionContext> = LazyLock::new(SessionContext::new);

/// A condition, compiled: an expression over the columns it names and no other, as `AND` filters all that
/// it is given.
#[derive(Clone, Debug)]
pub struct Condition {
    expression: Arc<dyn PhysicalExpr>,
    places: Vec<usize>,
    schema: SchemaRef,
    may_fail: bool,
}

impl Condition {
    /// # Errors
    /// A sentence: what is wrong, and for an unknown column the nearest one.
    pub fn compile(sql: &str) -> Result<Condition, String> {
        let schema =
            DFSchema::try_from(COLUMNS.as_ref().clone()).map_err(|error| first_line(&error))?;
        let expression = CONTEXT.parse_sql_expr(sql, &schema).map_err(|error| explain(&error))?;
        refuse_unfit(&expression)?;
        match expression.get_type(&schema).map_err(|error| explain(&error))? {
            DataType::Boolean => {}
            other => return Err(format!("`{sql}` is {other}, not true or false")),
        }
        let may_fail = !cannot_fail(&expression, &schema);
        let expression = CONTEXT.create_physical_expr(expression, &schema);
        expression
            .and_then(|expression| Condition::narrowed(expression, may_fail))
            .map_err(|error| explain(&error))
    }

    fn narrowed(
        expression: Arc<dyn PhysicalExpr>,
        may_fail: bool,
    ) -> Result<Condition, DataFusionError> {
        let events = Table::Events.schema();
        let named = collect_columns(&expression);
        let places = named.iter().map(|column| events.index_of(column.name()));
        let mut places = places.collect::<Result<Vec<_>, _>>()?;
        places.sort_unstable();
        let schema: SchemaRef = Arc::new(events.project(&places)?);
        let expression = reassign_expr_columns(expression, &schema)?;
        Ok(Condition { expression, places, schema, may_fail })
    }

    /// Where the columns that it names stand in the schema of `events`, ascending.
    pub fn places(&self) -> &[usize] {
        &self.places
    }

    /// The columns that it names, in that order.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Whether there may be events that it fails for, such as one with a text that is no number.
    pub fn may_fail(&self) -> bool {
        self.may_fail
    }

    /// Which rows of `columns`, those of [`Condition::schema`], fulfil it. NULL counts as not, and so does
    /// a failure, such as a division by zero: one event must not stop the others.
    pub fn fulfilled(&self, columns: &RecordBatch) -> BooleanBuffer {
        match self.evaluate(columns) {
            Ok(fulfilled) => is_true(&fulfilled),
            // The row that fails is among these, whatever else the batch holds.
            Err(_) => {
                let row = |row| self.evaluate(&columns.slice(row, 1));
                let is_fulfilled = |at| row(at).is_ok_and(|row| is_true(&row).value(0));
                BooleanBuffer::collect_bool(columns.num_rows(), is_fulfilled)
            }
        }
    }

    fn evaluate(&self, columns: &RecordBatch) -> Result<BooleanArray, DataFusionError> {
        let value = self.expression.evaluate(columns)?.into_array(columns.num_rows())?;
        Ok(value.as_boolean().clone())
    }
}

fn is_true(fulfilled: &BooleanArray) -> BooleanBuffer {
    match fulfilled.nulls() {
        Some(nulls) => fulfilled.values() & nulls.inner(),
        None => fulfilled.values().clone(),
    }
}

/// Whether the expression is made of columns, literals of their type, and what always has an answer. Of
/// sides of other types one is cast, which may fail unless both are numbers.
fn cannot_fail(expression: &Expr, schema: &DFSchema) -> bool {
    use Operator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or};
    let is_alike = |one: &Expr, other: &Expr| match (one.get_type(schema), other.get_type(schema)) {
        (Ok(DataType::Null), Ok(_)) | (Ok(_), Ok(DataType::Null)) => true,
        (Ok(one), Ok(other)) => one == other || one.is_numeric() && other.is_numeric(),
        _ => false,
    };
    let mut cannot = true;
    let walked = expression.apply(|part| {
        cannot = match part {
            Expr::Column(_) | Expr::Literal(..) | Expr::Not(_) | Expr::Alias(_) => true,
            Expr::IsNull(_) | Expr::IsNotNull(_) => true,
            Expr::IsTrue(_) | Expr::IsFalse(_) | Expr::IsUnknown(_) => true,
            Expr::IsNotTrue(_) | Expr::IsNotFalse(_) | Expr::IsNotUnknown(_) => true,
            Expr::BinaryExpr(sides) => {
                let compares = matches!(sides.op, And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq);
                compares && is_alike(&sides.left, &sides.right)
            }
            Expr::Like(like) => is_alike(&like.expr, &like.pattern),
            Expr::InList(list) => list.list.iter().all(|one| is_alike(&list.expr, one)),
            Expr::Between(range) => {
                is_alike(&range.expr, &range.low) && is_alike(&range.expr, &range.high)
            }
            _ => false,
        };
        Ok(if cannot { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    walked.is_ok() && cannot
}

/// A condition must say the same of an event whenever and wherever it is asked.
fn refuse_unfit(expression: &Expr) -> Result<(), String> {
    let mut unfit = None;
    let walked = expression.apply(|part| {
        unfit = match part {
            Expr::ScalarFunction(call)
                if call.func.signature().volatility != Volatility::Immutable =>
            {
                Some(format!("`{}` may answer differently each time", call.func.name()))
            }
            Expr::AggregateFunction(_) | Expr::WindowFunction(_) => {
                Some("an aggregate looks at more than one event".to_owned())
            }
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) => {
                Some("a query within a condition looks at more than one event".to_owned())
            }
            _ => None,
        };
        let go_on =
            if unfit.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue };
        Ok(go_on)
    });
    walked.map_err(|error| first_line(&error))?;
    unfit.map_or(Ok(()), |reason| {
        Err(format!("{reason}; a condition uses the event's own columns only"))
    })
}

fn explain(error: &DataFusionError) -> String {
    let DataFusionError::SchemaError(inner, _) = error.find_root() else {
        return first_line(error);
    };
    let SchemaError::FieldNotFound { field, .. } = inner.as_ref() else { return first_line(error) };
    let name = field.name.as_str();
    if NOT_THE_EVENTS_OWN.contains(&name) {
        return format!("column `{name}` says how an event was kept; a condition may not use it");
    }
    let names = COLUMNS.fields().iter().map(|known| known.name().as_str());
    let nearest = names
        .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
    format!("unknown column `{name}`: did you mean `{}`?", nearest.unwrap_or_default())
}

fn first_line(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    text.lines().next().unwrap_or_default().to_owned()
}
