//! Writes what was settled to the tables, and keeps how far each table speaks of each partition.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use footfall_event::schema::Table;
use footfall_event::{Micros, Offset, Partition};
use footfall_lake::{
    Commit, FileWriter, Lake, Outcome, Progress, TableWriter, app_id, appended_app_id,
};
use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

use crate::metrics::Metrics;
use crate::partition::Settled;
use crate::rows::{
    duplicate_rows, need_rows, page_view_rows, receipt_rows, rejected_rows, session_rows,
};
use crate::{PipelineError, rules_store};

/// Attempts to commit a table before the interval fails. Each lost race brings the table's progress
/// forward, so more than a few mean that something else is wrong.
const ATTEMPTS_MAX: usize = 8;

/// The writers of all tables, one commit of a table at a time.
pub struct Committer {
    lake: Lake,
    topic: Arc<str>,
    writer_id: Uuid,
    metrics: Metrics,
    tables: Vec<Mutex<TableState>>,
    /// Rules that are known to stand beside the tables, by their ids.
    kept_rules: Mutex<BTreeSet<String>>,
}

struct TableState {
    table: Table,
    writer: TableWriter,
    /// The next offset that the table does not speak of, of the partitions that were asked for.
    committed: BTreeMap<Partition, Option<Offset>>,
}

/// How far a table speaks of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// The first record that it does not speak of.
    pub up_to: Offset,
    /// The append time of the record before; `None` where the commit did not tell it.
    pub last_append_time: Option<Micros>,
}

impl Committer {
    /// # Errors
    /// `Lake` when a table was not made or cannot be read.
    pub async fn open(lake: &Lake, topic: &str, metrics: Metrics) -> Result<Self, PipelineError> {
        let mut tables = Vec::new();
        for table in Table::ALL {
            let writer = TableWriter::open(lake, table).await?;
            tables.push(Mutex::new(TableState { table, writer, committed: BTreeMap::new() }));
        }
        let (lake, topic) = (lake.clone(), Arc::from(topic));
        let (writer_id, kept_rules) = (Uuid::new_v4(), Mutex::default());
        Ok(Committer { lake, topic, writer_id, metrics, tables, kept_rules })
    }

    /// Reads how far each table speaks of `partition`, as it stands in the lake; `None` where nothing
    /// was committed.
    ///
    /// # Errors
    /// `Lake`.
    pub async fn progress(
        &self,
        partition: Partition,
    ) -> Result<BTreeMap<Table, Option<Offset>>, PipelineError> {
        let mut progress = BTreeMap::new();
        for state in &self.tables {
            let mut state = state.lock().await;
            state.writer.reload().await?;
            let id = app_id(state.table, &self.topic, partition);
            let standing = state.writer.progress(&id).await?.map(Offset);
            state.committed.insert(partition, standing);
            progress.insert(state.table, standing);
        }
        Ok(progress)
    }

    /// How far the furthest table speaks of `partition`, as far as it was read by [`Committer::progress`].
    ///
    /// # Errors
    /// `Lake`.
    pub async fn furthest(&self, partition: Partition) -> Result<Option<Spoken>, PipelineError> {
        let mut furthest = None;
        for state in &self.tables {
            let up_to = state.lock().await.committed.get(&partition).copied().flatten();
            if up_to > furthest.map(|(up_to, _)| up_to) {
                furthest = up_to.zip(Some(state));
            }
        }
        let Some((_, state)) = furthest else { return Ok(None) };
        let mut state = state.lock().await;
        let ids = [app_id, appended_app_id].map(|id| id(state.table, &self.topic, partition));
        let versions = state.writer.progress_of(ids.iter().map(String::as_str)).await?;
        let [Some(up_to), last_append_time] = versions[..] else { return Ok(None) };
        let (up_to, last_append_time) = (Offset(up_to), last_append_time.map(Micros));
        Ok(Some(Spoken { up_to, last_append_time }))
    }

