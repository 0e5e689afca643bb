//! The live tables: what pipelines hold of sessions that are not over, asked when a query reads them.
//! Asking is left to `live/pipelines`.

mod pipelines;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::TableType;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use footfall_event::schema::LiveTable;
use futures::{TryStreamExt, stream};

pub use pipelines::Pipelines;
pub(crate) use pipelines::{Asker, Narrowed};

/// A live table in one query.
#[derive(Debug)]
pub(crate) struct LiveProvider {
    table: LiveTable,
    schema: SchemaRef,
    asker: Asker,
}

impl LiveProvider {
    pub(crate) fn new(table: LiveTable, asker: Asker) -> LiveProvider {
        LiveProvider { table, schema: table.schema(), asker }
    }
}

#[async_trait]
impl TableProvider for LiveProvider {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// The filters that pipelines know are checked here again: they may not apply them.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match equality(filter) {
            Some(("site" | "visitor_id", _)) => TableProviderFilterPushDown::Inexact,
            _ => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let asked = Asked {
            table: self.table,
            schema: self.schema.clone(),
            asker: self.asker.clone(),
            narrowed: narrowed(filters),
        };
        let schema = self.schema.clone();
        let exec = StreamingTableExec::try_new(
            schema,
            vec![Arc::new(asked)],
            projection,
            [],
            false,
            limit,
        )?;
        Ok(Arc::new(exec))
    }
}

/// The rows of a live table when the plan wants them.
#[derive(Debug)]
struct Asked {
    table: LiveTable,
    schema: SchemaRef,
    asker: Asker,
    narrowed: Narrowed,
}

impl PartitionStream for Asked {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (asker, narrowed, table) = (self.asker.clone(), self.narrowed.clone(), self.table);
        let rows = async move {
            let answers = asker.ask(table, &narrowed, context.memory_pool()).await?;
            let batches = answers.into_iter().flat_map(|answer| {
                // The memory counts as taken until the answer's last batch is given on.
                let (batches, memory) = (answer.batches, Arc::new(answer.memory));
                batches.into_iter().map(move |batch| (batch, memory.clone()))
            });
            Ok::<_, DataFusionError>(stream::iter(batches.map(|(batch, _memory)| Ok(batch))))
        };
        let rows = stream::once(rows).try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows))
    }
}

/// What of `filters` narrows the question.
fn narrowed(filters: &[Expr]) -> Narrowed {
    let value = |column: &str| {
        let mut values = filters.iter().filter_map(equality);
        values.find(|(name, _)| *name == column).map(|(_, value)| value.to_owned())
    };
    Narrowed { site: value("site"), visitor_id: value("visitor_id") }
}

/// The column and the text of `column = 'text'`.
fn equality(filter: &Expr) -> Option<(&str, &str)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else {
        return None;
    };
    match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), Expr::Literal(value, _))
        | (Expr::Literal(value, _), Expr::Column(column)) => {
            Some((column.name(), value.try_as_str().flatten()?))
        }
        _ => None,
    }
}
