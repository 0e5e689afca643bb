//! A table's files one by one, for the job that replaces them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use deltalake_core::DeltaTable;
use deltalake_core::kernel::{Add, Remove};
use footfall_event::Day;
use footfall_event::schema::Table;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use crate::parquet_file::load_of_path;
use crate::{Lake, LakeError};

/// Rows read at once.
const BATCH_ROWS: usize = 8_192;

/// A file of one version of a table.
#[derive(Clone, Debug)]
pub struct TableFile {
    /// The day of all its rows.
    pub day: Day,
    pub bytes: i64,
    pub rows: Option<usize>,
    pub(crate) remove: Remove,
}

impl TableFile {
    /// Within the table's folder.
    pub fn path(&self) -> &str {
        &self.remove.path
    }

    /// The hash of the load that wrote it; `None` where another writer did.
    pub fn load(&self) -> Option<&str> {
        load_of_path(self.path())
    }
}

/// The files of the version that `delta` holds.
///
/// # Errors
/// `Delta`; `Unreadable` for a file without a day, which is none of ours.
pub(crate) fn files(table: Table, delta: &DeltaTable) -> Result<Vec<TableFile>, LakeError> {
    let state = delta.snapshot().map_err(|source| LakeError::Delta { table, source })?;
    let views = state.log_data();
    views
        .iter()
        .map(|view| file_of_parts(table, view.remove_action(true), view.num_records()))
        .collect()
}

/// The file that an entry of a log adds.
///
/// # Errors
/// As [`files`].
pub(crate) fn file_of(table: Table, add: &Add) -> Result<TableFile, LakeError> {
    let remove = Remove {
        path: add.path.clone(),
        data_change: true,
        deletion_timestamp: Some(add.modification_time),
        extended_file_metadata: Some(true),
        size: Some(add.size),
        partition_values: Some(add.partition_values.clone()),
        deletion_vector: None,
        tags: None,
        base_row_id: None,
        default_row_commit_version: None,
    };
    let stats = add.stats.as_deref().map(serde_json::from_str::<serde_json::Value>);
    let rows = stats.and_then(Result::ok).and_then(|stats| stats["numRecords"].as_u64());
    file_of_parts(table, remove, rows.map(|rows| rows as usize))
}

fn file_of_parts(
    table: Table,
    remove: Remove,
    rows: Option<usize>,
) -> Result<TableFile, LakeError> {
    let day = day(&remove.partition_values, table).ok_or_else(|| LakeError::Unreadable {
        path: format!("{}/{}", table.name(), remove.path),
        reason: "its day is not known".to_owned(),
    })?;
    Ok(TableFile { day, bytes: remove.size.unwrap_or(0), rows, remove })
}

fn day(values: &Option<HashMap<String, Option<String>>>, table: Table) -> Option<Day> {
    parse_day(values.as_ref()?.get(table.partition_column())?.as_ref()?)
}

/// The day that a file's folder is named by.
pub(crate) fn day_of_path(path: &str, table: Table) -> Option<Day> {
    let folder = path.split('/').next()?;
    parse_day(folder.strip_prefix(table.partition_column())?.strip_prefix('=')?)
}

pub(crate) fn parse_day(text: &str) -> Option<Day> {
    let date = text.parse::<chrono::NaiveDate>().ok()?;
    Some(Day(date.to_epoch_days()))
}

/// The rows of a file, in its order: the columns of `wanted` (places in the table's schema, ascending),
/// as the schema has them.
///
/// # Errors
/// `Store`, `Parquet`; the stream's are `Parquet` and `Rows`.
pub async fn read_file(
    lake: &Lake,
    table: Table,
    file: &TableFile,
    wanted: &[usize],
) -> Result<BoxStream<'static, Result<RecordBatch, LakeError>>, LakeError> {
    let failed = move |source| unread(table, source);
    let stored = StoredFile {
        store: lake.store().clone(),
        path: lake.path_in(table, file.path()),
        bytes: u64::try_from(file.bytes).unwrap_or(0),
    };
    let builder = ParquetRecordBatchStreamBuilder::new(stored).await.map_err(failed)?;
    let schema = table.schema();
    let names = wanted.iter().map(|column| schema.field(*column).name().as_str());
    let mask = ProjectionMask::columns(builder.parquet_schema(), names);
    let rows = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
    let unfit = move |source| LakeError::Rows { table, source };
    let (schema, day) = (Arc::new(schema.project(wanted).map_err(unfit)?), file.day);
    let rows = rows
        .map_err(failed)?
        .map(move |batch| whole(table, &schema, day, &batch.map_err(failed)?).map_err(unfit));
    Ok(rows.boxed())
}

/// The batch in `schema`: with the day, and with NULL for columns that are younger than the file.
fn whole(
    table: Table,
    schema: &SchemaRef,
    day: Day,
    batch: &RecordBatch,
) -> Result<RecordBatch, ArrowError> {
    let rows = batch.num_rows();
    let column = |field: &FieldRef| -> Result<ArrayRef, ArrowError> {
        match batch.column_by_name(field.name()) {
            _ if field.name() == table.partition_column() => {
                Ok(Arc::new(Date32Array::from_value(day.0, rows)))
            }
            Some(column) => cast(column, field.data_type()),
            None => Ok(new_null_array(field.data_type(), rows)),
        }
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new_with_options(
        schema.clone(),
        columns,
        &RecordBatchOptions::new().with_row_count(Some(rows)),
    )
}

/// What a store cannot give now it may give later; a file that is none stays one.
fn unread(table: Table, source: ParquetError) -> LakeError {
    match source {
        ParquetError::External(error) => match error.downcast::<object_store::Error>() {
            Ok(error) => LakeError::Store(*error),
            Err(error) => LakeError::Parquet { table, source: ParquetError::External(error) },
        },
        source => LakeError::Parquet { table, source },
    }
}

/// A file in an object store, as Parquet's reader asks for its parts.
struct StoredFile {
    store: Arc<dyn ObjectStore>,
    path: Path,
    bytes: u64,
}

impl AsyncFileReader for StoredFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move {
            let part = self.store.get_range(&self.path, range).await;
            part.map_err(|error| ParquetError::External(error.into()))
        }
        .boxed()
    }

    fn get_metadata<'r>(
        &'r mut self,
        options: Option<&'r ArrowReaderOptions>,
    ) -> BoxFuture<'r, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            let bytes = self.bytes;
            let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
            Ok(Arc::new(reader.load_and_finish(self, bytes).await?))
        }
        .boxed()
    }
}
