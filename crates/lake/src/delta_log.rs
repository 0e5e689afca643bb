//! A table's log as writers need it: kept by Delta's own library, or by a model of it in memory.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::error::DataFusionError;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, StructType, Transaction};
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, DeltaTableError};
use footfall_event::Micros;
use footfall_event::schema::Table;

use crate::old_files::vacuum;
use crate::parquet_file::Moment;
use crate::table_file::{self, TableFile};
use crate::{Lake, LakeError};

/// A reader opens a table from its last checkpoint, so it follows within so many commits.
const CHECKPOINT_COMMITS: u32 = 30;
/// How long old versions can be read, and how long `verify` can go back.
const LOG_RETENTION: &str = "interval 1 day";

/// Where the logs of a lake's tables are kept.
#[async_trait]
pub trait DeltaLogs: std::fmt::Debug + Send + Sync {
    /// Makes the table unless it is there.
    ///
    /// # Errors
    /// `Delta`.
    async fn make(&self, lake: &Lake, table: Table) -> Result<(), LakeError>;

    /// As [`delete_old_files`](crate::delete_old_files).
    ///
    /// # Errors
    /// `Delta`.
    async fn delete_old_files(
        &self,
        lake: &Lake,
        table: Table,
        now: Micros,
    ) -> Result<usize, LakeError>;

    /// The table's log at its newest version.
    ///
    /// # Errors
    /// `Delta`; a table that was not made is an error here.
    async fn open(&self, lake: &Lake, table: Table) -> Result<Box<dyn DeltaLog>, LakeError>;
}

/// A version of a table that a writer holds, and the log that it is of.
#[async_trait]
pub trait DeltaLog: Send + Sync {
    fn version(&self) -> Option<u64>;

    /// The files of the version held.
    ///
    /// # Errors
    /// `Delta`, `Unreadable`.
    fn files(&self) -> Result<Vec<TableFile>, LakeError>;

    /// Whether the version held has the file of that path within the table's folder.
    ///
    /// # Errors
    /// `Delta`.
    fn holds(&self, path: &str) -> Result<bool, LakeError>;

    /// The version held, as DataFusion reads it.
    ///
    /// # Errors
    /// `Delta`; of the model also `Store`, `Parquet`, `Rows`.
    async fn provider(&self, lake: &Lake) -> Result<Arc<dyn TableProvider>, LakeError>;

    /// The version of an application's transaction in the version held.
    ///
    /// # Errors
    /// When the log that the version was read from is gone.
    async fn transaction_version(&self, app_id: &str) -> Result<Option<i64>, DeltaTableError>;

    /// Takes up the newest version.
    ///
    /// # Errors
    /// When it cannot be reached from the one held, or not be read.
    async fn follow(&mut self) -> Result<(), DeltaTableError>;

    /// Commits against the version held, behind what others committed since if nothing of that stands
    /// against it, and holds the version made.
    ///
    /// # Errors
    /// `Transaction` with a conflict when something does; any other when it is not known what became of it.
    async fn commit(
        &mut self,
        actions: Vec<Action>,
        transactions: Vec<Transaction>,
        operation: DeltaOperation,
    ) -> Result<u64, DeltaTableError>;
}

/// A commit that took longer is taken for one whose answer was lost. A writer that stood still may have made its version
/// among those that were deleted meanwhile, where no reader sees it.
const BELIEVED_WITHIN: Duration = Duration::from_secs(60);

/// Delta's own, beside the files.
#[derive(Clone, Copy, Debug)]
pub struct StoredLogs;

struct StoredLog {
    table: Table,
    delta: DeltaTable,
}

#[async_trait]
impl DeltaLogs for StoredLogs {
    async fn make(&self, lake: &Lake, table: Table) -> Result<(), LakeError> {
        if lake.table(table).await?.is_some() {
            return Ok(());
        }
        let failed = |source| LakeError::Delta { table, source };
        let log_store = lake.unloaded(table)?.log_store();
        let columns: StructType = {
            use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
            let schema = table.schema();
            schema.as_ref().try_into_kernel().map_err(|source| LakeError::Rows { table, source })?
        };
        let made = CreateBuilder::new()
            .with_log_store(log_store)
            .with_table_name(table.name())
            .with_columns(columns.fields().cloned())
            .with_partition_columns([table.partition_column()])
            .with_save_mode(SaveMode::Ignore)
            .with_actions(Vec::<Action>::new())
            .with_configuration([
                ("delta.checkpointInterval".to_owned(), Some(CHECKPOINT_COMMITS.to_string())),
                ("delta.logRetentionDuration".to_owned(), Some(LOG_RETENTION.to_owned())),
                ("delta.enableExpiredLogCleanup".to_owned(), Some("false".to_owned())),
            ])
            .await;
        match made {
            Ok(_) => Ok(()),
            // Somebody else made it in the meantime.
            Err(_) if lake.table(table).await?.is_some() => Ok(()),
            Err(source) => Err(failed(source)),
        }
    }

    async fn delete_old_files(
        &self,
        lake: &Lake,
        table: Table,
        now: Micros,
    ) -> Result<usize, LakeError> {
        vacuum(lake, table, now).await
    }

    async fn open(&self, lake: &Lake, table: Table) -> Result<Box<dyn DeltaLog>, LakeError> {
        let mut delta = lake.unloaded(table)?;
        delta.load().await.map_err(|source| LakeError::Delta { table, source })?;
        Ok(Box::new(StoredLog { table, delta }))
    }
}

#[async_trait]
impl DeltaLog for StoredLog {
    fn version(&self) -> Option<u64> {
        self.delta.version()
    }

    fn files(&self) -> Result<Vec<TableFile>, LakeError> {
        table_file::files(self.table, &self.delta)
    }

    fn holds(&self, path: &str) -> Result<bool, LakeError> {
        let failed = |source| LakeError::Delta { table: self.table, source };
        Ok(self.delta.get_file_uris().map_err(failed)?.any(|uri| uri.ends_with(path)))
    }

    async fn provider(&self, _: &Lake) -> Result<Arc<dyn TableProvider>, LakeError> {
        let provider = self.delta.table_provider().await;
        let failed =
            |source: DataFusionError| LakeError::Delta { table: self.table, source: source.into() };
        provider.map_err(failed)
    }

    async fn transaction_version(&self, app_id: &str) -> Result<Option<i64>, DeltaTableError> {
        let log_store = self.delta.log_store();
        self.delta.snapshot()?.transaction_version(log_store.as_ref(), app_id).await
    }

    async fn follow(&mut self) -> Result<(), DeltaTableError> {
        self.delta.update_state().await
    }

    async fn commit(
        &mut self,
        actions: Vec<Action>,
        transactions: Vec<Transaction>,
        operation: DeltaOperation,
    ) -> Result<u64, DeltaTableError> {
        let properties = CommitProperties::default()
            .with_application_transactions(transactions)
            // It would put the commit behind versions that its writer has not seen.
            .with_max_retries(0)
            .with_cleanup_expired_logs(Some(false));
        let state = self.delta.snapshot()?.clone();
        let log_store = self.delta.log_store();
        let began = Moment::now();
        let finalized = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(&state), log_store, operation)
            .await?;
        if began.age() > BELIEVED_WITHIN {
            let seconds = BELIEVED_WITHIN.as_secs();
            let why = format!("it took longer than {seconds} s: whether it stands is to be seen");
            return Err(DeltaTableError::Generic(why));
        }
        let version = finalized.version();
        self.delta.state = Some(finalized.snapshot());
        Ok(version)
    }
}
