//! The rows of a load in the order of the fold: visitor by visitor, each in event order. Sorted by
//! DataFusion, on disk when memory does not do.

use arrow::array::RecordBatch;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::prelude::{col, lit};
use footfall_event::schema::Table;
use footfall_lake::Lake;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::packed::{Packing, ROW};
use crate::PipelineError;
use crate::scan::{context, failed, fold_order, plain, table};
use crate::sort::sorted;

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
    let batches = ReceiverStream::new(packed).map(Ok);
    let stream = sorted(batches, Packing::schema(), vec![col(ROW).sort(true, true)]).await?;
    Ok(Sorted { stream, packing: Some(packing) })
}
