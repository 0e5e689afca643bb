//! Searches everything for a person who was erased: all files of the tables, whether a version has them or
//! not, their logs, snapshots, requests, and the event log. The proof has no id, so that whoever checks it
//! must know it.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use footfall_event::schema::Table;
use footfall_event::{Micros, Partition, parse_time};
use footfall_lake::{Lake, LakeError, TableFile, TableWriter, unreferenced_files};
use footfall_log::{EventLog, Redacted};
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use super::tables::OF_PEOPLE;
use super::{Erasure, Person, redaction};
use crate::PipelineError;
use crate::rewrite::rows_of;
use crate::scan::{record_at, text_at};
use crate::snapshot;

/// Places that are told by name; all are counted.
const LISTED_MAX: usize = 50;

/// What a search found.
#[derive(Debug, Default)]
pub struct Found {
    /// Where the person still is, the first of them in words.
    pub places: Vec<String>,
    pub count: usize,
    /// Whether somebody came by the same id since, whose rows stay; what is of them is in `notes`.
    pub has_newcomer: bool,
    pub notes: Vec<String>,
}

impl Found {
    pub fn add(&mut self, place: String) {
        self.count += 1;
        if self.places.len() < LISTED_MAX {
            self.places.push(place);
        }
    }

    /// A place that may be the newcomer's, if there is one.
    pub fn add_unless_of_newcomer(&mut self, place: String) {
        match self.has_newcomer {
            true if self.notes.len() < LISTED_MAX => {
                self.notes.push(format!("{place}: of what came by this id since"));
            }
            true => {}
            false => self.add(place),
        }
    }
}

/// What the event log has of a person below the control records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSearch {
    /// Records; `None` where the log cannot be searched.
    pub records: Option<u64>,
    /// Partitions whose retention has yet to take what lies before the control record.
    pub pending: Vec<i32>,
}

/// # Errors
/// `Log`.
pub async fn search_log(
    log: &dyn EventLog,
    erasure: &Erasure,
    visitor_id: &str,
) -> Result<LogSearch, PipelineError> {
    let erased_at = erasure.log_erased_at.as_deref().and_then(|text| parse_time(text).ok());
    // What is published behind the erasure is of who came by the same id since.
    let published_until = erased_at.unwrap_or(Micros(i64::MAX));
    let redaction = redaction(erasure, visitor_id);
    if let Redacted::Records(records) = log.count_meant(redaction, published_until).await? {
        return Ok(LogSearch { records: Some(records), pending: Vec::new() });
    }
    let mut pending = Vec::new();
    for (partition, control) in erasure.offsets() {
        if log.bounds(partition).await?.start < control {
            pending.push(partition.0);
        }
    }
    Ok(LogSearch { records: None, pending })
}

/// Searches the lake.
///
/// # Errors
/// `Lake`, `Snapshot` when something cannot be read.
pub async fn search(
    lake: &Lake,
    erasure: &Erasure,
    visitor_id: &str,
) -> Result<Found, PipelineError> {
    let person = Person::new(&erasure.site, visitor_id);
    let mut search = Search {
        lake,
        erasure,
        person: &person,
        found: Found::default(),
        sessions: HashSet::new(),
    };
    // `events` first: it tells of the sessions that are a newcomer's.
    for table in OF_PEOPLE.into_iter().rev() {
        search.table(table).await?;
    }
    for table in Table::ALL {
        search.table_log(table).await?;
    }
    search.snapshots().await?;
    for folder in ["_footfall", "_footfall/erasures/waiting", "_footfall/erasures/done"] {
        search.blobs(folder).await?;
    }
    Ok(search.found)
}

struct Search<'s> {
    lake: &'s Lake,
    erasure: &'s Erasure,
    person: &'s Person,
    found: Found,
    /// Of the newcomer.
    sessions: HashSet<String>,
}

