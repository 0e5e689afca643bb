//! The rows of a load in the order of the fold: visitor by visitor, each in event order. Sorted by
//! DataFusion, on disk when memory does not do.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::SortExpr;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext, col, lit};
use footfall_event::schema::Table;
use footfall_lake::Lake;
use futures::StreamExt;
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::existing::{failed, plain, table};
use crate::PipelineError;

/// Memory of the sort before it goes to disk, in bytes.
const SORT_BYTES_MAX: usize = 512 * 1024 * 1024;
const BATCH_ROWS: usize = 8_192;

/// Rows of the `events` schema, ordered by site, visitor, event time, seq, id.
pub struct Sorted {
    stream: SendableRecordBatchStream,
}

impl Sorted {
    /// The rows of a load that stand in `events` already.
    ///
    /// # Errors
    /// `Lake`.
    pub async fn standing(lake: &Lake, log: &str) -> Result<Sorted, PipelineError> {
        let rows = table(&context()?, lake, Table::Events).await?;
        let rows = rows.filter(col("log").eq(lit(log))).map_err(failed)?;
        let columns: Vec<String> =
            Table::Events.schema().fields().iter().map(|f| f.name().clone()).collect();
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let rows = rows.select_columns(&columns).map_err(failed)?;
        ordered(rows).await
    }

    /// # Errors
    /// `Lake`.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, PipelineError> {
        let Some(batch) = self.stream.next().await else { return Ok(None) };
        let batch = batch.map_err(failed)?;
        plain(&batch, &Table::Events.schema()).map(Some)
    }
}

/// Sorts batches of the `events` schema as they come.
///
/// # Errors
/// `Lake` when the disk does not take what memory does not hold.
pub async fn sort(batches: mpsc::Receiver<RecordBatch>) -> Result<Sorted, PipelineError> {
    let incoming = Incoming { batches: Mutex::new(Some(batches)), schema: Table::Events.schema() };
    let table = StreamingTable::try_new(incoming.schema.clone(), vec![Arc::new(incoming)]);
    let context = context()?;
    let rows = context.read_table(Arc::new(table.map_err(failed)?)).map_err(failed)?;
    ordered(rows).await
}

async fn ordered(rows: DataFrame) -> Result<Sorted, PipelineError> {
    let rows = rows.sort(fold_order(&["site", "visitor_id", "event_time", "seq", "event_id"]));
    let stream = rows.map_err(failed)?.execute_stream().await.map_err(failed)?;
    Ok(Sorted { stream })
}

/// Ascending, rows without a value first.
pub fn fold_order(columns: &[&str]) -> Vec<SortExpr> {
    columns.iter().map(|column| col(*column).sort(true, true)).collect()
}

/// A context with memory of its own, one partition, and a disk to sort on.
///
/// # Errors
/// `Lake` when there is no temporary folder.
pub fn context() -> Result<SessionContext, PipelineError> {
    let pool = Arc::new(FairSpillPool::new(SORT_BYTES_MAX));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().map_err(failed)?;
    let config = SessionConfig::new().with_target_partitions(1).with_batch_size(BATCH_ROWS);
    Ok(SessionContext::new_with_config_rt(config, runtime))
}

#[derive(Debug)]
struct Incoming {
    batches: Mutex<Option<mpsc::Receiver<RecordBatch>>>,
    schema: SchemaRef,
}

impl PartitionStream for Incoming {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        // The plan is executed once; a second run would find nothing.
        let batches = self.batches.try_lock().ok().and_then(|mut batches| batches.take());
        let batches = batches.unwrap_or_else(|| mpsc::channel(1).1);
        let stream = ReceiverStream::new(batches).map(Ok);
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream))
    }
}
