//! Repair of late events: each run of a visitor's events that holds one is folded again, with the step
//! that live reading uses, and its rows take the place of those that stand.
//!
//! A late event waits in `events` with `session_id` NULL. The rows of its run are replaced in
//! `page_views`, `needs` and `sessions`, and last in `events`, where the NULL disappears; a repair that
//! died in between is done again and gives equal rows. Which files are small is left to `rewrite`.

mod horizon;
mod queue;
mod refold;
mod replace;
mod runs;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::error::DataFusionError;
use footfall_event::schema::Table;
use footfall_event::{Day, Partition};
use footfall_lake::{
    FileWriter, Lake, LakeSettings, Rewrite, TableFile, TableWriter, WrittenFile, recompute_app_id,
};
use footfall_sessionizer::Rules;
use futures::StreamExt;
use uuid::Uuid;

use super::rows_of;
use crate::conditions::Conditions;
use crate::rows::{Origin, duplicate_rows};
use crate::scan::{failed, fold_order, plain};
use crate::sort::sorted;
use crate::{PipelineError, snapshot};
use refold::Refold;
use replace::{Kept, Taken, take_out};

pub(super) use horizon::Horizon;
pub(super) use queue::{Queue, VisitorKey, has_no_session};
pub(super) use runs::{End, Runs, find_runs};

pub use queue::SettledFiles;

/// The tables whose rows are replaced, in this order. `events` is last, for its rows tell what is left to
/// do; it is opened last too, as a load commits it first: of a load that the others hold it has all rows.
pub(super) const REPLACED: [Table; 4] =
    [Table::PageViews, Table::Needs, Table::Sessions, Table::Events];

/// What a repair came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Runs that were folded again, and late events that have their session now.
    pub runs: usize,
    pub late_events: usize,
    /// Runs that something of may still be open.
    pub waiting: usize,
    /// Another rewrite was first, and the rest is left to it.
    pub is_overtaken: bool,
}

impl Repaired {
    /// Takes in what the next part of the same repair came to.
    fn add(&mut self, next: Repaired) {
        self.runs += next.runs;
        self.late_events += next.late_events;
        self.waiting += next.waiting;
        self.is_overtaken = next.is_overtaken;
    }
}

/// Repairs the runs of the visitors that wait, as far as their runs are over. `rules` are those to fold
/// by where no live log tells which are in force.
///
/// # Errors
/// `Lake`, `Rows`, `Conditions`, `Snapshot`; what was replaced before stays, and the same repair done
/// again completes it.
pub async fn repair(
    lake: &Lake,
    rules: &Arc<Rules>,
    settled: &mut SettledFiles,
) -> Result<Repaired, PipelineError> {
    let (mut repaired, mut behind) = (Repaired::default(), None);
    loop {
        let part;
        (part, behind) = repair_part(lake, rules, settled, behind).await?;
        repaired.add(part);
        if behind.is_none() || repaired.is_overtaken {
            return Ok(repaired);
        }
    }
}

/// Repairs as many visitors as are held at once, of those behind one; behind whom the next part begins.
async fn repair_part(
    lake: &Lake,
    rules: &Arc<Rules>,
    settled: &mut SettledFiles,
    behind: Option<VisitorKey>,
) -> Result<(Repaired, Option<VisitorKey>), PipelineError> {
    let Some(settings) = lake.settings().await? else { return Ok((Repaired::default(), None)) };
    let rules = rules_in_force(lake, &settings, rules).await?;
    crate::rules_store::keep(lake, &rules).await?;
    let duplicates = TableWriter::open(lake, Table::Duplicates).await?;
    let mut tables = Vec::new();
    for table in REPLACED {
        tables.push((table, TableWriter::open(lake, table).await?));
    }
    let conditions = Conditions::compile(&rules).map_err(PipelineError::Conditions)?;
    let files = events_of(&tables)?;
    let mut queue = Queue::read(lake, &files, &conditions, &rules, settled, behind).await?;
    let next = queue.next();
    leave_out_erased(lake, &mut queue).await?;
    if queue.is_empty() {
        return Ok((Repaired::default(), next));
    }
    let horizon = Horizon::read(lake, &settings, rules.session_gap, &mut tables).await?;
    let runs = find_runs(lake, &files, &queue, &horizon, End::OfHistory).await?;
    let mut repaired = Repaired { waiting: runs.waiting, ..Repaired::default() };
    if runs.count == 0 {
        return Ok((repaired, next));
    }
    repaired.runs = runs.count;
    let mut job = Job { lake, rules, duplicates, tables };
    match job.replace(runs, conditions, &Order::repair()).await? {
        Some(late_events) => repaired.late_events = late_events,
        None => repaired.is_overtaken = true,
    }
    tracing::info!(?repaired, "late events repaired");
    Ok((repaired, next))
}