impl Search<'_> {
    async fn table(&mut self, table: Table) -> Result<(), PipelineError> {
        let mut files = TableWriter::open(self.lake, table).await?.files()?;
        files.extend(unreferenced_files(self.lake, table).await?);
        for file in files {
            match self.file(table, &file).await {
                Ok(()) => {}
                // It was replaced in between, and its rows are in another.
                Err(PipelineError::Lake(LakeError::Parquet { .. } | LakeError::Store(_))) => {
                    let name = format!("{}/{}", table.name(), file.path());
                    self.found.notes.push(format!("{name}: it cannot be read"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn file(&mut self, table: Table, file: &TableFile) -> Result<(), PipelineError> {
        let all = (0..table.schema().fields().len()).collect();
        let mut rows = rows_of(self.lake.clone(), table, vec![file.clone()], all);
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            if !batch.columns().iter().any(|column| self.stands_in(column)) {
                continue;
            }
            for row in 0..batch.num_rows() {
                let one = batch.slice(row, 1);
                if one.columns().iter().any(|column| self.stands_in(column)) {
                    self.row(table, file, &one);
                }
            }
        }
        Ok(())
    }

    /// A row that holds the id.
    fn row(&mut self, table: Table, file: &TableFile, row: &RecordBatch) {
        let place = record_at(row, 0);
        let session = text_at(row, "session_id", 0).unwrap_or_default();
        let is_theirs = self.person.has_row(row, 0);
        let is_old = place
            .is_none_or(|(log, partition, offset)| self.erasure.reaches(log, partition, offset));
        let at = match place {
            Some((log, partition, offset)) => format!("record {offset} of {log}/{partition}"),
            None => format!("session {session}"),
        };
        let name = format!("{}/{}: {at}", table.name(), file.path());
        match table {
            Table::Events if is_theirs && !is_old => {
                self.found.has_newcomer = true;
                self.sessions.insert(session.to_owned());
            }
            Table::Events if !is_theirs => {
                self.found.add(format!("{name}: another visitor's event names it"));
            }
            Table::Rejected | Table::Duplicates if !is_old => {
                self.found.notes.push(format!("{name}: it came since"));
            }
            Table::Sessions | Table::Needs | Table::PageViews
                if self.sessions.contains(session) => {}
            _ => self.found.add(name),
        }
    }

    /// Whether any text of a column holds the id, however deep.
    fn stands_in(&self, column: &Arc<dyn Array>) -> bool {
        match column.data_type() {
            DataType::Utf8 => {
                column.as_string::<i32>().iter().flatten().any(|text| self.person.is_named_in(text))
            }
            DataType::LargeUtf8 | DataType::Utf8View => {
                cast(column, &DataType::Utf8).is_ok_and(|column| self.stands_in(&column))
            }
            DataType::Struct(_) => {
                column.as_struct().columns().iter().any(|column| self.stands_in(column))
            }
            // A slice's values are those of all rows.
            DataType::List(_) => {
                let lists = column.as_list::<i32>();
                (0..lists.len()).any(|row| lists.is_valid(row) && self.stands_in(&lists.value(row)))
            }
            DataType::Map(..) => {
                let maps = column.as_map();
                self.stands_in(maps.keys()) || self.stands_in(maps.values())
            }
            _ => false,
        }
    }

    async fn table_log(&mut self, table: Table) -> Result<(), PipelineError> {
        let folder = format!("{}/_delta_log", table.name());
        for name in self.lake.list(&folder).await? {
            let path = format!("{folder}/{name}");
            let Some(bytes) = self.lake.read(&path).await? else { continue };
            let is_found = match name.ends_with(".parquet") {
                true => self.stands_in_checkpoint(&path, bytes)?,
                false => self.person.is_named_in(&String::from_utf8_lossy(&bytes)),
            };
            if is_found {
                self.found.add_unless_of_newcomer(path);
            }
        }
        Ok(())
    }

    fn stands_in_checkpoint(&self, path: &str, bytes: bytes::Bytes) -> Result<bool, PipelineError> {
        let unreadable = |reason: String| LakeError::Unreadable { path: path.to_owned(), reason };
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes);
        let rows = builder.and_then(|builder| builder.build());
        for batch in rows.map_err(|error| unreadable(error.to_string()))? {
            if batch?.columns().iter().any(|column| self.stands_in(column)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn snapshots(&mut self) -> Result<(), PipelineError> {
        for partition in self.erasure.control_offsets.keys().copied().map(Partition) {
            let topic = &self.erasure.log;
            for offset in snapshot::offsets(self.lake, topic, partition).await? {
                let bytes = snapshot::unpacked(self.lake, topic, partition, offset).await?;
                if self.person.is_in_bytes(&bytes) {
                    let name = format!("snapshot {offset} of partition {partition}");
                    self.found.add_unless_of_newcomer(name);
                }
            }
        }
        Ok(())
    }

    async fn blobs(&mut self, folder: &str) -> Result<(), PipelineError> {
        for name in self.lake.list(folder).await? {
            let path = format!("{folder}/{name}");
            let Some(bytes) = self.lake.read(&path).await? else { continue };
            if self.person.is_named_in(&String::from_utf8_lossy(&bytes)) {
                self.found.add(format!("{path}: a request of it waits"));
            }
        }
        Ok(())
    }
}
