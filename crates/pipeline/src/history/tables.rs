//! The tables of a load: files written as the fold goes, and one commit of each table at the end.

use std::collections::BTreeMap;

use footfall_event::schema::Table;
use footfall_event::{Offset, Partition};
use footfall_lake::{
    Commit, FileWriter, Lake, Outcome, Progress, TableWriter, WrittenFile, load_app_id,
    load_rules_app_id, loads_app_id,
};
use footfall_sessionizer::{Counts, ReceiptRow, Rows, RuleBook};

use super::fold::Folded;
use super::read::Side;
use super::{Load, LoadReceipt};
use crate::rows::{Origin, duplicate_rows, need_rows, page_view_rows, receipt_rows, session_rows};
use crate::{PipelineError, rules_store};

/// Derived rows are turned to Arrow when so many have come together.
const ROWS_AT_ONCE: usize = 16_384;
/// The version of a load's transaction: it is in the table.
const LOADED: i64 = 1;

pub struct HistoryTables {
    load: Load,
    lake: Lake,
    origin: Origin,
    writers: BTreeMap<Table, TableWriter>,
    /// Whether each table has the load's rows.
    has: BTreeMap<Table, bool>,
    /// How many loads `events` had at the beginning, before what they brought was read.
    loads: Option<i64>,
    files: BTreeMap<Table, FileWriter>,
    rows: Rows,
    receipt: LoadReceipt,
}

impl HistoryTables {
    /// # Errors
    /// `Lake`; `LoadRules` when `events` has the load's rows by other rules.
    pub async fn open(lake: &Lake, load: &Load) -> Result<HistoryTables, PipelineError> {
        let (mut writers, mut has, mut files) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut loads = None;
        for table in Table::ALL {
            let mut writer = TableWriter::open(lake, table).await?;
            let progress = writer.progress(&load_app_id(table, &load.hash)).await?;
            if table == Table::Events {
                loads = writer.progress(&loads_app_id()).await?;
                if progress.is_some() {
                    require_rules(lake, &mut writer, load).await?;
                }
            }
            has.insert(table, progress.is_some());
            writers.insert(table, writer);
            files.insert(table, FileWriter::of_load(lake, table, &load.hash));
        }
        let had = has.iter().filter(|(_, has)| **has).map(|(table, _)| *table).collect();
        Ok(HistoryTables {
            load: load.clone(),
            lake: lake.clone(),
            origin: Origin { log: load.log().into(), partition: Partition(0) },
            writers,
            has,
            loads,
            files,
            rows: Rows::default(),
            receipt: LoadReceipt { had, ..LoadReceipt::default() },
        })
    }

    pub fn has(&self, table: Table) -> bool {
        self.has.get(&table).copied().unwrap_or(false)
    }

    /// Writes what the fold gave to files.
    ///
    /// # Errors
    /// `Lake`, `Rows`.
    pub async fn write(&mut self, folded: Folded) -> Result<(), PipelineError> {
        if let Some(events) = folded.events.filter(|events| events.num_rows() > 0) {
            self.write_rows(Table::Events, &events).await?;
        }
        if !folded.duplicates.is_empty() {
            let rows = duplicate_rows(&folded.duplicates, &self.origin)?;
            self.write_rows(Table::Duplicates, &rows).await?;
        }
        self.rows.sessions.extend(folded.rows.sessions);
        self.rows.needs.extend(folded.rows.needs);
        self.rows.page_views.extend(folded.rows.page_views);
        if self.rows.page_views.len() + self.rows.sessions.len() >= ROWS_AT_ONCE {
            self.write_derived(&folded.book).await?;
        }
        Ok(())
    }

    async fn write_derived(&mut self, book: &RuleBook) -> Result<(), PipelineError> {
        let rows = std::mem::take(&mut self.rows);
        self.receipt.sessions += rows.sessions.len() as u64;
        self.receipt.needs += rows.needs.len() as u64;
        self.receipt.page_views += rows.page_views.len() as u64;
        self.write_rows(Table::Sessions, &session_rows(&rows.sessions, book)?).await?;
        self.write_rows(Table::Needs, &need_rows(&rows.needs, book)?).await?;
        self.write_rows(Table::PageViews, &page_view_rows(&rows.page_views, book)?).await
    }