    /// Commits each table that has rows, or all of them at a barrier. All tables of one interval are
    /// written side by side, as each waits for the disk; receipts last, for their watermarks say up to
    /// when the others are whole.
    ///
    /// Answers the partitions whose receipt another writer carried on: a range of a receipt cannot be
    /// split after the fact, so they must be folded again from their snapshots.
    ///
    /// # Errors
    /// `Lake`, `Rows`. What was committed stays; committing the same again adds nothing.
    pub async fn commit(&self, settled: &[Settled]) -> Result<BTreeSet<Partition>, PipelineError> {
        self.keep_rules(settled).await?;
        let (receipts, others): (Vec<_>, Vec<_>) =
            self.tables.iter().zip(Table::ALL).partition(|(_, table)| *table == Table::Receipts);
        let mut overtaken = BTreeSet::new();
        for tables in [others, receipts] {
            let commits = tables.into_iter().map(|(state, _)| async move {
                self.commit_table(&mut *state.lock().await, settled).await
            });
            overtaken.extend(futures::future::try_join_all(commits).await?.into_iter().flatten());
        }
        Ok(overtaken)
    }

    /// Rules that rows name stand beside the tables before them, whoever put them in force: a log that is
    /// read again into another lake has rules that are configured nowhere any more.
    async fn keep_rules(&self, settled: &[Settled]) -> Result<(), PipelineError> {
        let mut kept = self.kept_rules.lock().await;
        for part in settled {
            for (id, rules) in part.book.iter() {
                let config_id = part.book.config_id(id);
                if !kept.contains(config_id) {
                    rules_store::keep(&self.lake, rules).await?;
                    kept.insert(config_id.to_owned());
                }
            }
        }
        Ok(())
    }

    /// Whether every table speaks exactly up to `offset` of the partition.
    pub async fn stands_at(&self, partition: Partition, offset: Offset) -> bool {
        for state in &self.tables {
            if state.lock().await.committed.get(&partition) != Some(&Some(offset)) {
                return false;
            }
        }
        true
    }

    async fn commit_table(
        &self,
        state: &mut TableState,
        settled: &[Settled],
    ) -> Result<BTreeSet<Partition>, PipelineError> {
        let began = Instant::now();
        let mut overtaken = BTreeSet::new();
        for _ in 0..ATTEMPTS_MAX {
            if state.table == Table::Receipts {
                let overtaken_now = settled.iter().filter(|part| state.has_part_of_a_range(part));
                overtaken.extend(overtaken_now.map(|part| part.origin.partition));
            }
            let (commit, rows) = self.prepare(state, settled, &overtaken).await?;
            if commit.progress.is_empty() {
                return Ok(overtaken);
            }
            match state.writer.commit(&commit).await? {
                Outcome::Committed { version } => {
                    self.note_committed(state, settled, &commit);
                    self.metrics.commit(state.table, began.elapsed(), rows);
                    tracing::debug!(table = state.table.name(), version, rows, "committed");
                    return Ok(overtaken);
                }
                Outcome::Lost { standing } => {
                    self.metrics.commit_conflict(state.table);
                    let lost = self.note_standing(state, settled, &standing);
                    if state.table == Table::Receipts {
                        overtaken.extend(lost);
                    }
                }
            }
        }
        Err(PipelineError::Races { table: state.table.name(), attempts: ATTEMPTS_MAX })
    }

