//! Parquet files of a table: one for each day that the rows fall on. Written, but in no version of
//! the table until they are committed.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Date32Type, FieldRef, Schema};
use deltalake_core::kernel::Add;
use footfall_event::schema::Table;
use footfall_event::{Day, Micros};
use object_store::ObjectStoreExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use tokio::time::Instant;
use uuid::Uuid;

use crate::order::{OrderWatch, tags};
use crate::stats::{TEXT_BYTES_MAX, stats};
use crate::{Lake, LakeError};

/// Files of fewer rows are not compressed where that is known: they are soon compacted, and setting up
/// Zstandard for each column took most of the time of their commit.
const COMPRESSED_ROWS_MIN: usize = 100;
/// Zstandard level 1: smaller than lz4, as fast as snappy; level 3 is slower and no smaller.
const ZSTD_LEVEL: i32 = 1;
const ROW_GROUP_ROWS: usize = 1_000_000;
/// A larger file is closed and another begun.
const FILE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A live writer commits no file older than this. Delta's `VACUUM` tells files that were left behind
/// from those still to be committed by their age alone, so a writer must not come back to one later.
pub(crate) const FILE_AGE_MAX: Duration = Duration::from_secs(3_600);
/// The same of a load, which writes for as long as it reads.
pub(crate) const LOAD_FILE_AGE_MAX: Duration = Duration::from_secs(12 * 3_600);

/// The column by which people are looked for.
const VISITOR: &str = "visitor_id";

/// All open files of a writer together; beyond it the largest is closed.
const OPEN_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A finished file that no version of its table has yet.
#[derive(Clone, Debug)]
pub struct WrittenFile {
    pub(crate) add: Add,
    pub(crate) finished: Moment,
    pub rows: usize,
}

impl WrittenFile {
    pub fn bytes(&self) -> i64 {
        self.add.size
    }
}

/// By both clocks: the monotonic one stands still while the machine sleeps, the other may be set back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) monotonic: Instant,
    pub(crate) wall: Micros,
}

impl Moment {
    pub(crate) fn now() -> Moment {
        Moment { monotonic: Instant::now(), wall: Micros::clock() }
    }

    /// The greater of the ages by the two clocks.
    pub(crate) fn age(&self) -> Duration {
        let by_wall = (Micros::clock() - self.wall).0;
        let by_wall = Duration::from_micros(u64::try_from(by_wall).unwrap_or(0));
        self.monotonic.elapsed().max(by_wall)
    }
}

const LOAD_PREFIX: &str = "load-";

/// The hash of the load that a file is of, by the file's path.
pub(crate) fn load_of_path(path: &str) -> Option<&str> {
    let (_, name) = path.rsplit_once('/')?;
    let (hash, _) = name.strip_prefix(LOAD_PREFIX)?.rsplit_once('-')?;
    Some(hash)
}

/// Writes rows of one table, in the order they come, split by day.
pub struct FileWriter {
    lake: Lake,
    table: Table,
    /// What each file's name begins with, so that two writers never collide.
    name: String,
    /// Rows that are expected at most, where files get a filter of their visitors.
    filtered_rows: Option<usize>,
    is_compressed: bool,
    open: BTreeMap<Day, OpenFile>,
    finished: Vec<WrittenFile>,
    file_bytes_max: usize,
    open_bytes_max: usize,
}

struct OpenFile {
    writer: ArrowWriter<Vec<u8>>,
    rows: usize,
    order: OrderWatch,
}

impl OpenFile {
    /// Written and waiting to be.
    fn bytes(&self) -> usize {
        self.writer.bytes_written() + self.writer.memory_size()
    }
}

impl FileWriter {
    pub fn new(lake: &Lake, table: Table, writer_id: Uuid) -> FileWriter {
        FileWriter::named(lake, table, format!("part-{}", writer_id.simple()))
    }

    /// Files that tell by their names of which load they are: it commits them hours later.
    pub fn of_load(lake: &Lake, table: Table, hash: &str) -> FileWriter {
        FileWriter::named(lake, table, format!("{LOAD_PREFIX}{hash}"))
    }

    fn named(lake: &Lake, table: Table, name: String) -> FileWriter {
        FileWriter {
            lake: lake.clone(),
            table,
            name,
            filtered_rows: None,
            is_compressed: true,
            open: BTreeMap::new(),
            finished: Vec::new(),
            file_bytes_max: FILE_BYTES_MAX,
            open_bytes_max: OPEN_BYTES_MAX,
        }
    }

    /// Gives each file a Bloom filter of its visitors, made for so many rows. The small files of a
    /// commit have none: it would be larger than they are.
    pub fn with_visitor_filter(mut self, rows: usize) -> FileWriter {
        self.filtered_rows = Some(rows);
        self
    }

    /// Tells how many rows will be written, all together.
    pub fn of_rows(mut self, rows: usize) -> FileWriter {
        self.is_compressed = rows >= COMPRESSED_ROWS_MIN;
        self
    }

    /// Adds rows of the table's schema.
    ///
    /// # Errors
    /// `Parquet`, `Rows`, `Store`.
    pub async fn write(&mut self, rows: &RecordBatch) -> Result<(), LakeError> {
        for (day, rows) in self.by_day(rows)? {
            self.write_day(day, &rows)?;
            if self.open.get(&day).is_some_and(|file| file.bytes() > self.file_bytes_max) {
                self.close(day).await?;
            }
            self.close_largest().await?;
        }
        Ok(())
    }

