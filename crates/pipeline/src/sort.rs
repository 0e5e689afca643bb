//! Rows sorted as they come, by DataFusion: on disk when memory does not do.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::SortExpr;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::stream::{BoxStream, empty};
use futures::{Stream, StreamExt};
use tokio::sync::Mutex;

use crate::PipelineError;
use crate::scan::{context, failed};

/// The rows of `batches`, which are of `schema`, in `order`.
///
/// # Errors
/// `Lake` when the disk does not take what memory does not hold.
pub async fn sorted(
    batches: impl Stream<Item = Result<RecordBatch, DataFusionError>> + Send + 'static,
    schema: SchemaRef,
    order: Vec<SortExpr>,
) -> Result<SendableRecordBatchStream, PipelineError> {
    let incoming = Incoming { batches: Mutex::new(Some(batches.boxed())), schema: schema.clone() };
    let table = StreamingTable::try_new(schema, vec![Arc::new(incoming)]).map_err(failed)?;
    let rows = context()?.read_table(Arc::new(table)).and_then(|rows| rows.sort(order));
    rows.map_err(failed)?.execute_stream().await.map_err(failed)
}

struct Incoming {
    batches: Mutex<Option<BoxStream<'static, Result<RecordBatch, DataFusionError>>>>,
    schema: SchemaRef,
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Incoming")
    }
}

impl PartitionStream for Incoming {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        // The plan is executed once; a second run would find nothing.
        let batches = self.batches.try_lock().ok().and_then(|mut batches| batches.take());
        let batches = batches.unwrap_or_else(|| empty().boxed());
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches))
    }
}