/// Takes those out who are about to be erased: a run must not join what goes with what a stranger sent,
/// and rows that are gone must not come again. To be called behind the tables: a request that comes later
/// is of a time that they do not tell of.
///
/// # Errors
/// `Lake`.
pub(super) async fn leave_out_erased(lake: &Lake, queue: &mut Queue) -> Result<(), PipelineError> {
    for erasure in crate::erasure::waiting(lake).await? {
        queue.leave_out(erasure.site, erasure.visitor.unwrap_or_default());
    }
    Ok(())
}

/// The newest rules of the live log; those given where nothing was read live.
pub(super) async fn rules_in_force(
    lake: &Lake,
    settings: &LakeSettings,
    given: &Arc<Rules>,
) -> Result<Arc<Rules>, PipelineError> {
    let newest = snapshot::newest(lake, &settings.topic, Partition(0)).await?;
    Ok(newest.map_or_else(|| given.clone(), |(_, state)| state.rules().newest().1.clone()))
}

/// Which table's rows are replaced last, for they tell what is left to do; and what number the tables are
/// marked with where history is folded again.
pub(super) struct Order {
    pub last: Table,
    pub recompute: Option<i64>,
}

impl Order {
    fn repair() -> Order {
        Order { last: Table::Events, recompute: None }
    }
}

/// Runs that are folded again, and their rows replaced.
pub(super) struct Job<'l> {
    pub lake: &'l Lake,
    pub rules: Arc<Rules>,
    /// Opened before the others, as they are: a rewrite in between is the first.
    pub duplicates: TableWriter,
    /// Those of [`REPLACED`].
    pub tables: Vec<(Table, TableWriter)>,
}

impl Job<'_> {
    /// How many late events have a session now; `None` when another rewrite was first.
    ///
    /// # Errors
    /// `Lake`, `Rows`; what was replaced before stays.
    pub async fn replace(
        &mut self,
        runs: Runs,
        conditions: Conditions,
        order: &Order,
    ) -> Result<Option<usize>, PipelineError> {
        let (days, runs) = (runs.days(), Arc::new(runs));
        let (mut taken, mut kept) = (Vec::new(), Kept::default());
        for (table, writer) in &self.tables {
            let files = of_days(writer.files()?, &days);
            taken.push(take_out(self.lake, *table, files, &runs, &mut kept).await?);
        }
        let keeps_ends = order.recompute.is_some();
        let mut refold = Refold::new(&self.rules, conditions, runs.clone(), kept, keeps_ends);
        let new = self.fold(&runs, &mut refold).await?;
        let mut parts: Vec<_> = self.tables.iter_mut().zip(taken).zip(new).collect();
        parts.sort_by_key(|(((table, _), _), _)| *table == order.last);
        for (((table, writer), old), new) in parts {
            if *table == Table::Events
                && !add_duplicates(self.lake, &mut self.duplicates, &runs).await?
            {
                return Ok(None);
            }
            let marks = order.recompute.map(|number| (recompute_app_id(*table), number));
            if !put(writer, *table, old, new, marks.into_iter().collect()).await? {
                return Ok(None);
            }
        }
        Ok(Some(refold.late_events()))
    }

    /// Folds the runs again, into files of each table.
    async fn fold(
        &self,
        runs: &Arc<Runs>,
        refold: &mut Refold,
    ) -> Result<Vec<Vec<WrittenFile>>, PipelineError> {
        let schema = Table::Events.schema();
        let columns: Vec<usize> = (0..schema.fields().len()).collect();
        let files = of_days(events_of(&self.tables)?, &runs.days());
        let of_runs = runs.clone();
        let rows = rows_of(self.lake.clone(), Table::Events, files, columns)
            .map(move |batch| of_runs.only_counted(&batch?).map_err(PipelineError::from))
            .map(|batch| batch.map_err(|error| DataFusionError::External(Box::new(error))));
        let order = fold_order(&["site", "visitor_id", "event_time", "seq", "event_id"]);
        let mut rows = sorted(rows, schema.clone(), order).await?;
        let id = Uuid::new_v4();
        let mut files: Vec<FileWriter> =
            self.tables.iter().map(|(table, _)| FileWriter::new(self.lake, *table, id)).collect();
        while let Some(batch) = rows.next().await {
            let events = refold.fold(&plain(&batch.map_err(failed)?, &schema)?)?;
            write(&mut files, refold.take_rows()?, Some(events)).await?;
        }
        refold.end();
        write(&mut files, refold.take_rows()?, None).await?;
        let mut written = Vec::new();
        for files in files {
            written.push(files.finish().await?);
        }
        Ok(written)
    }
}

