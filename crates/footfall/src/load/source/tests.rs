//! Files as text, and the rows they become.

mod csv;
mod fields;
mod files;
mod json_lines;
mod parquet;

use std::io::Write;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::*;

/// 2026-01-01T00:00:00Z.
const RECEIVED: Micros = Micros(1_767_225_600_000_000);

/// A map for columns `t`, `n` and `v`.
const MAP: &str =
    "time_format = 'unix_s'\n[columns]\ntimestamp = 't'\nevent_name = 'n'\nvisitor_id = 'v'\n";

struct Files {
    folder: TempDir,
    named: Vec<PathBuf>,
    map: LoadMap,
}

impl Files {
    fn new(map: &str, files: &[(&str, &[u8])]) -> Files {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map.toml");
        std::fs::write(&path, map).unwrap();
        let map = LoadMap::load(&path).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let mut made = Files { folder, named: Vec::new(), map };
        for (name, bytes) in files {
            made.add(name, bytes);
        }
        made
    }

    fn add(&mut self, name: &str, bytes: &[u8]) {
        self.named.push(self.folder.path().join(name));
        std::fs::write(self.named.last().unwrap(), bytes).unwrap();
    }

    fn open(&self) -> Result<Sources, SourceError> {
        let limits = Limits::default();
        Sources::open(&self.named, &self.map, "default", limits, "load:1", RECEIVED)
    }

    /// All rows, one a line, in the order of their numbers.
    fn read(&self) -> Vec<String> {
        self.try_read().unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_read(&self) -> Result<Vec<String>, SourceError> {
        let mut sources = self.open()?;
        let mut lines = Vec::new();
        while let Some(batch) = sources.next_batch()? {
            let events = (0..batch.events.num_rows()).map(|row| shown(&batch.events, row));
            let rejected = batch.rejected.iter().map(|(row, rejection)| {
                let Rejection { site, reason, field, payload, .. } = rejection;
                (*row, format!("{row} {site} {reason} {field} <{payload}>"))
            });
            let mut rows: Vec<(u64, String)> = events.chain(rejected).collect();
            rows.sort();
            lines.extend(rows.into_iter().map(|(_, line)| line));
        }
        assert_eq!(sources.bytes_read(), sources.bytes_total());
        Ok(lines)
    }

    /// Why the load cannot begin or go on, without the folder's name.
    fn error(&self) -> String {
        let error = self.try_read().unwrap_err().to_string();
        error.replace(&format!("{}/", self.folder.path().display()), "")
    }
}

/// Columns that are the same in every row, checked once.
const FIXED: [&str; 5] = ["log", "log_partition", "received_time", "event_date", "client_time"];

/// The row's number, and its columns that are not NULL. An id made of a hash is shown as `#`.
fn shown(events: &RecordBatch, row: usize) -> (u64, String) {
    let options = FormatOptions::new();
    let value = |name: &str| {
        let column = events.column_by_name(name).filter(|column| column.is_valid(row))?;
        if let Some(times) = column.as_primitive_opt::<TimestampMicrosecondType>() {
            return Some(Micros(times.value(row)).to_string());
        }
        let formatter = ArrayFormatter::try_new(column, &options).unwrap();
        Some(formatter.value(row).to_string())
    };
    let number = value("log_offset").unwrap();
    assert_eq!(value("log").as_deref(), Some("load:1"));
    assert_eq!(value("received_time").as_deref(), Some("2026-01-01T00:00:00.000000Z"));
    assert_eq!(value("appended_at"), None);
    let mut line = vec![number.clone()];
    for field in events.schema_ref().fields() {
        let name = field.name().as_str();
        let Some(text) = value(name).filter(|_| name != "log_offset" && !FIXED.contains(&name))
        else {
            continue;
        };
        let is_hash = |text: &str| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let (id, count) = text.split_at(text.len().min(32));
        let text = if is_hash(id) { format!("#{count}") } else { text };
        line.push(format!("{name}={text}"));
    }
    (number.parse().unwrap(), line.join(" "))
}

#[track_caller]
fn check(map: &str, files: &[(&str, &[u8])], expected: &[&str]) {
    assert_eq!(Files::new(map, files).read(), expected);
}

#[track_caller]
fn refuse(map: &str, files: &[(&str, &[u8])], expected: &str) {
    assert_eq!(Files::new(map, files).error(), expected);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What the rows of `MAP` with `t` = 0 have in common; `seq` is the row's number.
fn row(number: usize, rest: &str) -> String {
    let rest = rest.replace(AT_0, &format!("{AT_0} seq={number}"));
    format!("{number} event_id=# site=default {rest}")
}

const AT_0: &str = "event_time=1970-01-01T00:00:00.000000Z";
