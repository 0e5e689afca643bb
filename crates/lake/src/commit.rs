//! Commits that carry how far they speak: an application transaction for each partition, whose
//! version is the next offset. That is the only truth on progress.
//!
//! delta-rs never compares these versions; so they are read from the very snapshot that the commit is made
//! against, and held against where this batch begins. A commit becomes the version behind that snapshot or none:
//! where others came, all is looked at again, the age of its files too, for one of them may have been a `VACUUM`. What
//! took long is taken for a lost answer: `delta_log.rs`.

mod decision;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use datafusion::catalog::TableProvider;
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::TransactionError;
use deltalake_core::kernel::{Action, Transaction};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use footfall_event::schema::Table;
use footfall_event::{Day, Partition};

use crate::delta_log::DeltaLog;
use crate::parquet_file::{FILE_AGE_MAX, LOAD_FILE_AGE_MAX};
use crate::{Lake, LakeError, TableFile, WrittenFile};
use decision::{Standing, Verdict};

/// Each attempt that another writer's version is in the way of is one that another writer made.
const ATTEMPTS_MAX: usize = 30;

/// `footfall/<table>/<topic>/<partition>`: whose version is the next offset.
pub fn app_id(table: Table, topic: &str, partition: Partition) -> String {
    format!("footfall/{}/{topic}/{partition}", table.name())
}

/// `footfall/<table>/<topic>/<partition>/appended`: whose version is the append time of the record before the one that
/// [`app_id`] names. It tells a log from another one.
pub fn appended_app_id(table: Table, topic: &str, partition: Partition) -> String {
    format!("{}/appended", app_id(table, topic, partition))
}

/// `footfall/<table>/rewrite`: whose version is the number of rewrites. Two that replace the same file
/// would both win where one says that it changed no data; of two with one id, one is refused.
pub fn rewrite_app_id(table: Table) -> String {
    format!("footfall/{}/rewrite", table.name())
}

/// `footfall/<table>/removed_before`: whose version is the first day, since 1970-01-01, that retention left.
pub fn removed_before_app_id(table: Table) -> String {
    format!("footfall/{}/removed_before", table.name())
}

/// `footfall/<table>/recompute`: which has a version where history was folded again by other rules.
pub fn recompute_app_id(table: Table) -> String {
    format!("footfall/{}/recompute", table.name())
}

/// `footfall/<table>/load/<hash>`: whose version is 1 when the load's rows are in the table.
pub fn load_app_id(table: Table, hash: &str) -> String {
    format!("footfall/{}/load/{hash}", table.name())
}

/// `footfall/events/load/<hash>/<config_id>`: which has a version where the load was folded by these rules.
pub fn load_rules_app_id(hash: &str, config_id: &str) -> String {
    format!("{}/{config_id}", load_app_id(Table::Events, hash))
}

/// `footfall/events/loads`: whose version is the number of loads. What a load leaves out depends on what others
/// brought; of two that do not know of each other one is refused.
pub fn loads_app_id() -> String {
    format!("footfall/{}/loads", Table::Events.name())
}

/// How far a table got under an application id, before and after a commit. `None`: it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub app_id: String,
    pub from: Option<i64>,
    pub to: i64,
}

/// Files and progress that appear together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    pub files: Vec<WrittenFile>,
    pub progress: Vec<Progress>,
    /// Application ids that stand at these versions from here on, wherever they stood.
    pub marks: Vec<(String, i64)>,
    pub is_load: bool,
}

/// Files in place of others.
#[derive(Clone, Debug, Default)]
pub struct Rewrite {
    pub replaced: Vec<TableFile>,
    pub files: Vec<WrittenFile>,
    /// Whether the rows are others than before, and not only elsewhere.
    pub changes_rows: bool,
    /// Application ids that stand at these versions from here on.
    pub marks: Vec<(String, i64)>,
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Committed {
        version: u64,
    },
    /// Another writer got there first: the versions that stand, for the ids that differ from `from`.
    Lost {
        standing: BTreeMap<String, Option<i64>>,
    },
}

/// Writes to one table, against the snapshot it holds.
pub struct TableWriter {
    lake: Lake,
    table: Table,
    log: Box<dyn DeltaLog>,
    /// Transaction versions of the snapshot held, as far as they were asked for.
    known: BTreeMap<String, Option<i64>>,
}

impl TableWriter {
    /// # Errors
    /// `Delta`; a table that was not made is an error here.
    pub async fn open(lake: &Lake, table: Table) -> Result<TableWriter, LakeError> {
        let log = lake.logs().open(lake, table).await?;
        Ok(TableWriter { lake: lake.clone(), table, log, known: BTreeMap::new() })
    }

