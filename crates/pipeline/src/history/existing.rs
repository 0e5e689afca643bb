//! What the lake holds besides the load: events of other logs, which make rows duplicates or leave
//! them to the repair.

use std::collections::HashSet;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{Int64Type, SchemaRef, TimestampMicrosecondType};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::prelude::{DataFrame, SessionContext, col, lit};
use footfall_event::Micros;
use footfall_event::schema::Table;
use footfall_lake::{Lake, LakeError};
use futures::StreamExt;

use super::Load;
use super::sorted::{context, fold_order};
use crate::PipelineError;

/// Events of other logs, visitor by visitor in the order of the fold.
pub struct Existing {
    stream: SendableRecordBatchStream,
    batch: Option<RecordBatch>,
    row: usize,
}

/// What stands of one visitor.
#[derive(Debug, Default)]
pub struct OfVisitor {
    pub ids: HashSet<String>,
    /// Ascending.
    pub times: Vec<Micros>,
}

impl OfVisitor {
    /// Whether an event stands within `distance` of `time`.
    pub fn is_near(&self, time: Micros, distance: Micros) -> bool {
        let behind = self.times.partition_point(|other| *other < time - distance);
        self.times.get(behind).is_some_and(|other| *other <= time + distance)
    }
}

impl Existing {
    /// # Errors
    /// `Lake`.
    pub async fn of_others(lake: &Lake, log: &str) -> Result<Existing, PipelineError> {
        let rows = table(&context()?, lake, Table::Events).await?;
        let rows = rows
            .filter(col("log").not_eq(lit(log)))
            .and_then(|rows| rows.select_columns(&["site", "visitor_id", "event_time", "event_id"]))
            .and_then(|rows| rows.sort(fold_order(&["site", "visitor_id", "event_time"])));
        let stream = rows.map_err(failed)?.execute_stream().await.map_err(failed)?;
        Ok(Existing { stream, batch: None, row: 0 })
    }

    /// What stands of a visitor; visitors must be asked for in the order of the fold.
    ///
    /// # Errors
    /// `Lake`.
    pub async fn of(
        &mut self,
        site: &str,
        visitor_id: Option<&str>,
    ) -> Result<OfVisitor, PipelineError> {
        let wanted = (Some(site), visitor_id);
        let mut found = OfVisitor::default();
        while self.fill().await? {
            let Some(batch) = &self.batch else { break };
            let texts = |column: usize| batch.column(column).as_string::<i32>();
            let text = |column: usize, row: usize| {
                texts(column).is_valid(row).then(|| texts(column).value(row))
            };
            let times = batch.column(2).as_primitive::<TimestampMicrosecondType>();
            while self.row < batch.num_rows() {
                match (text(0, self.row), text(1, self.row)).cmp(&wanted) {
                    std::cmp::Ordering::Less => {}
                    std::cmp::Ordering::Equal => {
                        found.ids.extend(text(3, self.row).map(str::to_owned));
                        found.times.push(Micros(times.value(self.row)));
                    }
                    std::cmp::Ordering::Greater => return Ok(found),
                }
                self.row += 1;
            }
        }
        Ok(found)
    }

    /// Whether there is a row left.
    async fn fill(&mut self) -> Result<bool, PipelineError> {
        while self.batch.as_ref().is_none_or(|batch| self.row >= batch.num_rows()) {
            let Some(batch) = self.stream.next().await else {
                self.batch = None;
                return Ok(false);
            };
            let batch = batch.map_err(failed)?;
            let events = Table::Events.schema();
            let columns: Vec<usize> = ["site", "visitor_id", "event_time", "event_id"]
                .iter()
                .filter_map(|name| events.index_of(name).ok())
                .collect();
            let schema = events.project(&columns)?.into();
            self.batch = Some(plain(&batch, &schema)?);
            self.row = 0;
        }
        Ok(true)
    }
}

/// The rows of this load that stand in `events`, by their numbers.
///
/// # Errors
/// `Lake`.
pub async fn standing_rows(lake: &Lake, log: &str) -> Result<HashSet<i64>, PipelineError> {
    let rows = table(&context()?, lake, Table::Events).await?;
    let rows = rows
        .filter(col("log").eq(lit(log)))
        .and_then(|rows| rows.select_columns(&["log_offset"]))
        .map_err(failed)?;
    let batches = rows.collect().await.map_err(failed)?;
    let offsets = batches.iter().map(|batch| batch.column(0).as_primitive::<Int64Type>());
    Ok(offsets.flat_map(|offsets| offsets.values().iter().copied()).collect())
}

/// Rows from this time on may belong to sessions that live reading has open: a session gap before
/// the lowest newest watermark, or before the load where nothing is read live.
///
/// # Errors
/// `Lake`.
pub async fn live_limit(lake: &Lake, load: &Load) -> Result<Micros, PipelineError> {
    let context = context()?;
    let receipts = table(&context, lake, Table::Receipts).await?;
    context.register_table("receipts", receipts.into_view()).map_err(failed)?;
    let newest = "SELECT min(newest) FROM (SELECT max(watermark) AS newest FROM receipts \
                  WHERE watermark IS NOT NULL GROUP BY log, log_partition)";
    let rows = context.sql(newest).await.map_err(failed)?.collect().await.map_err(failed)?;
    let lowest = rows.first().and_then(|batch| {
        let times = batch.column(0).as_primitive_opt::<TimestampMicrosecondType>()?;
        times.is_valid(0).then(|| Micros(times.value(0)))
    });
    Ok(lowest.unwrap_or(load.started) - load.rules.session_gap)
}

/// A table as DataFusion reads it.
///
/// # Errors
/// `Lake`.
pub async fn table(
    context: &SessionContext,
    lake: &Lake,
    table: Table,
) -> Result<DataFrame, PipelineError> {
    let opened = lake.table(table).await?;
    let opened = opened.ok_or(LakeError::Unreadable {
        path: table.name().to_owned(),
        reason: "it was not made".to_owned(),
    })?;
    let provider = opened.table_provider().await.map_err(failed)?;
    context.read_table(provider).map_err(failed)
}

/// A batch in the plain types of `schema`: a scan of Delta yields views of texts.
///
/// # Errors
/// `Rows`.
pub fn plain(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, PipelineError> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| cast(column, field.data_type()));
    Ok(RecordBatch::try_new(schema.clone(), columns.collect::<Result<Vec<_>, _>>()?)?)
}

pub fn failed(source: DataFusionError) -> PipelineError {
    PipelineError::Lake(LakeError::Delta { table: Table::Events, source: source.into() })
}