    /// The rows that the table does not have, written to files, with the progress they make.
    async fn prepare(
        &self,
        state: &TableState,
        settled: &[Settled],
        overtaken: &BTreeSet<Partition>,
    ) -> Result<(Commit, usize), PipelineError> {
        let moved = settled.iter().filter(|part| {
            state.from(part) < part.position && !overtaken.contains(&part.origin.partition)
        });
        let (mut rows, mut is_barrier) = (Vec::new(), false);
        for part in moved.clone() {
            rows.push(rows_of(state.table, part, state.from(part))?);
            is_barrier |= part.is_barrier;
        }
        let count = rows.iter().map(RecordBatch::num_rows).sum();
        if count == 0 && !is_barrier {
            return Ok((Commit::default(), 0));
        }
        let files = FileWriter::new(&self.lake, state.table, self.writer_id);
        let mut files = files.of_rows(count);
        for rows in rows.iter().filter(|rows| rows.num_rows() > 0) {
            files.write(rows).await?;
        }
        let marks = moved.clone().map(|part| {
            let id = appended_app_id(state.table, &self.topic, part.origin.partition);
            (id, part.last_append_time.0)
        });
        let marks = marks.collect();
        let progress = moved.map(|part| {
            let standing = state.committed.get(&part.origin.partition).copied().flatten();
            Progress {
                app_id: app_id(state.table, &self.topic, part.origin.partition),
                from: standing.map(|offset| offset.0),
                to: part.position.0,
            }
        });
        let progress = progress.collect();
        let files = files.finish().await?;
        Ok((Commit { files, progress, marks, is_load: false }, count))
    }

    fn note_committed(&self, state: &mut TableState, settled: &[Settled], commit: &Commit) {
        for part in settled {
            let id = app_id(state.table, &self.topic, part.origin.partition);
            if commit.progress.iter().any(|progress| progress.app_id == id) {
                state.committed.insert(part.origin.partition, Some(part.position));
            }
        }
    }

    /// Another writer's progress counts from here on: what it wrote is left out.
    fn note_standing(
        &self,
        state: &mut TableState,
        settled: &[Settled],
        standing: &BTreeMap<String, Option<i64>>,
    ) -> Vec<Partition> {
        let mut lost = Vec::new();
        for part in settled {
            let id = app_id(state.table, &self.topic, part.origin.partition);
            if let Some(version) = standing.get(&id) {
                tracing::info!(table = state.table.name(), app_id = id, "another writer was first");
                state.committed.insert(part.origin.partition, version.map(Offset));
                lost.push(part.origin.partition);
            }
        }
        lost
    }
}

impl TableState {
    fn from(&self, part: &Settled) -> Offset {
        self.committed.get(&part.origin.partition).copied().flatten().unwrap_or(Offset(0))
    }

    /// Whether a range of the receipt is in the table in part: another writer carried it on.
    fn has_part_of_a_range(&self, part: &Settled) -> bool {
        let standing = self.from(part);
        part.output.receipts.iter().any(|range| range.from < standing && standing < range.to)
    }
}

/// The rows of one table and partition whose cause is at or behind `from`.
fn rows_of(table: Table, part: &Settled, from: Offset) -> Result<RecordBatch, PipelineError> {
    let rows = &part.output.rows;
    let origin = &part.origin;
    Ok(match table {
        Table::Events => {
            let is_wanted = rows.events.iter().map(|row| row.cause >= from).collect::<Vec<_>>();
            if is_wanted.iter().all(|is_wanted| *is_wanted) {
                return Ok(part.events.clone());
            }
            filter_record_batch(&part.events, &BooleanArray::from(is_wanted))?
        }
        Table::Sessions => {
            let first = rows.sessions.partition_point(|row| row.cause < from);
            session_rows(&rows.sessions[first..], &part.book)?
        }
        Table::Needs => {
            let first = rows.needs.partition_point(|row| row.cause < from);
            need_rows(&rows.needs[first..], &part.book)?
        }
        Table::PageViews => {
            let first = rows.page_views.partition_point(|row| row.cause < from);
            page_view_rows(&rows.page_views[first..], &part.book)?
        }
        Table::Rejected => {
            let first = part.rejected.partition_point(|row| row.offset < from);
            rejected_rows(&part.rejected[first..], origin)?
        }
        Table::Duplicates => {
            let first = part.duplicates.partition_point(|row| row.offset < from);
            duplicate_rows(&part.duplicates[first..], origin)?
        }
        Table::Receipts => {
            let first = part.output.receipts.partition_point(|row| row.to <= from);
            receipt_rows(&part.output.receipts[first..], origin)?
        }
    })
}

#[cfg(test)]
mod tests;