    /// The version of `app_id` in the snapshot held.
    ///
    /// # Errors
    /// `Delta`.
    pub async fn progress(&mut self, app_id: &str) -> Result<Option<i64>, LakeError> {
        if let Some(known) = self.known.get(app_id) {
            return Ok(*known);
        }
        let version = match self.log.transaction_version(app_id).await {
            Ok(version) => version,
            // The log that the snapshot held was read from may be gone.
            Err(_) => {
                self.reopen().await?;
                let failed = |source| LakeError::Delta { table: self.table, source };
                self.log.transaction_version(app_id).await.map_err(failed)?
            }
        };
        self.known.insert(app_id.to_owned(), version);
        Ok(version)
    }

    /// The versions of ids in one snapshot: where one cannot be looked up, the table is opened anew, and what was looked
    /// up before is of another.
    ///
    /// # Errors
    /// `Delta`.
    pub async fn progress_of(
        &mut self,
        app_ids: impl Iterator<Item = &str> + Clone,
    ) -> Result<Vec<Option<i64>>, LakeError> {
        loop {
            let (held, mut standing) = (self.version(), Vec::new());
            for app_id in app_ids.clone() {
                standing.push(self.progress(app_id).await?);
            }
            if self.version() == held {
                return Ok(standing);
            }
        }
    }

    /// Takes up the table's newest version.
    ///
    /// # Errors
    /// `Delta`.
    pub async fn reload(&mut self) -> Result<(), LakeError> {
        self.known.clear();
        match self.log.follow().await {
            Ok(()) => Ok(()),
            Err(_) => self.reopen().await,
        }
    }

    /// Reads the newest version without what is held: versions that led to it may have been deleted.
    async fn reopen(&mut self) -> Result<(), LakeError> {
        *self = TableWriter::open(&self.lake, self.table).await?;
        Ok(())
    }

    pub fn version(&self) -> Option<u64> {
        self.log.version()
    }

    /// Commits if every id stands where the commit begins; on any error the table is read again, as
    /// the commit may have gone through before its answer was lost.
    ///
    /// # Errors
    /// `Delta` when the table cannot be read or written, with nothing of the commit in it; `Stale`
    /// when a file is too old to be committed.
    pub async fn commit(&mut self, commit: &Commit) -> Result<Outcome, LakeError> {
        let age_max = if commit.is_load { LOAD_FILE_AGE_MAX } else { FILE_AGE_MAX };
        let moved = decision::moved(commit, &self.standing(commit).await?);
        if !moved.is_empty() {
            return Ok(Outcome::Lost { standing: moved });
        }
        let mut attempts = 1;
        loop {
            self.refuse_stale(&commit.files, age_max)?;
            let held = self.version();
            let failed = match self.try_commit(commit).await {
                Ok(version) => return Ok(Outcome::Committed { version }),
                Err(source) => source,
            };
            self.reload().await?;
            // An erasure may have taken the versions behind the one held: that fails in another way.
            let may_pass = was_overtaken(&failed) || self.version() != held;
            let standing = self.standing(commit).await?;
            let holds_files = self.holds(&commit.files)?;
            match decision::judge(commit, &standing, holds_files, may_pass) {
                Verdict::Ours => {
                    return Ok(Outcome::Committed { version: self.version().unwrap_or(0) });
                }
                Verdict::Lost(standing) => return Ok(Outcome::Lost { standing }),
                Verdict::Again if attempts < ATTEMPTS_MAX => attempts += 1,
                Verdict::Again | Verdict::Failed => {
                    return Err(LakeError::Delta { table: self.table, source: failed });
                }
            }
        }
    }

    /// The first day that retention left in the table; `None` where it removed nothing.
    ///
    /// # Errors
    /// `Delta`.
    pub async fn removed_before(&mut self) -> Result<Option<Day>, LakeError> {
        let day = self.progress(&removed_before_app_id(self.table)).await?;
        Ok(day.and_then(|day| i32::try_from(day).ok()).map(Day))
    }

    /// The files of the snapshot held.
    ///
    /// # Errors
    /// `Delta`, `Unreadable`.
    pub fn files(&self) -> Result<Vec<TableFile>, LakeError> {
        self.log.files()
    }

    /// The rows of the snapshot held, as DataFusion reads them.
    ///
    /// # Errors
    /// `Delta`.
    pub async fn provider(&self) -> Result<Arc<dyn TableProvider>, LakeError> {
        self.log.provider(&self.lake).await
    }

