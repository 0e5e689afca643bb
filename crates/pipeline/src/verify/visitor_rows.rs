//! Rows of one partition's visitors, a batch at a time, in the plain types of their table.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::SortExpr;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::prelude::DataFrame;
use footfall_event::{Partition, partition_of};
use futures::{Stream, StreamExt};

use crate::PipelineError;
use crate::scan::{failed, fold_order, plain, text_at};

/// (site, visitor), as the tables sort them: NULL first.
pub type VisitorKey = (Option<String>, Option<String>);

/// A stream of rows. Sorting them goes to disk where memory does not do.
pub struct VisitorRows {
    stream: SendableRecordBatchStream,
    schema: SchemaRef,
    partitions: u32,
    partition: Partition,
}

impl VisitorRows {
    /// The columns of `schema`, in the order of `sort`.
    ///
    /// # Errors
    /// `Lake`.
    pub async fn sorted(
        rows: DataFrame,
        schema: SchemaRef,
        sort: Vec<SortExpr>,
        (partitions, partition): (u32, Partition),
    ) -> Result<VisitorRows, PipelineError> {
        let columns: Vec<&str> =
            schema.fields().iter().map(|field| field.name().as_str()).collect();
        let rows = rows.select_columns(&columns).and_then(|rows| rows.sort(sort));
        let stream = rows.map_err(failed)?.execute_stream().await.map_err(failed)?;
        Ok(VisitorRows { stream, schema, partitions, partition })
    }

    /// The columns of `schema`, in any order.
    ///
    /// # Errors
    /// `Lake`.
    pub async fn unsorted(
        rows: DataFrame,
        schema: SchemaRef,
        (partitions, partition): (u32, Partition),
    ) -> Result<VisitorRows, PipelineError> {
        let stream = rows.execute_stream().await.map_err(failed)?;
        Ok(VisitorRows { stream, schema, partitions, partition })
    }

    pub fn into_stream(self) -> impl Stream<Item = Result<RecordBatch, PipelineError>> + Send {
        futures::stream::try_unfold(self, |mut rows| async move {
            Ok(rows.next().await?.map(|batch| (batch, rows)))
        })
    }

    /// The next rows; `None` behind the last.
    ///
    /// # Errors
    /// `Lake`, `Rows`.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, PipelineError> {
        let Some(batch) = self.stream.next().await else { return Ok(None) };
        let batch = plain(&batch.map_err(failed)?, &self.schema)?;
        self.of_partition(&batch).map(Some)
    }

    fn of_partition(&self, rows: &RecordBatch) -> Result<RecordBatch, PipelineError> {
        let is_of = |row: usize| {
            let (site, visitor) = visitor_at(rows, row);
            let (site, visitor) = (site.unwrap_or_default(), visitor.unwrap_or_default());
            partition_of(site, visitor, self.partitions) == self.partition
        };
        let mask = (0..rows.num_rows()).map(|row| Some(is_of(row))).collect::<BooleanArray>();
        Ok(filter_record_batch(rows, &mask)?)
    }
}

/// The order in which visitors follow each other.
pub fn by_visitor() -> Vec<SortExpr> {
    fold_order(&["site", "visitor_id"])
}

/// Whose row it is.
pub fn visitor_at(rows: &RecordBatch, row: usize) -> (Option<&str>, Option<&str>) {
    (text_at(rows, "site", row), text_at(rows, "visitor_id", row))
}