    async fn write_rows(
        &mut self,
        table: Table,
        rows: &arrow::array::RecordBatch,
    ) -> Result<(), PipelineError> {
        if !self.has(table)
            && rows.num_rows() > 0
            && let Some(files) = self.files.get_mut(&table)
        {
            files.write(rows).await?;
        }
        Ok(())
    }

    /// Commits each table once, `events` first. `None` when another load, or this one in another process, was
    /// first with `events`: nothing of this run is in any table then.
    ///
    /// # Errors
    /// `Lake`, `Rows`.
    pub async fn finish(
        mut self,
        side: Side,
        mut counts: BTreeMap<String, Counts>,
    ) -> Result<Option<LoadReceipt>, PipelineError> {
        let book = RuleBook::new(self.load.rules.clone());
        self.write_derived(&book).await?;
        for (site, read) in &side.counts {
            let counts = counts.entry(site.clone()).or_default();
            counts.duplicate += read.duplicate;
            counts.rejected += read.rejected;
        }
        let receipts = self.receipt_rows(&counts, side.rows);
        let receipts = receipt_rows(&receipts, &self.origin)?;
        self.write_rows(Table::Receipts, &receipts).await?;
        let mut aside: BTreeMap<Table, Vec<WrittenFile>> = BTreeMap::from([
            (Table::Rejected, side.rejected),
            (Table::Duplicates, side.duplicates),
        ]);
        for (table, writer) in std::mem::take(&mut self.files) {
            let mut files = writer.finish().await?;
            files.extend(aside.remove(&table).unwrap_or_default());
            if !self.has(table) && !self.commit(table, files).await? {
                if table == Table::Events {
                    return Ok(None);
                }
                // Folded from the same rows of `events`, so its rows are these.
                self.receipt.had.push(table);
            }
        }
        for counts in counts.values() {
            let total = &mut self.receipt.counts;
            total.on_time += counts.on_time;
            total.late += counts.late;
            total.duplicate += counts.duplicate;
            total.rejected += counts.rejected;
            total.overflow += counts.overflow;
        }
        Ok(Some(self.receipt))
    }

    fn receipt_rows(&self, counts: &BTreeMap<String, Counts>, rows: i64) -> Vec<ReceiptRow> {
        let row = |site: Option<&str>, counts: Counts| ReceiptRow {
            from: Offset(0),
            to: Offset(rows),
            site: site.map(Into::into),
            hour: self.load.started.hour(),
            counts,
            pending: 0,
            watermark: None,
        };
        let mut receipts = vec![row(None, Counts::default())];
        receipts.extend(counts.iter().map(|(site, counts)| row(Some(site), *counts)));
        receipts
    }

    /// Whether it was this run that committed the load's rows.
    async fn commit(
        &mut self,
        table: Table,
        files: Vec<WrittenFile>,
    ) -> Result<bool, PipelineError> {
        let Some(writer) = self.writers.get_mut(&table) else { return Ok(false) };
        let loaded = |app_id| Progress { app_id, from: None, to: LOADED };
        let mut progress = vec![loaded(load_app_id(table, &self.load.hash))];
        if table == Table::Events {
            progress.push(loaded(load_rules_app_id(&self.load.hash, &self.load.rules.config_id())));
            let to = self.loads.unwrap_or(0) + 1;
            progress.push(Progress { app_id: loads_app_id(), from: self.loads, to });
        }
        let commit = Commit { files, progress, is_load: true, ..Commit::default() };
        match writer.commit(&commit).await? {
            Outcome::Committed { .. } => Ok(true),
            Outcome::Lost { .. } => {
                tracing::info!(table = table.name(), lake = %self.lake.url(), "another process was first");
                Ok(false)
            }
        }
    }
}

async fn require_rules(
    lake: &Lake,
    events: &mut TableWriter,
    load: &Load,
) -> Result<(), PipelineError> {
    let given = load.rules.config_id();
    if events.progress(&load_rules_app_id(&load.hash, &given)).await?.is_some() {
        return Ok(());
    }
    for rules in rules_store::all(lake).await? {
        let loaded_by = rules.config_id();
        if events.progress(&load_rules_app_id(&load.hash, &loaded_by)).await?.is_some() {
            return Err(PipelineError::LoadRules { log: load.log(), loaded_by, given });
        }
    }
    Err(PipelineError::LoadRules { log: load.log(), loaded_by: "unknown".to_owned(), given })
}
