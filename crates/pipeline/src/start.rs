//! Where a partition's fold begins: its newest snapshot held against the log, or the log's beginning.

use std::sync::Arc;

use bytes::Bytes;
use footfall_event::schema::Table;
use footfall_event::{Micros, Offset, Partition};
use footfall_lake::Lake;
use footfall_log::{EventLog, Kind, NewRecord, Record};
use footfall_sessionizer::Rules;

use crate::PipelineError;
use crate::committer::{Committer, Spoken};
use crate::partition::{PartitionFold, rules_of};
use crate::rows::Origin;
use crate::snapshot;

/// How a partition starts.
pub enum Start {
    /// Fold on, reading from this record.
    Fold { fold: Box<PartitionFold>, read_from: Offset },
    /// The first rules must be found first: read from `begin` up to `end`, and fold from `begin`.
    /// The receipt goes on where an earlier run committed it.
    FindRules { begin: Offset, end: Offset, receipts_from: Option<Offset> },
}

/// Decides how `partition` starts.
///
/// # Errors
/// `LogLost`, `LogReplaced` when the log is not the one that was read before; `Snapshot`; `Lake`;
/// `Log`.
pub async fn start(
    log: &dyn EventLog,
    lake: &Lake,
    committer: &Committer,
    partition: Partition,
) -> Result<Start, PipelineError> {
    let progress = committer.progress(partition).await?;
    let furthest = committer.furthest(partition).await?;
    let newest = snapshot::newest(lake, log.topic(), partition).await?;
    // Asked last: another pipeline that does not know yet that it lost the partition may have read on, and no
    // table or snapshot may speak of records behind the end.
    let bounds = log.bounds(partition).await?;
    let origin = Origin { log: log.topic().into(), partition };
    let topic = log.topic();
    let lost = |from, to| PipelineError::LogLost { topic: topic.to_owned(), partition, from, to };
    // Of a fold that had read nothing, whose first records retention took before a table had anything of them.
    let newest = newest.filter(|(header, _)| {
        let is_of_beginning = header.last_append_time == Micros(0);
        !(is_of_beginning && furthest.is_none() && header.offset < bounds.start)
    });
    let Some((header, state)) = newest else {
        if let Some(Spoken { up_to, .. }) = furthest
            && (bounds.start > Offset(0) || bounds.end < up_to)
        {
            return Err(lost(Offset(0), up_to));
        }
        require_records_of(log, partition, furthest).await?;
        let receipts_from = progress.get(&Table::Receipts).copied().flatten();
        return Ok(Start::FindRules { begin: bounds.start, end: bounds.end, receipts_from });
    };
    if header.resume_from < bounds.start
        && !(state.held.is_empty() && bounds.start == header.offset)
    {
        return Err(lost(header.resume_from, bounds.start));
    }
    // Tables speak further than the snapshot. Records that came in place of those they have would be taken for written.
    let known = furthest.map_or(header.offset, |spoken| spoken.up_to.max(header.offset));
    if bounds.end < known {
        return Err(lost(bounds.end, known));
    }
    require_record(log, partition, header.offset, header.last_append_time).await?;
    require_records_of(log, partition, furthest).await?;
    let receipts_from = progress.get(&Table::Receipts).copied().flatten().unwrap_or(header.offset);
    let read_from = header.resume_from;
    let fold = PartitionFold::resume(origin, header, state, receipts_from)?;
    Ok(Start::Fold { fold: Box::new(fold), read_from })
}

/// The last record that tables speak of must be the one that was read: a log that lost its last records may have grown
/// beyond them since.
async fn require_records_of(
    log: &dyn EventLog,
    partition: Partition,
    furthest: Option<Spoken>,
) -> Result<(), PipelineError> {
    match furthest {
        Some(Spoken { up_to, last_append_time: Some(time) }) => {
            require_record(log, partition, up_to, time).await
        }
        _ => Ok(()),
    }
}

/// The record before `behind` must be the one that was read, if retention left it.
async fn require_record(
    log: &dyn EventLog,
    partition: Partition,
    behind: Offset,
    append_time: Micros,
) -> Result<(), PipelineError> {
    if behind == Offset(0) {
        return Ok(());
    }
    let before = Offset(behind.0 - 1);
    match log.read_one(partition, before).await? {
        Some(record) if record.append_time != append_time => Err(PipelineError::LogReplaced {
            topic: log.topic().to_owned(),
            partition,
            offset: before,
            found: record.append_time.to_string(),
            wanted: append_time.to_string(),
        }),
        _ => Ok(()),
    }
}

/// The first set of rules among `records` that can be followed: somebody else may have written others.
pub fn first_rules(records: &[Record]) -> Option<Arc<Rules>> {
    let mut controls = records.iter().filter(|record| record.kind == Kind::Control);
    controls.find_map(rules_of).map(Arc::new)
}

/// The control record that puts `rules` in force.
pub fn control_record(partition: Partition, rules: &Rules) -> NewRecord {
    let payload = Bytes::from(serde_json::to_vec(rules).unwrap_or_default());
    NewRecord { partition, kind: Kind::Control, payload }
}

#[cfg(test)]
mod tests;
