//! Files that no version of a table has any more, the log of versions that nobody asks for, and what broken writes
//! left.

use chrono::Duration;
use deltalake_core::DeltaTable;
use deltalake_core::checkpoints::cleanup_metadata;
use deltalake_core::operations::vacuum::VacuumMode;
use footfall_event::Micros;
use footfall_event::schema::Table;

use crate::parquet_file::LOAD_FILE_AGE_MAX;
use crate::{Lake, LakeError, delete_broken_writes};

/// A query reads the version it began with, and a writer commits the files it wrote: neither takes a
/// day. It is also how far back `verify` and others can read a table.
const KEPT_FOR: Duration = Duration::days(1);
/// How far `now` lies behind the clock as a rule.
const MARGIN: Duration = Duration::hours(1);
const _: () = assert!(
    LOAD_FILE_AGE_MAX.as_secs() as i64 <= KEPT_FOR.num_seconds() / 2,
    "a file that is still to be committed must not be old"
);

/// Deletes the files that no version of the day before `now` has, those of writers that died included, and
/// the log entries before it that a checkpoint stands for; how many files.
///
/// # Errors
/// `Delta`.
pub async fn delete_old_files(lake: &Lake, table: Table, now: Micros) -> Result<usize, LakeError> {
    lake.logs().delete_old_files(lake, table, now).await
}

/// Deletes what writes that a crash broke off left in a local lake, from before the day before `now`; how many files.
/// No listing names them, so that nothing else deletes them.
///
/// # Errors
/// `Store`.
pub async fn delete_old_broken_writes(lake: &Lake, now: Micros) -> Result<usize, LakeError> {
    let age = kept_for(ahead_of(now)).to_std().unwrap_or(std::time::Duration::MAX);
    delete_broken_writes(lake, age).await
}

/// How far the machine's clock is ahead of `now`.
fn ahead_of(now: Micros) -> Duration {
    Duration::microseconds((Micros::clock() - now).0.max(0))
}

/// The age, by the machine's clock, of what may go. Where that is ahead, files were stored behind `now` too.
fn kept_for(ahead: Duration) -> Duration {
    KEPT_FOR + if ahead > MARGIN { ahead + KEPT_FOR } else { Duration::zero() }
}

pub(crate) async fn vacuum(lake: &Lake, table: Table, now: Micros) -> Result<usize, LakeError> {
    let ahead = ahead_of(now);
    // Delta goes by the machine's clock.
    let retention = kept_for(ahead);
    let failed = |source| LakeError::Delta { table, source };
    let mut delta = lake.unloaded(table)?;
    delta.load().await.map_err(failed)?;
    let vacuum = |delta: DeltaTable, is_dry: bool| {
        delta
            .vacuum()
            .with_retention_period(retention)
            .with_enforce_retention_duration(false)
            .with_mode(VacuumMode::Full)
            .with_dry_run(is_dry)
    };
    // It writes two commits even where there is nothing to delete.
    let (delta, found) = vacuum(delta, true).await.map_err(failed)?;
    let (delta, deleted) = match found.files_deleted.len() {
        0 => (delta, 0),
        _ => {
            let (delta, done) = vacuum(delta, false).await.map_err(failed)?;
            (delta, done.files_deleted.len())
        }
    };
    if ahead <= MARGIN {
        cleanup_metadata(&delta, None).await.map_err(failed)?;
    }
    Ok(deleted)
}
