//! Takes a person's rows out of the tables: `events` last, for its rows tell which ranges of the receipts
//! count them, and which sessions are a newcomer's. What was refused and what was sent again keeps its row,
//! without what names them, so that the receipts add up.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::{filter_record_batch, not};
use arrow::error::ArrowError;
use footfall_event::schema::Table;
use footfall_event::{Partition, visitor_hash};
use footfall_lake::{
    FileWriter, Lake, Rewrite, TableFile, TableWriter, app_id, checkpoint, load_app_id,
};
use futures::StreamExt;
use uuid::Uuid;

use super::ranges::{EventPlace, Ranges};
use super::{ErasedRows, Erasure, Person, record};
use crate::PipelineError;
use crate::rewrite::rows_of;
use crate::scan::{is_set, places_of, record_at, text_at, time_at};
use crate::snapshot;

/// The tables that name people, in the order in which they are rewritten.
pub const OF_PEOPLE: [Table; 6] = [
    Table::Duplicates,
    Table::Rejected,
    Table::PageViews,
    Table::Needs,
    Table::Sessions,
    Table::Events,
];
/// Those of them that are made of `events`.
const DERIVED: [Table; 3] = [Table::PageViews, Table::Needs, Table::Sessions];
/// In place of a text that names the person.
const ERASED: &str = "erased";

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    Done,
    /// A table, a snapshot or a load is not there yet, in words; or another rewrite was first.
    Waits(&'static str),
}

/// What of the tables is the person's.
pub struct Scope<'e> {
    pub erasure: &'e Erasure,
    pub person: &'e Person,
    pub sessions: BTreeSet<String>,
    /// Hashes of the ids of the person's events.
    event_ids: HashSet<u64>,
}

impl<'e> Scope<'e> {
    /// What is left of it when the rows of `events` are gone.
    pub fn of_sessions(erasure: &'e Erasure, person: &'e Person) -> Scope<'e> {
        let sessions = erasure.sessions.iter().cloned().collect();
        Scope { erasure, person, sessions, event_ids: HashSet::new() }
    }

    /// Which rows go or are changed.
    pub fn mask(&self, table: Table, rows: &RecordBatch) -> BooleanArray {
        (0..rows.num_rows()).map(|row| Some(self.holds(table, rows, row))).collect()
    }

    fn holds(&self, table: Table, rows: &RecordBatch, row: usize) -> bool {
        let text = |column| text_at(rows, column, row).unwrap_or_default();
        match table {
            Table::Events => self.person.has_row(rows, row) && self.reaches(rows, row),
            Table::Rejected => {
                let names = self.person.is_named_in(text("payload"))
                    || self.person.is_named_in(text("field"));
                names && self.reaches(rows, row)
            }
            Table::Duplicates => {
                let (site, event_id) = (text("site"), text("event_id"));
                let is_theirs = site == self.erasure.site
                    && self.event_ids.contains(&visitor_hash(site, event_id));
                (is_theirs || self.person.is_named_in(event_id)) && self.reaches(rows, row)
            }
            _ => self.person.has_row(rows, row) && self.sessions.contains(text("session_id")),
        }
    }

    fn reaches(&self, rows: &RecordBatch, row: usize) -> bool {
        record_at(rows, row)
            .is_some_and(|(log, partition, offset)| self.erasure.reaches(log, partition, offset))
    }
}

/// The columns that tell whether a row is meant, by their places, ascending.
fn key_columns(table: Table) -> Result<Vec<usize>, ArrowError> {
    let names: &[&str] = match table {
        Table::Events => &["site", "visitor_id", "log", "log_partition", "log_offset"],
        Table::Rejected => &["payload", "field", "log", "log_partition", "log_offset"],
        Table::Duplicates => &["site", "event_id", "log", "log_partition", "log_offset"],
        _ => &["site", "visitor_id", "session_id"],
    };
    places_of(table, names)
}

/// Rewrites the tables without the person, and checkpoints them, when all speak behind the control
/// records.
///
/// # Errors
/// `Lake`, `Rows`; what was rewritten before stays, and the same done again completes it.
pub async fn erase_rows(
    lake: &Lake,
    erasure: &mut Erasure,
    person: &Person,
) -> Result<Attempt, PipelineError> {
    if !is_behind(lake, erasure).await? {
        return Ok(Attempt::Waits("no snapshot of a partition lies behind its control record yet"));
    }
    let mut writers = open_all(lake).await?;
    let home = erasure.home(person.visitor_id());
    if !are_events_ahead(erasure, home, &mut writers).await? {
        return Ok(Attempt::Waits("`events` speaks less far than what is made of it"));
    }
    let theirs = Theirs::read(lake, erasure, person, home, &writers).await?;
    if !are_whole(&theirs.loads, &mut writers).await? {
        return Ok(Attempt::Waits("a load with rows of theirs is not whole: run it again"));
    }
    let event_ids = theirs.add_to(erasure);
    record::keep(lake, erasure).await?;
    for table in OF_PEOPLE {
        let Some((_, writer)) = writers.iter_mut().find(|(of, _)| *of == table) else { continue };
        let event_ids = if table == Table::Duplicates { &event_ids } else { &HashSet::new() };
        let scope = Scope { event_ids: event_ids.clone(), ..Scope::of_sessions(erasure, person) };
        let (rewrite, rows) = without(lake, table, writer.files()?, &scope).await?;
        if !rewrite.replaced.is_empty() {
            // Counted before they go: one that dies in between finds them to count, or they are gone.
            let counted = ErasedRows { rows, ..ErasedRows::default() };
            erasure.tables.insert(table.name().to_owned(), counted);
            record::keep(lake, erasure).await?;
        }
        // Also where there is nothing to replace: a repair that read the tables before must not put the
        // person there.
        if !writer.rewrite(rewrite).await? {
            return Ok(Attempt::Waits("another rewrite of the tables was first"));
        }
    }
    for table in OF_PEOPLE {
        let first_version = checkpoint(lake, table).await?;
        erasure.tables.entry(table.name().to_owned()).or_default().first_version = first_version;
    }
    Ok(Attempt::Done)
}

