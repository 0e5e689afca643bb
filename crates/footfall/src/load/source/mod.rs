//! Reads the files of a load, whatever their format, as batches of events, and sets aside the rows
//! that are none. Order, sessions and commits are left to the load.

mod csv;
mod error;
mod file;
mod json_lines;
mod parquet;
mod row_id;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec::IntoIter;

use arrow::array::RecordBatch;
use footfall_event::{Limits, Micros, Rejection};

use crate::map::{Format, LoadMap, Plan};
use csv::CsvReader;
pub use error::SourceError;
use file::BytesRead;
use json_lines::JsonLinesReader;
use parquet::ParquetReader;
use rows::Rows;

/// All files of a load, in the order named, as batches.
pub struct Sources {
    files: IntoIter<(PathBuf, Format)>,
    reader: Option<Reader>,
    plan: Arc<Plan>,
    rows: Rows,
    bytes_total: u64,
    bytes_read: BytesRead,
}

/// Some rows, in their order. A row's number counts over the files as named, from 0, with the bad
/// rows and without headers and empty lines.
pub struct SourceBatch {
    /// The schema of `events`: `log_offset` is the row's number, and so is `seq` where the source has
    /// none; `appended_at` and what the fold settles are NULL. May be empty.
    pub events: RecordBatch,
    /// Rows that are no events, by their numbers.
    pub rejected: Vec<(u64, Rejection)>,
}

enum Reader {
    Csv(CsvReader),
    JsonLines(JsonLinesReader),
    Parquet(Box<ParquetReader>),
}

impl Sources {
    /// Opens each file and looks at its header, so that a load does not end at its last file for what
    /// could be seen at the start. `log` names the load in its rows; `default_site` is the site of
    /// rows that neither the map nor the row gives one; `received` is the load's start.
    ///
    /// # Errors
    /// When a file cannot be read, is named twice, has a format that is not told, or lacks a column
    /// that the map names.
    pub fn open(
        files: &[PathBuf],
        map: &LoadMap,
        default_site: &str,
        limits: Limits,
        log: &str,
        received: Micros,
    ) -> Result<Sources, SourceError> {
        let plan = Arc::new(Plan::new(map, default_site));
        let mut seen = HashSet::new();
        let mut bytes_total = 0;
        let mut formats = Vec::new();
        for path in files {
            let (_, bytes) = file::open(path)?;
            bytes_total += bytes;
            let real = path.canonicalize().unwrap_or_else(|_| path.clone());
            if !seen.insert(real) {
                let why = "is named twice: its rows would count twice";
                return Err(SourceError::unfit(path, why));
            }
            let format = format_of(path, map)?;
            Reader::open(path, format, &plan, &BytesRead::default())?;
            formats.push((path.clone(), format));
        }
        let rows = Rows::new(plan.clone(), limits, log, received);
        let (files, bytes_read) = (formats.into_iter(), BytesRead::default());
        Ok(Sources { files, reader: None, plan, rows, bytes_total, bytes_read })
    }

    /// The size of all files on disk.
    pub fn bytes_total(&self) -> u64 {
        self.bytes_total
    }

    /// How many of the files' bytes were read.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.total()
    }

    /// The next rows, about 8,192 of them; `None` after the last.
    ///
    /// # Errors
    /// When a file turns out to be cut or damaged; the load must end then.
    pub fn next_batch(&mut self) -> Result<Option<SourceBatch>, SourceError> {
        while !self.rows.is_full() {
            if self.reader.is_none() {
                let Some((path, format)) = self.files.next() else { break };
                let reader = Reader::open(&path, format, &self.plan, &self.bytes_read)?;
                self.rows.has_seq = reader.has_seq(&self.plan);
                self.reader = Some(reader);
            }
            let Some(reader) = &mut self.reader else { break };
            if !reader.read_row(&self.plan, &mut self.rows)? {
                self.reader = None;
            }
        }
        Ok(self.rows.finish())
    }
}

fn format_of(path: &Path, map: &LoadMap) -> Result<Format, SourceError> {
    map.format.or_else(|| Format::of_file(path)).ok_or_else(|| {
        let why = "its name does not tell its format: end it in .csv, .jsonl, .ndjson (each also \
                   with .gz) or .parquet, or set `format` in the map";
        SourceError::unfit(path, why)
    })
}

impl Reader {
    fn open(
        path: &Path,
        format: Format,
        plan: &Plan,
        read: &BytesRead,
    ) -> Result<Reader, SourceError> {
        Ok(match format {
            Format::Csv => Reader::Csv(CsvReader::open(path, plan, read)?),
            Format::JsonLines => Reader::JsonLines(JsonLinesReader::open(path, read)?),
            Format::Parquet => Reader::Parquet(Box::new(ParquetReader::open(path, plan, read)?)),
        })
    }

    /// Whether the events have counters of their own: a column, or as posted, where none counts as 0.
    fn has_seq(&self, plan: &Plan) -> bool {
        match self {
            Reader::Csv(reader) => reader.bound.has_seq,
            Reader::JsonLines(_) => plan.is_identity,
            Reader::Parquet(reader) => reader.bound.has_seq,
        }
    }

    fn read_row(&mut self, plan: &Plan, rows: &mut Rows) -> Result<bool, SourceError> {
        match self {
            Reader::Csv(reader) => reader.read_row(plan, rows),
            Reader::JsonLines(reader) => reader.read_row(plan, rows),
            Reader::Parquet(reader) => reader.read_row(plan, rows),
        }
    }
}
