//! The rows of a load in the order of the fold: visitor by visitor, each in event order. Sorted by
//! DataFusion, on disk when memory does not do.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::{col, lit};
use footfall_event::schema::Table;
use footfall_lake::Lake;
use futures::StreamExt;
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::packed::{Packing, ROW};
use crate::PipelineError;
use crate::scan::{context, failed, fold_order, plain, table};

/// Rows of the `events` schema, ordered by site, visitor, event time, seq, id.
pub struct Sorted {
    stream: SendableRecordBatchStream,
    /// `None`: the rows are not packed.
    packing: Option<Packing>,
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
        let order = fold_order(&["site", "visitor_id", "event_time", "seq", "event_id"]);
        let rows = rows.select_columns(&columns).and_then(|rows| rows.sort(order));
        let stream = rows.map_err(failed)?.execute_stream().await.map_err(failed)?;
        Ok(Sorted { stream, packing: None })
    }

    /// # Errors
    /// `Lake`.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, PipelineError> {
        let Some(batch) = self.stream.next().await else { return Ok(None) };
        let batch = batch.map_err(failed)?;
        match &self.packing {
            Some(packing) => packing.unpack(&batch).map(Some),
            None => plain(&batch, &Table::Events.schema()).map(Some),
        }
    }
}

/// Sorts packed rows as they come.
///
/// # Errors
/// `Lake` when the disk does not take what memory does not hold.
pub async fn sort(
    packed: mpsc::Receiver<RecordBatch>,
    packing: Packing,
) -> Result<Sorted, PipelineError> {
    let incoming = Incoming { batches: Mutex::new(Some(packed)), schema: Packing::schema() };
    let table = StreamingTable::try_new(incoming.schema.clone(), vec![Arc::new(incoming)]);
    let rows = context()?.read_table(Arc::new(table.map_err(failed)?));
    let rows = rows.and_then(|rows| rows.sort(vec![col(ROW).sort(true, true)]));
    let stream = rows.map_err(failed)?.execute_stream().await.map_err(failed)?;
    Ok(Sorted { stream, packing: Some(packing) })
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