    /// Where too much is open: a load of a year has as many files open as the year has days.
    async fn close_largest(&mut self) -> Result<(), LakeError> {
        let bytes: usize = self.open.values().map(OpenFile::bytes).sum();
        let largest = self.open.iter().max_by_key(|(_, file)| file.bytes()).map(|(day, _)| *day);
        match largest {
            Some(day) if bytes > self.open_bytes_max => self.close(day).await,
            _ => Ok(()),
        }
    }

    /// Ends the files that are open.
    ///
    /// # Errors
    /// `Parquet`, `Store`.
    pub async fn finish(mut self) -> Result<Vec<WrittenFile>, LakeError> {
        let days: Vec<Day> = self.open.keys().copied().collect();
        for day in days {
            self.close(day).await?;
        }
        Ok(self.finished)
    }

    /// The rows of each day, without the column of the day: Delta keeps it in the file's entry.
    fn by_day(&self, rows: &RecordBatch) -> Result<Vec<(Day, RecordBatch)>, LakeError> {
        let failed = |source| LakeError::Rows { table: self.table, source };
        let last = rows.num_columns() - 1;
        let columns: Vec<usize> = (0..last).collect();
        let data = rows.project(&columns).map_err(failed)?;
        let days = rows.column(last).as_primitive::<Date32Type>();
        let mut places: BTreeMap<Day, Vec<u32>> = BTreeMap::new();
        for (row, day) in days.iter().enumerate() {
            places.entry(Day(day.unwrap_or(0))).or_default().push(row as u32);
        }
        if let [day] = places.keys().copied().collect::<Vec<_>>()[..] {
            return Ok(vec![(day, data)]);
        }
        let pick = |(day, places)| {
            let picked = take_record_batch(&data, &UInt32Array::from(places)).map_err(failed)?;
            Ok((day, picked))
        };
        places.into_iter().map(pick).collect()
    }

    fn write_day(&mut self, day: Day, rows: &RecordBatch) -> Result<(), LakeError> {
        let failed = |source| LakeError::Parquet { table: self.table, source };
        let compression = match self.is_compressed {
            true => Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL).unwrap_or_default()),
            false => Compression::UNCOMPRESSED,
        };
        let file = match self.open.entry(day) {
            std::collections::btree_map::Entry::Occupied(file) => file.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                let properties =
                    Some(properties(rows.schema_ref(), compression, self.filtered_rows));
                let writer = ArrowWriter::try_new(Vec::new(), rows.schema(), properties);
                let writer = writer.map_err(failed)?;
                place.insert(OpenFile { writer, rows: 0, order: OrderWatch::new(self.table) })
            }
        };
        file.rows += rows.num_rows();
        file.order.see(rows);
        file.writer.write(rows).map_err(failed)
    }

    async fn close(&mut self, day: Day) -> Result<(), LakeError> {
        let Some(mut file) = self.open.remove(&day) else { return Ok(()) };
        let table = self.table;
        let written = file.writer.finish();
        let written = written.map_err(|source| LakeError::Parquet { table, source })?;
        let bytes = std::mem::take(file.writer.inner_mut());
        let (column, size) = (table.partition_column(), bytes.len() as i64);
        let name = format!("{}-{}.parquet", self.name, Uuid::now_v7().simple());
        let path = format!("{column}={day}/{name}");
        // It may be in the store for as long as the answer takes, and grow old there.
        let finished = Moment::now();
        self.lake.store().put(&self.lake.path_in(table, &path), bytes.into()).await?;
        self.finished.push(WrittenFile {
            add: Add {
                path,
                partition_values: HashMap::from([(column.to_owned(), Some(day.to_string()))]),
                size,
                modification_time: finished.wall.whole_ms(),
                data_change: true,
                stats: Some(stats(&written)),
                tags: file.order.holds().then(|| tags(table)).flatten(),
                ..Add::default()
            },
            finished,
            rows: file.rows,
        });
        Ok(())
    }
}

fn properties(
    schema: &Schema,
    compression: Compression,
    filtered_rows: Option<usize>,
) -> WriterProperties {
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_statistics_truncate_length(Some(TEXT_BYTES_MAX))
        // Each id is there once: a dictionary of them costs time, and is larger than they are.
        .set_column_dictionary_enabled("event_id".into(), false);
    let properties = match filtered_rows.filter(|_| schema.index_of(VISITOR).is_ok()) {
        None => properties,
        Some(rows) => properties
            .set_column_bloom_filter_enabled(VISITOR.into(), true)
            .set_column_bloom_filter_max_ndv(VISITOR.into(), rows.clamp(1, ROW_GROUP_ROWS) as u64),
    };
    // Neighbours in time differ by little, and so do the numbers of records.
    let is_running = |field: &&FieldRef| {
        matches!(field.data_type(), DataType::Timestamp(..)) || field.name() == "log_offset"
    };
    let running = schema.fields().iter().filter(is_running);
    let encoded = running.fold(properties, |properties, field| {
        let name = field.name().as_str();
        properties
            .set_column_dictionary_enabled(name.into(), false)
            .set_column_encoding(name.into(), Encoding::DELTA_BINARY_PACKED)
    });
    encoded.build()
}

#[cfg(test)]
mod tests;
