//! What old versions of the tables still hold of a person: their files, their entries in the log, whose
//! bounds may name the person, and what writers left that died.

use std::time::Duration;

use footfall_event::schema::Table;
use footfall_lake::{
    Lake, TableWriter, delete_broken_writes, delete_file, forget_versions, load_app_id,
    unreferenced_files,
};

use super::tables::{OF_PEOPLE, Scope, logs_of};
use super::{Erasure, Person};
use crate::PipelineError;

/// Deletes the versions before the erasure's, and of the files that no version has those that hold the
/// person. Others stay: a query may read them, and a writer may have yet to commit them.
///
/// # Errors
/// `Lake`, `Rows`; what was deleted is, and the same done again completes it.
pub async fn purge(
    lake: &Lake,
    erasure: &mut Erasure,
    person: &Person,
    grace: Duration,
) -> Result<(), PipelineError> {
    let (mut files_deleted, mut versions_deleted) = (0, 0);
    let scope = Scope::of_sessions(erasure, person);
    for table in OF_PEOPLE {
        let erased = erasure.tables.get(table.name()).copied().unwrap_or_default();
        versions_deleted += forget_versions(lake, table, erased.first_version).await?;
        for file in unreferenced_files(lake, table).await? {
            let logs = logs_of(lake, table, &file, &scope).await?;
            if was_in(lake, table, logs).await? {
                delete_file(lake, table, &file).await?;
                files_deleted += 1;
            }
        }
    }
    files_deleted += delete_broken_writes(lake, grace).await?;
    erasure.files_deleted += files_deleted;
    erasure.versions_deleted += versions_deleted;
    Ok(())
}

/// Whether what a file holds of the person, of these logs, was in the table or can never come into it. A
/// load that is under way commits its files at its end: without them its commit would break the table.
async fn was_in(lake: &Lake, table: Table, logs: Vec<String>) -> Result<bool, PipelineError> {
    if logs.is_empty() {
        return Ok(false);
    }
    let mut writer = TableWriter::open(lake, table).await?;
    for log in logs {
        let Some(hash) = log.strip_prefix("load:") else { continue };
        if writer.progress(&load_app_id(table, hash)).await?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}
