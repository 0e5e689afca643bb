//! From which time on a load's rows may belong to sessions that live reading has open.

use std::sync::Arc;

use arrow::array::{AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, TimestampMicrosecondType};
use footfall_event::schema::Table;
use footfall_event::{Micros, Partition};
use footfall_lake::{Lake, LakeSettings, TableWriter, app_id};

use super::Load;
use crate::PipelineError;
use crate::scan::{context, failed, frame};

/// Before every time: all rows are left to the repair.
const ALL: Micros = Micros(i64::MIN);

/// Of each partition, the newest watermark up to which `events` speaks, and whether it is known that the
/// partition is read: a pipeline that died in its first commit left no receipt.
const WATERMARKS: &str = "SELECT max(r.watermark) FILTER (WHERE r.to_offset <= s.up_to), \
    max(s.up_to) IS NOT NULL OR count(r.log) > 0 \
    FROM spoken s LEFT JOIN receipts r ON r.log = s.log AND r.log_partition = s.log_partition \
    GROUP BY s.log_partition";

/// A session gap before the lowest newest watermark of the lake's partitions; where none is read live, before
/// the load's start. Once one is, all are: of the others some may be read at this moment, for the first time.
/// A watermark counts if `events`, as it stands here, has the rows that it made final; a partition without one
/// may hold events of any time.
///
/// # Errors
/// `Lake`, `Rows`.
pub async fn live_limit(
    lake: &Lake,
    receipts: &TableWriter,
    events: &mut TableWriter,
    load: &Load,
) -> Result<Micros, PipelineError> {
    let unread = load.started - load.rules.session_gap;
    let Some(settings) = lake.settings().await? else { return Ok(unread) };
    let context = context()?;
    let rows = frame(&context, receipts).await?;
    context.register_table("receipts", rows.into_view()).map_err(failed)?;
    context.register_batch("spoken", spoken(&settings, events).await?).map_err(failed)?;
    let rows = context.sql(WATERMARKS).await.map_err(failed)?.collect().await.map_err(failed)?;
    let is_read = |batch: &RecordBatch| batch.column(1).as_boolean().true_count() > 0;
    if !rows.iter().any(is_read) {
        return Ok(unread);
    }
    let watermarks = rows
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<TimestampMicrosecondType>().iter());
    let lowest = watermarks.min().flatten();
    Ok(lowest.map_or(ALL, |lowest| Micros(lowest) - load.rules.session_gap))
}

/// Up to which offset `events` speaks for each partition.
async fn spoken(
    settings: &LakeSettings,
    events: &mut TableWriter,
) -> Result<RecordBatch, PipelineError> {
    let partitions = 0..settings.partitions as i32;
    let mut offsets = Vec::new();
    for partition in partitions.clone() {
        let id = app_id(Table::Events, &settings.topic, Partition(partition));
        offsets.push(events.progress(&id).await?);
    }
    let schema = Schema::new(vec![
        Field::new("log", DataType::Utf8, false),
        Field::new("log_partition", DataType::Int32, false),
        Field::new("up_to", DataType::Int64, true),
    ]);
    let logs = StringArray::from_iter_values(partitions.clone().map(|_| &settings.topic));
    let (numbers, offsets) = (Int32Array::from_iter_values(partitions), Int64Array::from(offsets));
    Ok(RecordBatch::try_new(
        Arc::new(schema),
        vec![Arc::new(logs), Arc::new(numbers), Arc::new(offsets)],
    )?)
}
