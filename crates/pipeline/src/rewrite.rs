//! The one job that rewrites files: late events are repaired, days beyond a table's retention are removed,
//! the small files of commits become few, and files that no version of the last day has are deleted, as is what
//! broken writes left.
//!
//! It may run beside appends and beside another one started by hand, and die at any time: nothing is
//! visible of a table before its commit, what was begun is done again, and what is left behind is deleted
//! by a later run.

mod compaction;
mod recompute;
mod repair;
mod retention;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::prelude::col;
use footfall_event::Micros;
use footfall_event::schema::Table;
use footfall_lake::{
    Lake, LakeError, TableFile, delete_old_broken_writes, delete_old_files, read_file,
};
use footfall_sessionizer::Rules;
use futures::stream::{BoxStream, iter};
use futures::{StreamExt, TryStreamExt};

use crate::PipelineError;
use crate::scan::{context, failed, table};
use retention::remove_old_days;

pub use compaction::Compacted;
pub use recompute::{DayRange, Recomputed, Turn, outdated, recompute};
pub use repair::{Repaired, SettledFiles};
pub use retention::{Expired, Retention};

/// What a run of the job did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    pub repaired: Repaired,
    pub expired: BTreeMap<Table, Expired>,
    pub compacted: BTreeMap<Table, Compacted>,
    /// Old files that were deleted.
    pub deleted: BTreeMap<Table, usize>,
    /// Files of broken writes that were deleted.
    pub broken_writes: usize,
}

/// Looks after every table once, and leaves of each the days that `retention` keeps. `rules` are those to
/// repair by where no live log tells which are in force; `settled` is kept from one run of a process to
/// the next.
///
/// # Errors
/// `Lake`, `Rows`, `Conditions`, `Snapshot`; what was rewritten before stays.
pub async fn rewrite(
    lake: &Lake,
    rules: &Arc<Rules>,
    retention: &Retention,
    settled: &mut SettledFiles,
) -> Result<Rewritten, PipelineError> {
    let repaired = repair::repair(lake, rules, settled).await?;
    let mut done = Rewritten { repaired, ..Rewritten::default() };
    let now = believed_now(lake).await?;
    for table in Table::ALL {
        let expired = remove_old_days(lake, table, retention, now).await?;
        done.expired.insert(table, expired);
        done.compacted.insert(table, compaction::compact(lake, table).await?);
        done.deleted.insert(table, delete_old_files(lake, table, now).await?);
    }
    done.broken_writes = delete_old_broken_writes(lake, now).await?;
    Ok(done)
}

/// The time that what is deleted is old by. A clock that is ahead for a moment must not make old what is young, so it is
/// held against the newest watermark, which is of log time and believes no clock at once. Where nothing was read live, the
/// clock has to do.
async fn believed_now(lake: &Lake) -> Result<Micros, PipelineError> {
    let receipts = table(&context()?, lake, Table::Receipts).await?;
    let newest = receipts.aggregate(Vec::new(), vec![max(col("watermark"))]).map_err(failed)?;
    let rows = newest.collect().await.map_err(failed)?;
    let watermark = rows.iter().find_map(|rows| {
        let times = rows.column(0).as_primitive_opt::<TimestampMicrosecondType>()?;
        (!times.is_empty() && times.is_valid(0)).then(|| Micros(times.value(0)))
    });
    let clock = Micros::clock();
    Ok(watermark.map_or(clock, |watermark| clock.min(watermark)))
}

/// The rows of files, in the order of the files: the columns of `columns`, ascending.
pub fn rows_of(
    lake: Lake,
    table: Table,
    files: Vec<TableFile>,
    columns: Vec<usize>,
) -> BoxStream<'static, Result<RecordBatch, LakeError>> {
    let read = move |file: TableFile| {
        let (lake, columns) = (lake.clone(), columns.clone());
        async move { read_file(&lake, table, &file, &columns).await }
    };
    iter(files).then(read).try_flatten().boxed()
}