    /// Puts files in place of others that the snapshot held has; false where another rewrite was first,
    /// and nothing of this one is in the table. Appends are none of its concern.
    ///
    /// # Errors
    /// `Delta`, `Stale`.
    pub async fn rewrite(&mut self, rewrite: Rewrite) -> Result<bool, LakeError> {
        let id = rewrite_app_id(self.table);
        let held = self.version();
        let before = self.progress(&id).await?;
        if self.version() != held {
            // Read again, as an erasure took the versions behind the one held: it was first.
            return Ok(false);
        }
        let removed = rewrite.replaced.iter().map(|file| {
            let mut remove = file.remove.clone();
            remove.data_change = rewrite.changes_rows;
            Action::Remove(remove)
        });
        let added = rewrite.files.iter().map(|file| {
            let mut add = file.add.clone();
            add.data_change = rewrite.changes_rows;
            Action::Add(add)
        });
        let actions: Vec<Action> = removed.chain(added).collect();
        let operation = DeltaOperation::Update { predicate: None };
        let mut transactions = vec![Transaction::new(&id, before.unwrap_or(0) + 1)];
        transactions
            .extend(rewrite.marks.iter().map(|(id, version)| Transaction::new(id, *version)));
        let mut attempts = 1;
        loop {
            self.refuse_stale(&rewrite.files, FILE_AGE_MAX)?;
            let (actions, operation) = (actions.clone(), operation.clone());
            let failed = match self.build(actions, transactions.clone(), operation).await {
                Ok(_) => return Ok(true),
                Err(source) => source,
            };
            self.reload().await?;
            if !rewrite.files.is_empty() && self.holds(&rewrite.files)? {
                return Ok(true);
            }
            if self.progress(&id).await? != before || !self.holds_all(&rewrite.replaced)? {
                return Ok(false);
            }
            if !was_overtaken(&failed) || attempts == ATTEMPTS_MAX {
                return Err(LakeError::Delta { table: self.table, source: failed });
            }
            attempts += 1;
        }
    }

    fn refuse_stale(&self, files: &[WrittenFile], age_max: Duration) -> Result<(), LakeError> {
        match files.iter().map(|file| file.finished.age()).max() {
            Some(age) if age > age_max => {
                Err(LakeError::Stale { table: self.table, minutes: age.as_secs() / 60 })
            }
            _ => Ok(()),
        }
    }

    /// Where the ids of a commit stand, all of them in the snapshot held.
    async fn standing(&mut self, commit: &Commit) -> Result<Standing, LakeError> {
        let app_ids = commit.progress.iter().map(|progress| progress.app_id.as_str());
        let versions = self.progress_of(app_ids.clone()).await?;
        Ok(app_ids.map(str::to_owned).zip(versions).collect())
    }

    async fn try_commit(&mut self, commit: &Commit) -> Result<u64, DeltaTableError> {
        let progress = commit.progress.iter().map(|p| Transaction::new(&p.app_id, p.to));
        let marks = commit.marks.iter().map(|(id, version)| Transaction::new(id, *version));
        let transactions = progress.chain(marks).collect();
        let actions = commit.files.iter().map(|file| Action::Add(file.add.clone())).collect();
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: Some(vec![self.table.partition_column().to_owned()]),
            predicate: None,
        };
        self.build(actions, transactions, operation).await
    }

    async fn build(
        &mut self,
        actions: Vec<Action>,
        transactions: Vec<Transaction>,
        operation: DeltaOperation,
    ) -> Result<u64, DeltaTableError> {
        let made = transactions.iter().map(|made| (made.app_id.clone(), Some(made.version)));
        let made = made.collect::<Vec<_>>();
        let version = self.log.commit(actions, transactions, operation).await?;
        self.known.extend(made);
        Ok(version)
    }

    /// Whether the snapshot held has these files still.
    fn holds_all(&self, files: &[TableFile]) -> Result<bool, LakeError> {
        let held = self.files()?;
        let held: HashSet<&str> = held.iter().map(TableFile::path).collect();
        Ok(files.iter().all(|file| held.contains(file.path())))
    }

    /// Whether a commit's files are in the table.
    fn holds(&self, files: &[WrittenFile]) -> Result<bool, LakeError> {
        let Some(file) = files.first() else { return Ok(true) };
        self.log.holds(&file.add.path)
    }
}

/// Whether another writer made the version that was to be made, and not the store or the log failed.
fn was_overtaken(error: &DeltaTableError) -> bool {
    matches!(error, DeltaTableError::Transaction { source: TransactionError::MaxCommitAttempts(_) })
}

#[cfg(test)]
mod tests;
