//! A statement that was looked at and may run later, with values for its placeholders.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::execution::session_state::SessionState;
use datafusion::sql::parser::Statement;

use crate::engine::{plan, read};
use crate::plain::plain_schema;
use crate::tables::Tables;
use crate::{QueryError, bind};

/// One statement. It is planned again when it runs, for its values decide on the plan.
#[derive(Clone, Debug)]
pub struct Prepared {
    text: String,
    statement: Statement,
    columns: SchemaRef,
    parameters: Vec<(String, Option<DataType>)>,
}

impl Prepared {
    pub(crate) async fn plan(
        template: &SessionState,
        tables: &Arc<Tables>,
        text: String,
    ) -> Result<Prepared, QueryError> {
        let statement = read(&text)?;
        let (_, plan) = plan(template, tables, statement.clone(), &text).await?;
        let mut types: HashMap<String, Option<DataType>> =
            plan.get_parameter_types().unwrap_or_default();
        let mut names: Vec<String> = bind::placeholders(&statement).into_iter().collect();
        // $10 follows $9.
        names.sort_by_key(|name| (name.len(), name.clone()));
        let parameters = names.into_iter().map(|name| {
            let data_type = types.remove(&name).flatten();
            (name, data_type)
        });
        let columns = plain_schema(plan.schema().as_arrow());
        Ok(Prepared { columns, parameters: parameters.collect(), statement, text })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The columns of the answer, in plain types.
    pub fn columns(&self) -> &SchemaRef {
        &self.columns
    }

    /// The placeholders, `$1`, `$2`, …, with the type that each wants, where that is known.
    pub fn parameters(&self) -> &[(String, Option<DataType>)] {
        &self.parameters
    }
}
