//! The rows of runs out of a table's files: which files hold any, and what else they hold.

use std::collections::HashSet;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, not};
use footfall_event::Micros;
use footfall_event::schema::Table;
use footfall_lake::{FileWriter, Lake, TableFile, WrittenFile};
use footfall_sessionizer::CloseCause;
use futures::StreamExt;
use uuid::Uuid;

use super::super::rows_of;
use super::runs::{Place, Runs};
use crate::PipelineError;
use crate::scan::{is_set, places_of, record_at, text_at, time_at};

/// Files that are to be replaced, and their other rows in new ones.
#[derive(Debug, Default)]
pub struct Taken {
    pub replaced: Vec<TableFile>,
    pub kept: Vec<WrittenFile>,
}

/// What the rows that are replaced say and their events do not.
#[derive(Debug, Default)]
pub struct Kept {
    /// Needs whose signal was due: site, visitor, need, raised at.
    pub signalled: HashSet<(String, String, String, Micros)>,
    /// Runs whose last session ended with its load: site, visitor, the run's first event.
    pub ended_with_load: HashSet<(String, String, Micros)>,
}

/// Takes the rows of `runs` out of `files`.
///
/// # Errors
/// `Lake`, `Rows`.
pub async fn take_out(
    lake: &Lake,
    table: Table,
    files: Vec<TableFile>,
    runs: &Runs,
    said: &mut Kept,
) -> Result<Taken, PipelineError> {
    let schema = table.schema();
    let keys = places_of(table, key_columns(table))?;
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    let mut taken = Taken::default();
    for file in files {
        let mut found = false;
        let mut rows = rows_of(lake.clone(), table, vec![file.clone()], keys.clone());
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let of_runs = is_of_runs(table, &batch, runs);
            found |= of_runs.true_count() > 0;
            match table {
                Table::Needs => said.note_needs(&filter_record_batch(&batch, &of_runs)?),
                Table::Sessions => {
                    said.note_sessions(&filter_record_batch(&batch, &of_runs)?, runs);
                }
                _ => {}
            }
        }
        if !found {
            continue;
        }
        let mut kept = FileWriter::new(lake, table, Uuid::new_v4());
        let mut rows = rows_of(lake.clone(), table, vec![file.clone()], all.clone());
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let others = filter_record_batch(&batch, &not(&is_of_runs(table, &batch, runs))?)?;
            if others.num_rows() > 0 {
                kept.write(&others).await?;
            }
        }
        taken.kept.extend(kept.finish().await?);
        taken.replaced.push(file);
    }
    Ok(taken)
}

const fn key_columns(table: Table) -> &'static [&'static str] {
    match table {
        Table::Events => &["site", "visitor_id", "event_time"],
        Table::Needs => &["site", "visitor_id", "need", "raised_at", "signalled"],
        Table::Sessions => &["site", "visitor_id", "started_at", "close_cause"],
        Table::Duplicates => &["log", "log_partition", "log_offset"],
        _ => &["site", "visitor_id", "started_at"],
    }
}

fn is_of_runs(table: Table, rows: &RecordBatch, runs: &Runs) -> BooleanArray {
    let is_of = |row: usize| match table {
        Table::Events => runs.hold(rows, "event_time", row),
        Table::Needs => runs.hold(rows, "raised_at", row),
        Table::Duplicates => {
            place_of(rows, row).is_some_and(|place| runs.doubled.contains_key(&place))
        }
        _ => runs.hold(rows, "started_at", row),
    };
    (0..rows.num_rows()).map(|row| Some(is_of(row))).collect()
}

/// The record that a row is of.
pub fn place_of(rows: &RecordBatch, row: usize) -> Option<Place> {
    let (log, partition, offset) = record_at(rows, row)?;
    Some(Place { log: log.to_owned(), partition, offset })
}

impl Kept {
    fn note_needs(&mut self, rows: &RecordBatch) {
        for row in (0..rows.num_rows()).filter(|row| is_set(rows, "signalled", *row)) {
            let text = |column| text_at(rows, column, row).unwrap_or_default().to_owned();
            if let Some(raised_at) = time_at(rows, "raised_at", row) {
                self.signalled.insert((text("site"), text("visitor_id"), text("need"), raised_at));
            }
        }
    }

    fn note_sessions(&mut self, rows: &RecordBatch, runs: &Runs) {
        for row in 0..rows.num_rows() {
            let text = |column| text_at(rows, column, row).unwrap_or_default();
            if text("close_cause") != CloseCause::EndOfLoad.name() {
                continue;
            }
            let (site, visitor_id) = (text("site"), text("visitor_id"));
            let run = time_at(rows, "started_at", row)
                .and_then(|started_at| runs.at(site, visitor_id, started_at));
            if let Some(run) = run {
                self.ended_with_load.insert((site.to_owned(), visitor_id.to_owned(), run.from));
            }
        }
    }
}
