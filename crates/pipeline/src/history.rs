//! History as a batch: rows in any order, sorted out of core, folded visitor by visitor with the same
//! step as live reading and no watermark, each table committed once at the end.
//!
//! `events` is committed first: a load that dies before it leaves nothing visible, and one that dies
//! behind it is finished by the same command, which then folds from the rows that stand there.

mod existing;
mod fold;
mod limit;
mod packed;
mod read;
mod sorted;
mod tables;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::RecordBatch;
use footfall_event::schema::Table;
use footfall_event::{Micros, Rejection};
use footfall_lake::{Lake, TableWriter};
use footfall_sessionizer::{Counts, Rules};

use crate::{JobsRun, PipelineError, rules_store};
use existing::{Existing, standing_rows};
use fold::HistoryFold;
use limit::live_limit;
use packed::Packing;
use read::Reader;
use sorted::{Sorted, sort};
use tables::HistoryTables;

/// A part of the files to be loaded, in the order of their rows.
pub struct HistoryBatch {
    /// In the schema of `events`: `log_offset` is the number of the row over all files, `received_time`
    /// when the load began, `log` its name; what the fold settles is NULL, and so is `appended_at`.
    pub events: RecordBatch,
    /// Rows that were refused, by their numbers.
    pub rejected: Vec<(u64, Rejection)>,
}

/// Reads the files from their beginning: `None` behind the last batch, a sentence when one cannot be
/// read.
pub type HistorySource = Box<dyn FnMut() -> Result<Option<HistoryBatch>, String> + Send>;

/// Opens the files, from their beginning each time.
pub type HistoryFiles = Box<dyn Fn() -> Result<HistorySource, String> + Send + Sync>;

/// What is loaded, and by which rules.
#[derive(Clone)]
pub struct Load {
    /// Hash of the files in order, the map and the site.
    pub hash: String,
    pub rules: Arc<Rules>,
    /// When the load began: what is younger than the session gap before it may still be going on.
    pub started: Micros,
    /// Where files are read and decoded.
    pub jobs_run: JobsRun,
}

/// What a load came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReceipt {
    pub counts: Counts,
    pub sessions: u64,
    pub needs: u64,
    pub page_views: u64,
    /// The tables that had the load's rows already.
    pub had: Vec<Table>,
}

impl Load {
    /// The name under which the rows of this load stand in the tables.
    pub fn log(&self) -> String {
        format!("load:{}", self.hash)
    }
}

/// Loads what the files hold. Repeated, it adds nothing.
///
/// # Errors
/// `Lake`, `Rows`, `Conditions`, `Source`, `LoadRows`; `LoadRules` when the load stands by other
/// rules; `LoadRaces`. Before `events` is committed nothing is visible.
pub async fn load(
    lake: &Lake,
    load: &Load,
    files: &HistoryFiles,
) -> Result<LoadReceipt, PipelineError> {
    for _ in 0..RUNS_MAX {
        let source = files().map_err(PipelineError::Source)?;
        if let Some(receipt) = run(lake, load, source).await? {
            return Ok(receipt);
        }
    }
    Err(PipelineError::LoadRaces { log: load.log(), runs: RUNS_MAX })
}

/// The same load may run in two processes. The one that comes second with `events` begins again, and
/// goes on from the rows of the first: which of them are late was decided there. So does one that another
/// load overtook, as what that one brought makes rows of this one duplicates, or leaves them to the repair.
const RUNS_MAX: usize = 3;

/// `None` when another process was first.
async fn run(
    lake: &Lake,
    load: &Load,
    source: HistorySource,
) -> Result<Option<LoadReceipt>, PipelineError> {
    let mut tables = HistoryTables::open(lake, load).await?;
    rules_store::keep(lake, &load.rules).await?;
    let standing = match tables.has(Table::Events) {
        true => Some(standing_rows(lake, &load.log()).await?),
        false => None,
    };
    let is_resumed = standing.is_some();
    let (reader, packed) = Reader::start(source, lake, load, standing)?;
    // The receipts first: what they tell of must be in `events`.
    let receipts = TableWriter::open(lake, Table::Receipts).await?;
    let mut events = TableWriter::open(lake, Table::Events).await?;
    let limit = live_limit(lake, &receipts, &mut events, load).await?;
    let existing = Existing::of_others(&events, &load.log()).await?;
    let mut sorted = if is_resumed {
        Sorted::standing(lake, &load.log()).await?
    } else {
        sort(packed, Packing::new(load)?).await?
    };
    let mut fold = HistoryFold::new(load, limit, existing, is_resumed)?;
    while let Some(rows) = sorted.next().await? {
        let folded = fold.fold(&rows).await?;
        tables.write(folded).await?;
    }
    let (rest, counts) = fold.finish();
    tables.write(rest).await?;
    let side = reader.finish().await?;
    tables.finish(side, counts).await
}
