//! What old versions of the tables still hold of a person: their files, their entries in the log, whose
//! bounds may name the person, and what writers left that died.

use std::time::Duration;

use footfall_event::schema::Table;
use footfall_lake::{
    Lake, TableFile, TableWriter, delete_broken_writes, delete_file, forget_versions, load_app_id,
    unreferenced_files,
};

use super::tables::{OF_PEOPLE, Scope, has_any};
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
        let files = unreferenced_files(lake, table).await?;
        let mut writer = TableWriter::open(lake, table).await?;
        for file in files {
            if is_left_behind(&mut writer, table, &file).await?
                && has_any(lake, table, &file, &scope).await?
            {
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

/// Whether a file can never come into the table again. A load that is under way commits its files at its
/// end: without them its commit would break the table. What any other writer has yet to commit holds
/// nothing of the person, or meets the erasure's rewrite and is refused.
async fn is_left_behind(
    writer: &mut TableWriter,
    table: Table,
    file: &TableFile,
) -> Result<bool, PipelineError> {
    let Some(hash) = file.load() else { return Ok(true) };
    Ok(writer.progress(&load_app_id(table, hash)).await?.is_some())
}
