//! Retention: days that were over for longer than a table keeps its rows are removed, whole. The files go
//! with all old ones, a day later.
//!
//! The commit that removes days marks the first that it left, so that nobody takes what is gone for lost.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use footfall_event::schema::Table;
use footfall_event::{Day, Micros};
use footfall_lake::{Lake, Rewrite, TableFile, TableWriter, removed_before_app_id};

use crate::PipelineError;

/// How long each table keeps its rows, by their days; for ever where it has no entry. `receipts`, which
/// account for what is removed too, have none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention(pub BTreeMap<Table, Micros>);

/// What was removed of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    pub files: usize,
    pub rows: usize,
    /// Another rewrite was first, and it is left to the next run.
    pub is_overtaken: bool,
}

/// Removes the days of a table that at `now` are older than it keeps them.
///
/// # Errors
/// `Lake`.
pub async fn remove_old_days(
    lake: &Lake,
    table: Table,
    retention: &Retention,
    now: Micros,
) -> Result<Expired, PipelineError> {
    let Some(kept_for) = retention.0.get(&table) else { return Ok(Expired::default()) };
    let mut writer = TableWriter::open(lake, table).await?;
    // Not by what was removed before: a clock that was ahead once would take each new day for ever.
    let first_kept = (now - *kept_for).day();
    let files = writer.files()?.into_iter();
    let replaced: Vec<TableFile> = files.filter(|file| file.day < first_kept).collect();
    // No run of a day before the mark is whole. One that a clock kept which was ahead is taken back, and one that a
    // clock kept which was behind comes right with it.
    let (standing, tomorrow) = (writer.removed_before().await?, Day(now.day().0 + 1));
    let removed_before = standing.map_or(first_kept, |day| day.min(tomorrow).max(first_kept));
    if replaced.is_empty() && standing.is_none_or(|day| day == removed_before) {
        return Ok(Expired::default());
    }
    let rows = replaced.iter().filter_map(|file| file.rows).sum();
    let expired = Expired { files: replaced.len(), rows, is_overtaken: false };
    let marks = vec![(removed_before_app_id(table), i64::from(removed_before.0))];
    let rewrite = Rewrite { replaced, changes_rows: true, marks, ..Rewrite::default() };
    if !writer.rewrite(rewrite).await? {
        return Ok(Expired { is_overtaken: true, ..Expired::default() });
    }
    tracing::info!(table = table.name(), rows, before = %removed_before, "old days removed");
    Ok(expired)
}
