//! A model of Delta's log in memory, for simulations: what a commit against an older version meets, told
//! by the same errors. It passes the tests of the real one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::TransactionError;
use deltalake_core::kernel::{Action, Add, Remove, Transaction};
use deltalake_core::protocol::DeltaOperation;
use footfall_event::Micros;
use footfall_event::schema::Table;
use futures::TryStreamExt;

use crate::delta_log::{DeltaLog, DeltaLogs};
use crate::table_file::{TableFile, file_of, read_file};
use crate::{Lake, LakeError};

/// What stands between a writer and the log: it may take its time, fail, or never answer.
#[async_trait]
pub trait Between: std::fmt::Debug + Send + Sync {
    /// Before anything of `what` is done; where it fails, nothing is.
    ///
    /// # Errors
    /// A sentence.
    async fn before(&self, what: &str) -> Result<(), String>;

    /// When `what` is done; where it fails, its answer is lost.
    ///
    /// # Errors
    /// A sentence.
    async fn after(&self, what: &str) -> Result<(), String>;

    /// For how long `what` is still under way after its caller was told that it failed.
    fn lands_later(&self, _what: &str) -> Option<Duration> {
        None
    }
}

/// The logs of all tables, as all processes see them.
#[derive(Clone, Debug, Default)]
pub struct ModelTables(Arc<Mutex<BTreeMap<Table, Vec<Version>>>>);

/// What a version changed.
#[derive(Clone, Debug, Default)]
struct Version {
    added: Vec<Add>,
    removed: Vec<Remove>,
    transactions: Vec<Transaction>,
}

/// The logs as one process reaches them.
#[derive(Clone, Debug)]
pub struct ModelLogs {
    tables: ModelTables,
    between: Arc<dyn Between>,
}

/// A version that a writer holds.
struct ModelLog {
    table: Table,
    logs: ModelLogs,
    version: usize,
    /// In the order in which they came: names differ from run to run.
    files: Vec<Add>,
    transactions: BTreeMap<String, i64>,
}

impl ModelTables {
    /// The tables as a process reaches them through `between`.
    pub fn reached_through(&self, between: Arc<dyn Between>) -> ModelLogs {
        ModelLogs { tables: self.clone(), between }
    }

    fn with<T>(&self, table: Table, look: impl FnOnce(&mut Vec<Version>) -> T) -> T {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        look(tables.entry(table).or_default())
    }

    /// Puts a version behind those that its writer holds; whether none was there.
    fn put(&self, table: Table, held: usize, made: Version) -> bool {
        self.with(table, |versions| {
            let is_next = versions.len() == held;
            if is_next {
                versions.push(made);
            }
            is_next
        })
    }
}

#[async_trait]
impl DeltaLogs for ModelLogs {
    async fn make(&self, _: &Lake, table: Table) -> Result<(), LakeError> {
        self.tables.with(table, |versions| {
            if versions.is_empty() {
                versions.push(Version::default());
            }
        });
        Ok(())
    }

    /// A simulation deletes old files by itself: an hour is old there.
    async fn delete_old_files(&self, _: &Lake, _: Table, _: Micros) -> Result<usize, LakeError> {
        Ok(0)
    }

    async fn open(&self, _: &Lake, table: Table) -> Result<Box<dyn DeltaLog>, LakeError> {
        let (files, transactions) = (Vec::new(), BTreeMap::new());
        let logs = self.clone();
        let mut log = ModelLog { table, logs, version: 0, files, transactions };
        log.follow().await.map_err(|source| LakeError::Delta { table, source })?;
        Ok(Box::new(log))
    }
}

impl ModelLog {
    fn what(&self, what: &str) -> String {
        format!("{what} {}", self.table.name())
    }

    fn take_up(&mut self, version: &Version) {
        let is_removed = |add: &Add| version.removed.iter().any(|gone| gone.path == add.path);
        self.files.retain(|add| !is_removed(add));
        self.files.extend(version.added.iter().cloned());
        let made = version.transactions.iter();
        self.transactions.extend(made.map(|made| (made.app_id.clone(), made.version)));
        self.version += 1;
    }
}

#[async_trait]
impl DeltaLog for ModelLog {
    fn version(&self) -> Option<u64> {
        self.version.checked_sub(1).map(|version| version as u64)
    }

    fn files(&self) -> Result<Vec<TableFile>, LakeError> {
        self.files.iter().map(|add| file_of(self.table, add)).collect()
    }

    fn holds(&self, path: &str) -> Result<bool, LakeError> {
        Ok(self.files.iter().any(|add| add.path == path))
    }

    async fn provider(&self, lake: &Lake) -> Result<Arc<dyn TableProvider>, LakeError> {
        let columns: Vec<usize> = (0..self.table.schema().fields().len()).collect();
        let mut rows = Vec::new();
        for file in self.files()? {
            let read = read_file(lake, self.table, &file, &columns).await?;
            rows.extend(read.try_collect::<Vec<_>>().await?);
        }
        let held = MemTable::try_new(self.table.schema(), vec![rows]);
        let failed =
            |source: DataFusionError| LakeError::Delta { table: self.table, source: source.into() };
        Ok(Arc::new(held.map_err(failed)?))
    }

    async fn transaction_version(&self, app_id: &str) -> Result<Option<i64>, DeltaTableError> {
        let what = self.what("look");
        self.logs.between.before(&what).await.map_err(DeltaTableError::Generic)?;
        Ok(self.transactions.get(app_id).copied())
    }

    async fn follow(&mut self) -> Result<(), DeltaTableError> {
        let what = self.what("read");
        self.logs.between.before(&what).await.map_err(DeltaTableError::Generic)?;
        let held = self.version;
        let newer = self.logs.tables.with(self.table, |versions| versions[held..].to_vec());
        if held + newer.len() == 0 {
            return Err(DeltaTableError::NotATable(self.table.name().to_owned()));
        }
        newer.iter().for_each(|version| self.take_up(version));
        Ok(())
    }

    async fn commit(
        &mut self,
        actions: Vec<Action>,
        transactions: Vec<Transaction>,
        operation: DeltaOperation,
    ) -> Result<u64, DeltaTableError> {
        let mut made = Version { transactions, ..Version::default() };
        for action in actions {
            match action {
                Action::Add(add) => made.added.push(add),
                Action::Remove(remove) => made.removed.push(remove),
                other => {
                    let told = format!("the model knows no {other:?}");
                    return Err(DeltaTableError::Generic(told));
                }
            }
        }
        let appends = matches!(operation, DeltaOperation::Write { .. });
        let what = self.what(if appends { "commit" } else { "rewrite" });
        self.logs.between.before(&what).await.map_err(DeltaTableError::Generic)?;
        let held = self.version;
        if let Some(later) = self.logs.between.lands_later(&what) {
            let (tables, table) = (self.logs.tables.clone(), self.table);
            tokio::spawn(async move {
                tokio::time::sleep(later).await;
                tables.put(table, held, made);
            });
            return Err(DeltaTableError::Generic(format!("{what}: it took too long")));
        }
        if !self.logs.tables.put(self.table, held, made.clone()) {
            // It is told all the same where its answer is lost.
            let _ = self.logs.between.after(&format!("conflict {what}")).await;
            let source = TransactionError::MaxCommitAttempts(0);
            return Err(DeltaTableError::Transaction { source });
        }
        self.logs.between.after(&what).await.map_err(DeltaTableError::Generic)?;
        self.take_up(&made);
        Ok(self.version().unwrap_or(0))
    }
}
