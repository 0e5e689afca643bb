//! From which time on a load's rows may belong to sessions that live reading has open.

use std::sync::Arc;

use arrow::array::{AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, TimestampMicrosecondType};
use datafusion::prelude::SessionContext;
use footfall_event::schema::Table;
use footfall_event::{Micros, Partition};
use footfall_lake::{Lake, LakeSettings, TableWriter, app_id};

use super::Load;
use crate::PipelineError;
use crate::scan::{context, failed, frame};

/// Before every time: all rows are left to the repair.
const ALL: Micros = Micros(i64::MIN);

const IS_LIVE: &str = "SELECT 1 FROM receipts WHERE log NOT LIKE 'load:%' LIMIT 1";
/// Of each partition, the newest watermark up to which `events` speaks.
const WATERMARKS: &str = "SELECT max(r.watermark) FILTER (WHERE r.to_offset <= s.up_to) \
    FROM spoken s LEFT JOIN receipts r ON r.log = s.log AND r.log_partition = s.log_partition \
    GROUP BY s.log, s.log_partition";

/// A session gap before the lowest newest watermark of the live partitions; where nothing is read
/// live, before the load's start. A watermark counts if `events`, as it stands here, has the rows that
/// it made final; a partition without one may hold events of any time.
///
/// # Errors
/// `Lake`, `Rows`.
pub async fn live_limit(
    lake: &Lake,
    receipts: &TableWriter,
    events: &mut TableWriter,
    load: &Load,
) -> Result<Micros, PipelineError> {
    let context = context()?;
    let rows = frame(&context, receipts).await?;
    context.register_table("receipts", rows.into_view()).map_err(failed)?;
    let spoken = spoken(&live_partitions(lake, &context).await?, events).await?;
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

/// All partitions of the lake's log, once one of them has a receipt: of the others some may be read at this
/// moment, for the first time.
async fn live_partitions(
    lake: &Lake,
    context: &SessionContext,
) -> Result<Vec<(String, Partition)>, PipelineError> {
    let rows = context.sql(IS_LIVE).await.map_err(failed)?.collect().await.map_err(failed)?;
    let settings = lake.settings().await?;
    Ok(match settings.filter(|_| rows.iter().any(|batch| batch.num_rows() > 0)) {
        Some(LakeSettings { topic, partitions, .. }) => {
            (0..partitions as i32).map(|number| (topic.clone(), Partition(number))).collect()
        }
        None => Vec::new(),
    })
}

/// Up to which offset `events` speaks for each partition.
async fn spoken(
    partitions: &[(String, Partition)],
    events: &mut TableWriter,
) -> Result<RecordBatch, PipelineError> {
    let mut offsets = Vec::new();
    for (log, partition) in partitions {
        let id = app_id(Table::Events, log, *partition);
        offsets.push(events.progress(&id).await?);
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