/// All tables, `events` last: what the others hold was made of events that it has, once it speaks as far.
async fn open_all(lake: &Lake) -> Result<Vec<(Table, TableWriter)>, PipelineError> {
    let mut tables = Table::ALL;
    tables.sort_by_key(|table| *table == Table::Events);
    let mut writers = Vec::new();
    for table in tables {
        writers.push((table, TableWriter::open(lake, table).await?));
    }
    Ok(writers)
}

/// Whether `events` speaks of the person's partition as far as the tables that are made of it: the tables
/// of one interval are committed side by side, and a newcomer's session is known by its events alone.
async fn are_events_ahead(
    erasure: &Erasure,
    home: Partition,
    writers: &mut [(Table, TableWriter)],
) -> Result<bool, PipelineError> {
    let (mut events, mut derived) = (None, None);
    for (table, writer) in writers {
        let standing = writer.progress(&app_id(*table, &erasure.log, home)).await?;
        match table {
            Table::Events => events = standing,
            table if DERIVED.contains(table) => derived = derived.max(standing),
            _ => {}
        }
    }
    Ok(events >= derived)
}

/// Whether a snapshot of each partition lies behind its control record: all tables speak behind it then.
async fn is_behind(lake: &Lake, erasure: &Erasure) -> Result<bool, PipelineError> {
    for (partition, control) in erasure.offsets() {
        let newest = snapshot::offsets(lake, &erasure.log, partition).await?.pop();
        if newest.is_none_or(|newest| newest <= control) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether all tables hold the loads: what one holds of a load that died is not known to the others.
async fn are_whole(
    loads: &BTreeSet<String>,
    writers: &mut [(Table, TableWriter)],
) -> Result<bool, PipelineError> {
    for load in loads {
        let hash = load.trim_start_matches("load:");
        for (table, writer) in writers.iter_mut() {
            if writer.progress(&load_app_id(*table, hash)).await?.is_none() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// What the tables tell of a person.
struct Theirs {
    ranges: Ranges,
    sessions: BTreeSet<String>,
    event_ids: HashSet<u64>,
    loads: BTreeSet<String>,
    has_repaired: bool,
}

impl Theirs {
    async fn read(
        lake: &Lake,
        erasure: &Erasure,
        person: &Person,
        home: Partition,
        writers: &[(Table, TableWriter)],
    ) -> Result<Theirs, PipelineError> {
        let mut theirs = Theirs {
            ranges: Ranges::read(lake, erasure, home).await?,
            sessions: BTreeSet::new(),
            event_ids: HashSet::new(),
            loads: BTreeSet::new(),
            has_repaired: false,
        };
        let newcomers = theirs.add_events(lake, erasure, person, writers).await?;
        theirs.add_sessions(lake, person, writers, &newcomers).await?;
        Ok(theirs)
    }

    /// The sessions of who came by the same id since.
    async fn add_events(
        &mut self,
        lake: &Lake,
        erasure: &Erasure,
        person: &Person,
        writers: &[(Table, TableWriter)],
    ) -> Result<HashSet<String>, PipelineError> {
        let columns = places_of(
            Table::Events,
            &[
                "site",
                "visitor_id",
                "event_id",
                "session_id",
                "event_time",
                "late",
                "overflow",
                "log",
                "log_partition",
                "log_offset",
            ],
        )?;
        let scope = Scope::of_sessions(erasure, person);
        let mut newcomers = HashSet::new();
        let files = files_of(writers, Table::Events)?;
        let mut rows = rows_of(lake.clone(), Table::Events, files, columns);
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            for row in (0..batch.num_rows()).filter(|row| person.has_row(&batch, *row)) {
                match scope.reaches(&batch, row) {
                    true => self.take(&batch, row),
                    false => {
                        newcomers.extend(text_at(&batch, "session_id", row).map(str::to_owned))
                    }
                }
            }
        }
        Ok(newcomers)
    }

    /// All of the id's sessions but a newcomer's are theirs. `events` need not name them: retention may
    /// have removed its rows, and a repair that died may have replaced all tables but this one.
    async fn add_sessions(
        &mut self,
        lake: &Lake,
        person: &Person,
        writers: &[(Table, TableWriter)],
        newcomers: &HashSet<String>,
    ) -> Result<(), PipelineError> {
        for table in DERIVED {
            let (files, columns) = (files_of(writers, table)?, key_columns(table)?);
            let mut rows = rows_of(lake.clone(), table, files, columns);
            while let Some(batch) = rows.next().await {
                let batch = batch?;
                for row in (0..batch.num_rows()).filter(|row| person.has_row(&batch, *row)) {
                    let session = text_at(&batch, "session_id", row).unwrap_or_default();
                    if !newcomers.contains(session) && !self.sessions.contains(session) {
                        self.sessions.insert(session.to_owned());
                    }
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, rows: &RecordBatch, row: usize) {
        let Some((log, partition, offset)) = record_at(rows, row) else { return };
        let flag = |name| is_set(rows, name, row);
        let (is_late, overflows) = (flag("late"), flag("overflow"));
        let event_time = time_at(rows, "event_time", row).unwrap_or_default();
        let (partition, offset) = (partition.0, offset.0);
        let event = EventPlace { log, partition, offset, event_time, is_late, overflows };
        self.ranges.count(event);
        let text = |column| text_at(rows, column, row);
        if let Some(session) = text("session_id") {
            self.sessions.insert(session.to_owned());
            self.has_repaired |= is_late;
        }
        if let (Some(site), Some(event_id)) = (text("site"), text("event_id")) {
            self.event_ids.insert(visitor_hash(site, event_id));
        }
        if log.starts_with("load:") && !self.loads.contains(log) {
            self.loads.insert(log.to_owned());
        }
    }

    /// Keeps what must be known when the rows are gone; the ids of the events.
    fn add_to(self, erasure: &mut Erasure) -> HashSet<u64> {
        self.ranges.replace(&mut erasure.ranges);
        let before = std::mem::take(&mut erasure.sessions);
        let sessions: BTreeSet<String> = before.into_iter().chain(self.sessions).collect();
        erasure.sessions = sessions.into_iter().collect();
        erasure.has_repaired |= self.has_repaired;
        erasure.is_counted = true;
        self.event_ids
    }
}

fn files_of(
    writers: &[(Table, TableWriter)],
    table: Table,
) -> Result<Vec<TableFile>, PipelineError> {
    let writer = writers.iter().find(|(of, _)| *of == table);
    Ok(writer.map_or(Ok(Vec::new()), |(_, writer)| writer.files())?)
}

/// The files that hold anything of the person, and what else they hold in new ones; and how many rows
/// are the person's.
async fn without(
    lake: &Lake,
    table: Table,
    files: Vec<TableFile>,
    scope: &Scope<'_>,
) -> Result<(Rewrite, u64), PipelineError> {
    let all: Vec<usize> = (0..table.schema().fields().len()).collect();
    let mut rewrite = Rewrite { changes_rows: true, ..Rewrite::default() };
    let mut meant = 0;
    for file in files {
        if !has_any(lake, table, &file, scope).await? {
            continue;
        }
        let mut kept = FileWriter::new(lake, table, Uuid::new_v4());
        let mut rows = rows_of(lake.clone(), table, vec![file.clone()], all.clone());
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let mask = scope.mask(table, &batch);
            meant += mask.true_count() as u64;
            let others = match table {
                Table::Rejected => blank(&batch, &mask, &[("payload", ""), ("field", ERASED)])?,
                Table::Duplicates => blank(&batch, &mask, &[("event_id", ERASED)])?,
                _ => filter_record_batch(&batch, &not(&mask)?)?,
            };
            if others.num_rows() > 0 {
                kept.write(&others).await?;
            }
        }
        rewrite.files.extend(kept.finish().await?);
        rewrite.replaced.push(file);
    }
    Ok((rewrite, meant))
}

/// Whether a file holds a row that is meant.
///
/// # Errors
/// `Lake`, `Rows`.
pub async fn has_any(
    lake: &Lake,
    table: Table,
    file: &TableFile,
    scope: &Scope<'_>,
) -> Result<bool, PipelineError> {
    let mut rows = rows_of(lake.clone(), table, vec![file.clone()], key_columns(table)?);
    while let Some(batch) = rows.next().await {
        if scope.mask(table, &batch?).true_count() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The rows with other texts where `mask` says so.
fn blank(
    rows: &RecordBatch,
    mask: &BooleanArray,
    texts: &[(&str, &str)],
) -> Result<RecordBatch, ArrowError> {
    let mut columns = rows.columns().to_vec();
    for (name, blank) in texts {
        let place = rows.schema().index_of(name)?;
        let column = rows.column(place).as_string::<i32>();
        let blanked: StringArray = column
            .iter()
            .enumerate()
            .map(|(row, text)| if mask.value(row) { Some(*blank) } else { text })
            .collect();
        columns[place] = Arc::new(blanked) as ArrayRef;
    }
    RecordBatch::try_new(rows.schema(), columns)
}
