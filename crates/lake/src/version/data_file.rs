//! A file of a version: where it lies, its day, and what the log says of its rows.

use arrow::datatypes::Schema;
use chrono::{DateTime, Utc};
use deltalake_core::kernel::Add;
use footfall_event::Day;
use footfall_event::schema::Table;

use super::bounds::{ColumnFacts, FileFacts};
use super::reading;
use crate::table_file::parse_day;
use crate::{LakeError, order};

/// A file, as its entry in the log describes it.
#[derive(Debug)]
pub struct DataFile {
    path: Box<str>,
    pub bytes: u64,
    pub modified: DateTime<Utc>,
    /// The day of all its rows; `None` where another program wrote rows without one.
    pub day: Option<Day>,
    /// `None` where the entry does not say.
    pub rows: Option<u64>,
    /// Whether its rows are in the order of [`sort_columns`](crate::sort_columns).
    pub is_sorted: bool,
    columns: Box<[ColumnFacts]>,
}

impl DataFile {
    /// # Errors
    /// `Unfit`; `Unreadable` for a day that is none.
    pub(super) fn of(table: Table, schema: &Schema, add: &Add) -> Result<DataFile, LakeError> {
        reading::check_file(table, add)?;
        let unreadable = |reason: &str| LakeError::Unreadable {
            path: format!("{}/{}", table.name(), add.path),
            reason: reason.to_owned(),
        };
        let day = match add.partition_values.get(table.partition_column()) {
            Some(Some(day)) if !day.is_empty() => {
                Some(parse_day(day).ok_or_else(|| unreadable("its day is not known"))?)
            }
            _ => None,
        };
        let facts = FileFacts::of(schema, add.stats.as_deref());
        Ok(DataFile {
            path: add.path.as_str().into(),
            bytes: u64::try_from(add.size).map_err(|_| unreadable("its size is below 0"))?,
            modified: DateTime::from_timestamp_millis(add.modification_time).unwrap_or_default(),
            day,
            rows: facts.rows,
            is_sorted: order::is_sorted(table, add.tags.as_ref()),
            columns: facts.columns,
        })
    }

    /// Within the table's folder.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is known of the column at a place in the table's schema.
    pub fn column(&self, place: usize) -> &ColumnFacts {
        self.columns.get(place).unwrap_or(&ColumnFacts::UNKNOWN)
    }
}
