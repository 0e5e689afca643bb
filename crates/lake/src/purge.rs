//! What a table's versions leave behind, for the job that erases a person from all of it: files that the
//! newest version does not have, older versions themselves, and what a crash left of a write.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use deltalake_core::checkpoints::create_checkpoint;
use deltalake_core::kernel::Remove;
use footfall_event::Day;
use footfall_event::schema::Table;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::table_file::day_of_path;
use crate::{Lake, LakeError, TableFile, durable};

const LOG: &str = "_delta_log";
/// A version in the names of the log.
const VERSION_DIGITS: usize = 20;

/// Writes a checkpoint of the newest version, so that it can be read without those before it; which
/// version that is.
///
/// # Errors
/// `Delta`.
pub async fn checkpoint(lake: &Lake, table: Table) -> Result<u64, LakeError> {
    let failed = |source| LakeError::Delta { table, source };
    let mut delta = lake.unloaded(table)?;
    delta.load().await.map_err(failed)?;
    create_checkpoint(&delta, None).await.map_err(failed)?;
    Ok(delta.version().unwrap_or(0))
}

/// Deletes the log of the versions before `version`, which must have a checkpoint: none of them can be
/// read from here on. How many files.
///
/// # Errors
/// `Delta`, `Store`.
pub async fn forget_versions(lake: &Lake, table: Table, version: u64) -> Result<usize, LakeError> {
    let store = lake.unloaded(table)?.object_store();
    let listed: Vec<_> = store.list(Some(&Path::from(LOG))).try_collect().await?;
    let mut old: Vec<Path> = listed.into_iter().map(|found| found.location).collect();
    old.retain(|path| version_of(path).is_some_and(|of| of < version));
    // From the oldest on: what is left begins behind a gap, never with one.
    old.sort();
    for path in &old {
        delete(store.as_ref(), path).await?;
    }
    Ok(old.len())
}

fn version_of(path: &Path) -> Option<u64> {
    path.filename()?.get(..VERSION_DIGITS)?.parse().ok()
}

/// The Parquet files in a table's folder that its newest version does not have: those of older versions,
/// of writers that died, and of writers that have yet to commit them.
///
/// # Errors
/// `Delta`, `Store`.
pub async fn unreferenced_files(lake: &Lake, table: Table) -> Result<Vec<TableFile>, LakeError> {
    let failed = |source| LakeError::Delta { table, source };
    let mut delta = lake.unloaded(table)?;
    let store = delta.object_store();
    // Listed first: what is committed in between is no leftover.
    let listed: Vec<_> = store.list(None).try_collect().await?;
    delta.load().await.map_err(failed)?;
    let standing = crate::table_file::files(table, &delta)?;
    let standing: HashSet<&str> = standing.iter().map(TableFile::path).collect();
    let mut files = Vec::new();
    for found in listed {
        let path = found.location.as_ref();
        if path.starts_with(LOG) || !path.ends_with(".parquet") || standing.contains(path) {
            continue;
        }
        // One that is none of ours may hold anything, of whatever day.
        let day = day_of_path(path, table).unwrap_or(Day(0));
        let (path, bytes) = (path.to_owned(), found.size as i64);
        let remove = Remove { path, size: Some(bytes), ..Remove::default() };
        files.push(TableFile { day, bytes, rows: None, remove });
    }
    Ok(files)
}

/// Deletes a file of a table; one that is gone already is no error.
///
/// # Errors
/// `Delta`, `Store`.
pub async fn delete_file(lake: &Lake, table: Table, file: &TableFile) -> Result<(), LakeError> {
    let store = lake.unloaded(table)?.object_store();
    delete(store.as_ref(), &Path::from(file.path())).await
}

async fn delete(store: &dyn ObjectStore, path: &Path) -> Result<(), LakeError> {
    match store.delete(path).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Deletes what writes that a crash broke off left in a local lake, as far as it was last written to
/// `age` ago; how many files. A store other than a folder keeps no part of a write.
///
/// # Errors
/// `Store`.
pub async fn delete_broken_writes(lake: &Lake, age: Duration) -> Result<usize, LakeError> {
    let Some(folder) = folder_of(lake) else { return Ok(0) };
    let before = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
    let deleted = tokio::task::spawn_blocking(move || durable::delete_staged(&folder, before));
    let deleted = deleted.await.map_err(|source| object_store::Error::JoinError { source })?;
    Ok(deleted?)
}

/// Deletes what broken writes of the blob `name` left in a local lake, however young: nobody may be writing
/// it. How many files.
///
/// # Errors
/// `Store`.
pub async fn delete_broken_writes_of(lake: &Lake, name: &str) -> Result<usize, LakeError> {
    let Some(folder) = folder_of(lake) else { return Ok(0) };
    let target = folder.join(name);
    let deleted = tokio::task::spawn_blocking(move || durable::delete_staged_of(&target)).await;
    Ok(deleted.map_err(|source| object_store::Error::JoinError { source })??)
}

/// The folder of a local lake. The path of a URL of any other kind is none of this machine's.
fn folder_of(lake: &Lake) -> Option<PathBuf> {
    let url = lake.url();
    (url.scheme() == "file").then(|| url.to_file_path().ok()).flatten()
}

#[cfg(test)]
mod tests;
