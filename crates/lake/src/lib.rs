//! The lake: Delta tables written exactly once, and what stands beside them (its settings, the rules'
//! texts, the pipeline's snapshots). What the rows mean is left to others.

mod commit;
mod delta_log;
mod durable;
mod error;
mod facts;
mod lake;
mod model_log;
mod old_files;
mod order;
mod parquet_file;
mod purge;
mod stats;
mod table_file;
#[cfg(test)]
mod testing;
mod version;

pub use commit::{
    Commit, Outcome, Progress, Rewrite, TableWriter, app_id, appended_app_id, load_app_id,
    load_rules_app_id, loads_app_id, recompute_app_id, removed_before_app_id, rewrite_app_id,
};
pub use delta_log::{DeltaLog, DeltaLogs, StoredLogs};
pub use deltalake_core::DeltaTable;
pub use error::LakeError;
pub use facts::TableFacts;
pub use lake::{Lake, LakeSettings};
pub use model_log::{Between, ModelLogs, ModelTables};
pub use old_files::{delete_old_broken_writes, delete_old_files};
pub use order::sort_columns;
pub use parquet_file::{FileWriter, WrittenFile};
pub use purge::{
    checkpoint, delete_broken_writes, delete_broken_writes_of, delete_file, forget_versions,
    unreferenced_files,
};
pub use table_file::{TableFile, read_file};
pub use version::{Bound, ColumnFacts, DataFile, Followed, TableVersion};
