//! From which time on a load's rows may belong to sessions that live reading has open.

use std::sync::Arc;

use arrow::array::{AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, Schema, TimestampMicrosecondType};
use datafusion::prelude::SessionContext;
use footfall_event::schema::Table;
use footfall_event::{Micros, Partition};
use footfall_lake::{DeltaTable, LakeError, app_id};

use super::Load;
use crate::PipelineError;
use crate::scan::{context, failed, frame};

/// Before every time: all rows are left to the repair.
const ALL: Micros = Micros(i64::MIN);

const PARTITIONS: &str =
    "SELECT DISTINCT log, log_partition FROM receipts WHERE log NOT LIKE 'load:%'";
/// Of each partition, the newest watermark up to which `events` speaks.
const WATERMARKS: &str = "SELECT max(r.watermark) FILTER (WHERE r.to_offset <= s.up_to) \
    FROM receipts r JOIN spoken s ON r.log = s.log AND r.log_partition = s.log_partition \
    GROUP BY s.log, s.log_partition";

/// A session gap before the lowest newest watermark of the live partitions; where nothing is read
/// live, before the load's start. A watermark counts if `events`, as it stands here, has the rows that
/// it made final; a partition without one may hold events of any time.
///
/// # Errors
/// `Lake`, `Rows`.
pub async fn live_limit(
    receipts: &DeltaTable,
    events: &DeltaTable,
    load: &Load,
) -> Result<Micros, PipelineError> {
    let context = context()?;
    let rows = frame(&context, receipts).await?;
    context.register_table("receipts", rows.into_view()).map_err(failed)?;
    let spoken = spoken(&live_partitions(&context).await?, events).await?;
    if spoken.num_rows() == 0 {
        return Ok(load.started - load.rules.session_gap);
    }
    context.register_batch("spoken", spoken).map_err(failed)?;
    let rows = context.sql(WATERMARKS).await.map_err(failed)?.collect().await.map_err(failed)?;
    let watermarks = rows
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<TimestampMicrosecondType>().iter());
    let lowest = watermarks.min().flatten();
    Ok(lowest.map_or(ALL, |lowest| Micros(lowest) - load.rules.session_gap))
}

async fn live_partitions(
    context: &SessionContext,
) -> Result<Vec<(String, Partition)>, PipelineError> {
    let rows = context.sql(PARTITIONS).await.map_err(failed)?.collect().await.map_err(failed)?;
    let mut partitions = Vec::new();
    for batch in rows {
        let logs = cast(batch.column(0), &DataType::Utf8)?;
        let numbers = batch.column(1).as_primitive::<Int32Type>();
        for (log, number) in logs.as_string::<i32>().iter().zip(numbers) {
            partitions.extend(log.map(str::to_owned).zip(number.map(Partition)));
        }
    }
    Ok(partitions)
}

/// Up to which offset `events` speaks for each partition.
async fn spoken(
    partitions: &[(String, Partition)],
    events: &DeltaTable,
) -> Result<RecordBatch, PipelineError> {
    let unreadable = |source| LakeError::Delta { table: Table::Events, source };
    let state = events.snapshot().map_err(unreadable)?;
    let mut offsets = Vec::new();
    for (log, partition) in partitions {
        let id = app_id(Table::Events, log, *partition);
        let version = state.transaction_version(events.log_store().as_ref(), &id).await;
        offsets.push(version.map_err(unreadable)?);
    }
    let schema = Schema::new(vec![
        Field::new("log", DataType::Utf8, false),
        Field::new("log_partition", DataType::Int32, false),
        Field::new("up_to", DataType::Int64, true),
    ]);
    let logs = StringArray::from_iter_values(partitions.iter().map(|(log, _)| log));
    let numbers = Int32Array::from_iter_values(partitions.iter().map(|(_, number)| number.0));
    let offsets = Int64Array::from(offsets);
    Ok(RecordBatch::try_new(
        Arc::new(schema),
        vec![Arc::new(logs), Arc::new(numbers), Arc::new(offsets)],
    )?)
}
