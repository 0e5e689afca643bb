//! The lake: Delta tables written exactly once, and what stands beside them (its settings, the rules'
//! texts, the pipeline's snapshots). What the rows mean is left to others.

mod commit;
mod durable;
mod error;
mod lake;
mod parquet_file;
mod stats;
#[cfg(test)]
mod testing;

pub use commit::{Commit, Outcome, Progress, TableWriter, app_id, load_app_id};
pub use deltalake_core::DeltaTable;
pub use error::LakeError;
pub use lake::{Lake, LakeSettings};
pub use parquet_file::{FileWriter, WrittenFile};