/// Writes rows of the tables of [`REPLACED`].
async fn write(
    files: &mut [FileWriter],
    derived: [RecordBatch; 3],
    events: Option<RecordBatch>,
) -> Result<(), PipelineError> {
    for (files, rows) in files.iter_mut().zip(derived.into_iter().chain(events)) {
        if rows.num_rows() > 0 {
            files.write(&rows).await?;
        }
    }
    Ok(())
}

/// Of two rows with one id the live one stays; the other is a duplicate from here on. False where another
/// rewrite was first: all of it is done again then, as the rows still stand in `events`.
async fn add_duplicates(
    lake: &Lake,
    writer: &mut TableWriter,
    runs: &Runs,
) -> Result<bool, PipelineError> {
    if runs.doubled.is_empty() {
        return Ok(true);
    }
    let (files, mut nothing) = (writer.files()?, Kept::default());
    let old = take_out(lake, Table::Duplicates, files, runs, &mut nothing).await?;
    let mut files = FileWriter::new(lake, Table::Duplicates, Uuid::new_v4());
    for (place, row) in &runs.doubled {
        let origin = Origin { log: place.log.as_str().into(), partition: place.partition };
        files.write(&duplicate_rows(std::slice::from_ref(row), &origin)?).await?;
    }
    put(writer, Table::Duplicates, old, files.finish().await?, Vec::new()).await
}

/// The files of `events`, the last of [`REPLACED`].
pub(super) fn events_of(tables: &[(Table, TableWriter)]) -> Result<Vec<TableFile>, PipelineError> {
    Ok(tables.last().map_or(Ok(Vec::new()), |(_, events)| events.files())?)
}

fn of_days(files: Vec<TableFile>, days: &RangeInclusive<Day>) -> Vec<TableFile> {
    files.into_iter().filter(|file| days.contains(&file.day)).collect()
}

/// Puts the new rows in place of those taken out; false when another rewrite was first.
async fn put(
    writer: &mut TableWriter,
    table: Table,
    taken: Taken,
    new: Vec<WrittenFile>,
    marks: Vec<(String, i64)>,
) -> Result<bool, PipelineError> {
    let Taken { replaced, mut kept } = taken;
    kept.extend(new);
    if replaced.is_empty() && kept.is_empty() && marks.is_empty() {
        return Ok(true);
    }
    tracing::debug!(table = table.name(), files = replaced.len(), "rows of runs replaced");
    Ok(writer.rewrite(Rewrite { replaced, files: kept, changes_rows: true, marks }).await?)
}
