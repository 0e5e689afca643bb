//! Conditions: SQL boolean expressions over an event's own columns, evaluated a batch at a time to
//! one bit an event.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, SchemaError};
use datafusion::logical_expr::{Expr, ExprSchemable, Volatility};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::prelude::SessionContext;
use footfall_event::schema::Table;
use footfall_sessionizer::{Bits, Rules};

/// Columns of `events` that say how an event was kept, not what it is.
const NOT_THE_EVENTS_OWN: [&str; 7] =
    ["session_id", "late", "overflow", "appended_at", "log", "log_partition", "log_offset"];

/// The columns a condition may name.
static COLUMNS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let schema = Table::Events.schema();
    let own = schema.fields().iter().filter(|f| !NOT_THE_EVENTS_OWN.contains(&f.name().as_str()));
    Arc::new(Schema::new(own.cloned().collect::<Vec<_>>()))
});

/// The conditions of a set of rules, compiled, in the order of their bits.
#[derive(Debug)]
pub struct Conditions(Vec<Condition>);

/// An expression over the columns it names and no other: `AND` filters all that it is given.
#[derive(Debug)]
struct Condition {
    expression: Arc<dyn PhysicalExpr>,
    /// Where its columns stand in the `events` schema.
    columns: Vec<usize>,
}

/// Checks one condition.
///
/// # Errors
/// A sentence: what is wrong, and for an unknown column the nearest one.
pub fn check_condition(sql: &str) -> Result<(), String> {
    compile(sql).map(|_| ())
}

impl Conditions {
    /// # Errors
    /// The first condition that does not compile, by the name that [`Rules::expressions`] gives it.
    pub fn compile(rules: &Rules) -> Result<Conditions, String> {
        let compiled = rules
            .expressions()
            .into_iter()
            .map(|(name, sql)| compile(sql).map_err(|message| format!("{name}: {message}")));
        Ok(Conditions(compiled.collect::<Result<_, _>>()?))
    }

    /// Which conditions each row of the `events` schema fulfils. NULL counts as not, and so does a
    /// failure, such as a division by zero: one event must not stop the others.
    ///
    /// # Errors
    /// `ArrowError` when `events` lacks columns.
    pub fn evaluate(&self, events: &RecordBatch) -> Result<Vec<Bits>, ArrowError> {
        let mut bits = vec![Bits::default(); events.num_rows()];
        for (number, condition) in self.0.iter().enumerate() {
            let columns = events.project(&condition.columns)?;
            let expression = condition.expression.as_ref();
            match fulfilled(expression, &columns) {
                Ok(array) => set_bits(&mut bits, number, array.as_boolean()),
                // The row that fails is among these, whatever else the batch holds.
                Err(_) => {
                    for (row, bits) in bits.iter_mut().enumerate() {
                        if let Ok(array) = fulfilled(expression, &columns.slice(row, 1)) {
                            set_bits(std::slice::from_mut(bits), number, array.as_boolean());
                        }
                    }
                }
            }
        }
        Ok(bits)
    }
}

fn fulfilled(
    expression: &dyn PhysicalExpr,
    columns: &RecordBatch,
) -> Result<ArrayRef, DataFusionError> {
    expression.evaluate(columns)?.into_array(columns.num_rows())
}

fn set_bits(bits: &mut [Bits], number: usize, fulfilled: &BooleanArray) {
    let values = match fulfilled.nulls() {
        Some(nulls) => fulfilled.values() & nulls.inner(),
        None => fulfilled.values().clone(),
    };
    for row in values.set_indices() {
        bits[row].set(number);
    }
}

fn compile(sql: &str) -> Result<Condition, String> {
    let context = SessionContext::new();
    let schema =
        DFSchema::try_from(COLUMNS.as_ref().clone()).map_err(|error| first_line(&error))?;
    let expression = context.parse_sql_expr(sql, &schema).map_err(|error| explain(&error))?;
    refuse_unfit(&expression)?;
    match expression.get_type(&schema).map_err(|error| explain(&error))? {
        DataType::Boolean => {}
        other => return Err(format!("`{sql}` is {other}, not true or false")),
    }
    let expression = context.create_physical_expr(expression, &schema);
    narrowed(expression.map_err(|error| explain(&error))?).map_err(|error| explain(&error))
}

fn narrowed(expression: Arc<dyn PhysicalExpr>) -> Result<Condition, DataFusionError> {
    let events = Table::Events.schema();
    let named = collect_columns(&expression);
    let columns = named.iter().map(|column| events.index_of(column.name()));
    let mut columns = columns.collect::<Result<Vec<_>, _>>()?;
    columns.sort_unstable();
    let own: SchemaRef = Arc::new(events.project(&columns)?);
    Ok(Condition { expression: reassign_expr_columns(expression, &own)?, columns })
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
