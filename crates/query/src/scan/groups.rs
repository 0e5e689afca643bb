//! How the files of a scan are shared out among threads, and in which order their rows come.

use std::sync::Arc;

use datafusion::arrow::compute::SortOptions;
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileGroup;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use footfall_lake::{DataFile, sort_columns};

use super::LakeTable;
use super::statistics::{Columns, of_file};

/// Sorted files are read side by side, each by itself and with a buffer of its own, up to so many.
const SORTED_FILES_MAX: usize = 32;
/// Each file of so many at most comes with its own bounds, by them a query that wants the
/// newest rows stops early.
const FILES_WITH_BOUNDS_MAX: usize = 512;

/// The groups, and the order that each of them has.
pub(super) fn of(
    table: &LakeTable,
    session: &dyn Session,
    columns: &Columns,
    files: &[&DataFile],
) -> Result<(Vec<FileGroup>, Vec<LexOrdering>)> {
    let have_bounds = files.len() <= FILES_WITH_BOUNDS_MAX;
    let partitioned = files.iter().map(|file| {
        let partitioned = table.partitioned(file);
        match have_bounds {
            true => partitioned.with_statistics(of_file(table, columns, file)),
            false => partitioned,
        }
    });
    let partitioned: Vec<PartitionedFile> = partitioned.collect();
    let order = order(table)
        .filter(|_| files.len() <= SORTED_FILES_MAX && files.iter().all(|file| file.is_sorted));
    match order {
        // Sorted files of two days are not sorted one behind the other.
        Some(order) => Ok((
            partitioned.into_iter().map(|file| FileGroup::new(vec![file])).collect(),
            vec![order],
        )),
        None => {
            let groups = FileGroup::new(partitioned);
            Ok((groups.split_files(session.config().target_partitions()), Vec::new()))
        }
    }
}

/// The order of a sorted file.
fn order(table: &LakeTable) -> Option<LexOrdering> {
    let ascending = SortOptions { descending: false, nulls_first: true };
    let column = |name: &str| {
        let place = table.scanned.table_schema().index_of(name).ok()?;
        Some(PhysicalSortExpr::new(Arc::new(Column::new(name, place)), ascending))
    };
    let columns = sort_columns(table.version.table())?;
    LexOrdering::new(columns.iter().map(|name| column(name)).collect::<Option<Vec<_>>>()?)
}
