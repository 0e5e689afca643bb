//! Conditions of the configuration as they stand in SQL. For the pipeline one that fails for an event, as
//! where a text is no number, is not fulfilled by it; so it must be where history is asked.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use footfall_condition::Condition;

use super::Declared;

/// A condition that may fail, as a function of the columns that it names.
#[derive(Debug)]
struct DeclaredCondition {
    name: String,
    condition: Condition,
    signature: Signature,
}

/// Makes the conditions of `declared` that may fail known to `session`.
pub(super) fn register(session: &mut SessionState, declared: &Declared) -> Result<()> {
    for sql in declared.conditions() {
        if let Some(condition) = that_may_fail(sql) {
            let (name, signature) = (name(sql), Signature::user_defined(Volatility::Immutable));
            let function = DeclaredCondition { name, condition, signature };
            session.register_udf(Arc::new(ScalarUDF::new_from_impl(function)))?;
        }
    }
    Ok(())
}

/// How the condition is written in a query: as it stands, which can be looked into, or as a call.
pub(super) fn sql(condition: &str) -> String {
    let Some(compiled) = that_may_fail(condition) else { return format!("({condition}\n)") };
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let columns = compiled.schema().fields().iter().map(|column| quoted(column.name()));
    format!("{}({})", quoted(&name(condition)), columns.collect::<Vec<_>>().join(", "))
}

/// One that does not compile is left to the query to say.
fn that_may_fail(condition: &str) -> Option<Condition> {
    Condition::compile(condition).ok().filter(Condition::may_fail)
}

fn name(condition: &str) -> String {
    format!("condition {condition}")
}

impl PartialEq for DeclaredCondition {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for DeclaredCondition {}

impl std::hash::Hash for DeclaredCondition {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for DeclaredCondition {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Those of `events`.
    fn coerce_types(&self, _: &[DataType]) -> Result<Vec<DataType>> {
        let columns = self.condition.schema().fields().iter();
        Ok(columns.map(|column| column.data_type().clone()).collect())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let columns = args.args.iter().map(|column| column.to_array(rows));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let columns = RecordBatch::try_new_with_options(
            self.condition.schema().clone(),
            columns.collect::<Result<_>>()?,
            &options,
        )?;
        let fulfilled = BooleanArray::new(self.condition.fulfilled(&columns), None);
        Ok(ColumnarValue::Array(Arc::new(fulfilled)))
    }
}
