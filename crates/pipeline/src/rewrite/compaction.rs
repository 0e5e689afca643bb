//! Compaction: the many small files of a day's commits become few, sorted so that a person's rows lie
//! together. The rows stay what they are.

mod choice;
#[cfg(test)]
mod tests;

use datafusion::error::DataFusionError;
use datafusion::logical_expr::SortExpr;
use footfall_event::schema::Table;
use footfall_lake::{FileWriter, Lake, LakeError, Rewrite, TableFile, TableWriter, WrittenFile};
use futures::{StreamExt, TryStreamExt};
use uuid::Uuid;

use super::rows_of;
use crate::PipelineError;
use crate::scan::{failed, fold_order, plain};
use crate::sort::sorted;
use choice::small_files;

/// What compaction did to a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Files that were replaced, and by how many; likewise their bytes.
    pub replaced: usize,
    pub written: usize,
    pub replaced_bytes: i64,
    pub written_bytes: i64,
    /// Another rewrite was first, and the rest is left to it.
    pub is_overtaken: bool,
}

/// Compacts a table where it is worth it.
///
/// # Errors
/// `Lake`, `Rows`; what was replaced before stays.
pub async fn compact(lake: &Lake, table: Table) -> Result<Compacted, PipelineError> {
    let mut writer = TableWriter::open(lake, table).await?;
    let mut done = Compacted::default();
    for group in small_files(writer.files()?) {
        let (count, bytes) = (group.len(), group.iter().map(|file| file.bytes).sum::<i64>());
        let rewrite = joined(lake, table, group).await?;
        let written = rewrite.files.len();
        let written_bytes = rewrite.files.iter().map(WrittenFile::bytes).sum::<i64>();
        if !writer.rewrite(rewrite).await? {
            done.is_overtaken = true;
            break;
        }
        done.replaced += count;
        done.replaced_bytes += bytes;
        done.written += written;
        done.written_bytes += written_bytes;
    }
    Ok(done)
}

/// The rows of files of one day in new ones, sorted.
async fn joined(
    lake: &Lake,
    table: Table,
    group: Vec<TableFile>,
) -> Result<Rewrite, PipelineError> {
    let rows: usize = group.iter().filter_map(|file| file.rows).sum();
    let schema = table.schema();
    let columns: Vec<usize> = (0..schema.fields().len()).collect();
    let batches = rows_of(lake.clone(), table, group.clone(), columns)
        .map_err(|error| DataFusionError::External(error.into()));
    let mut batches = sorted(batches, schema.clone(), order(table)).await?;
    let mut files = FileWriter::new(lake, table, Uuid::new_v4()).with_visitor_filter(rows);
    while let Some(batch) = batches.next().await {
        files.write(&plain(&batch.map_err(failed)?, &schema)?).await?;
    }
    let files = files.finish().await?;
    let written: usize = files.iter().map(|file| file.rows).sum();
    // Better many files than a lost row.
    if written != rows {
        let reason =
            format!("its files say {rows} rows and hold {written}: they are left as they are");
        return Err(LakeError::Unreadable { path: table.name().to_owned(), reason }.into());
    }
    Ok(Rewrite { replaced: group, files, ..Rewrite::default() })
}

/// People's rows go by person, which is how they are looked for, repaired and erased; all others by
/// the record that made them.
fn order(table: Table) -> Vec<SortExpr> {
    fold_order(match table {
        Table::Events => &["visitor_id", "event_time", "seq", "event_id"],
        Table::Sessions | Table::PageViews => &["visitor_id", "started_at"],
        Table::Needs => &["visitor_id", "raised_at", "need"],
        Table::Rejected | Table::Duplicates => &["log", "log_partition", "log_offset"],
        Table::Receipts => &["log", "log_partition", "from_offset", "site"],
    })
}
