//! The lake's tables as DataFusion reads, filters and sorts them for the load, the verification and the
//! look-up of resends.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{Int32Type, Int64Type, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::functions::expr_fn::coalesce;
use datafusion::logical_expr::SortExpr;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext, col, lit};
use footfall_event::schema::Table;
use footfall_event::{Micros, Offset, Partition};
use footfall_lake::{Lake, LakeError, TableWriter};

use crate::PipelineError;

/// Memory of the sort before it goes to disk, in bytes.
const SORT_BYTES_MAX: usize = 512 * 1024 * 1024;
const BATCH_ROWS: usize = 8_192;

/// Ascending, rows without a value first; but a `seq` that is not there counts as 0.
pub fn fold_order(columns: &[&str]) -> Vec<SortExpr> {
    let value = |column: &str| match column {
        "seq" => coalesce(vec![col("seq"), lit(0i64)]),
        _ => col(column),
    };
    columns.iter().map(|column| value(column).sort(true, true)).collect()
}

/// A context with memory of its own, one partition, and a disk to sort on.
///
/// # Errors
/// `Lake` when there is no temporary folder.
pub fn context() -> Result<SessionContext, PipelineError> {
    let pool = Arc::new(FairSpillPool::new(SORT_BYTES_MAX));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().map_err(failed)?;
    let config = SessionConfig::new().with_target_partitions(1).with_batch_size(BATCH_ROWS);
    Ok(SessionContext::new_with_config_rt(config, runtime))
}

/// The version of a table that a writer holds, as DataFusion reads it.
///
/// # Errors
/// `Lake`.
pub async fn frame(
    context: &SessionContext,
    table: &TableWriter,
) -> Result<DataFrame, PipelineError> {
    context.read_table(table.provider().await?).map_err(failed)
}

/// A table's newest version as DataFusion reads it.
///
/// # Errors
/// `Lake`.
pub async fn table(
    context: &SessionContext,
    lake: &Lake,
    table: Table,
) -> Result<DataFrame, PipelineError> {
    frame(context, &TableWriter::open(lake, table).await?).await
}

/// A batch in the plain types of `schema`: a scan of Delta yields views of texts.
///
/// # Errors
/// `Rows`.
pub fn plain(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, PipelineError> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| cast(column, field.data_type()));
    Ok(RecordBatch::try_new(schema.clone(), columns.collect::<Result<Vec<_>, _>>()?)?)
}

pub fn failed(source: DataFusionError) -> PipelineError {
    PipelineError::Lake(LakeError::Delta { table: Table::Events, source: source.into() })
}

/// A text of a row; `None` for NULL.
pub fn text_at<'r>(rows: &'r RecordBatch, column: &str, row: usize) -> Option<&'r str> {
    let texts = rows.column_by_name(column)?.as_string_opt::<i32>()?;
    texts.is_valid(row).then(|| texts.value(row))
}

/// A flag of a row; not set for NULL.
pub fn is_set(rows: &RecordBatch, column: &str, row: usize) -> bool {
    let flags = rows.column_by_name(column).and_then(|flags| flags.as_boolean_opt());
    flags.is_some_and(|flags| flags.is_valid(row) && flags.value(row))
}

/// The record that a row is of: log, partition and offset.
pub fn record_at(rows: &RecordBatch, row: usize) -> Option<(&str, Partition, Offset)> {
    let partitions = rows.column_by_name("log_partition")?.as_primitive_opt::<Int32Type>()?;
    let offsets = rows.column_by_name("log_offset")?.as_primitive_opt::<Int64Type>()?;
    let (partition, offset) = (Partition(partitions.value(row)), Offset(offsets.value(row)));
    Some((text_at(rows, "log", row)?, partition, offset))
}

/// Columns of a table by name: their places, ascending, as files are read by them.
///
/// # Errors
/// `ArrowError` for a name that the table does not have, which is a mistake in this program.
pub fn places_of(table: Table, names: &[&str]) -> Result<Vec<usize>, ArrowError> {
    let schema = table.schema();
    let places = names.iter().map(|name| schema.index_of(name));
    let mut places = places.collect::<Result<Vec<_>, _>>()?;
    places.sort_unstable();
    Ok(places)
}

/// A time of a row; `None` for NULL.
pub fn time_at(rows: &RecordBatch, column: &str, row: usize) -> Option<Micros> {
    let times = rows.column_by_name(column)?.as_primitive_opt::<TimestampMicrosecondType>()?;
    times.is_valid(row).then(|| Micros(times.value(row)))
}
