//! Files that no version of a table has any more, and the log of versions that nobody asks for.

use chrono::Duration;
use deltalake_core::DeltaTable;
use deltalake_core::checkpoints::cleanup_metadata;
use deltalake_core::operations::vacuum::VacuumMode;
use footfall_event::Micros;
use footfall_event::schema::Table;

use crate::commit::LOAD_FILE_AGE_MAX;
use crate::{Lake, LakeError};

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

pub(crate) async fn vacuum(lake: &Lake, table: Table, now: Micros) -> Result<usize, LakeError> {
    // Delta goes by the machine's clock. Where that is ahead, files were stored behind `now` too.
    let ahead = Duration::microseconds((Micros::clock() - now).0.max(0));
    let retention = KEPT_FOR + if ahead > MARGIN { ahead + KEPT_FOR } else { Duration::zero() };
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
