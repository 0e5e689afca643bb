//! A lake in a temporary folder, rows to write to it, and what can be read of it.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use footfall_event::Micros;
use footfall_event::schema::Table;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    Between, FileWriter, Lake, LakeSettings, ModelTables, TableWriter, WrittenFile, read_file,
};

/// The table that tests write to: its rows are the simplest.
pub const TABLE: Table = Table::Duplicates;
/// 2026-03-01T12:00:00Z.
pub const NOON: Micros = Micros(1_772_366_400_000_000);

pub fn settings() -> LakeSettings {
    LakeSettings {
        topic: "events".to_owned(),
        partitions: 4,
        session_gap: Micros(30 * Micros::MINUTE.0),
        session_cap: Micros::DAY,
    }
}

/// A location with no lake; the folder goes when it is dropped.
pub fn location() -> (TempDir, Lake) {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::at(folder.path().to_str().unwrap(), Vec::new()).unwrap();
    (folder, lake)
}

pub async fn made_lake() -> (TempDir, Lake) {
    let (folder, lake) = location();
    lake.make(&settings()).await.unwrap();
    (folder, lake)
}

/// Rows of [`TABLE`]: ids, and when they were received.
pub fn rows(rows: &[(&str, Micros)]) -> RecordBatch {
    let ids = rows.iter().map(|(id, _)| *id);
    let times = rows.iter().map(|(_, time)| time.0);
    let days = rows.iter().map(|(_, time)| time.day().0);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["shop"; rows.len()])),
        Arc::new(StringArray::from_iter_values(ids)),
        Arc::new(StringArray::from(vec![None::<&str>; rows.len()])),
        Arc::new(Int32Array::from(vec![3; rows.len()])),
        Arc::new(Int64Array::from_iter_values(0..rows.len() as i64)),
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
        Arc::new(Date32Array::from_iter_values(days)),
    ];
    RecordBatch::try_new(TABLE.schema(), columns).unwrap()
}

/// Files of one row, by a writer of its own.
pub async fn files(lake: &Lake, id: &str) -> Vec<WrittenFile> {
    let mut writer = FileWriter::new(lake, TABLE, Uuid::new_v4());
    writer.write(&rows(&[(id, NOON)])).await.unwrap();
    writer.finish().await.unwrap()
}

/// The ids in the newest version of [`TABLE`], ascending.
pub async fn ids(lake: &Lake) -> Vec<String> {
    let column = TABLE.schema().index_of("event_id").unwrap();
    let mut ids = Vec::new();
    for file in TableWriter::open(lake, TABLE).await.unwrap().files().unwrap() {
        let rows = read_file(lake, TABLE, &file, &[column]).await.unwrap();
        for rows in rows.try_collect::<Vec<_>>().await.unwrap() {
            let column = rows.column(0).as_string::<i32>();
            ids.extend(column.iter().map(|id| id.unwrap().to_owned()));
        }
    }
    ids.sort();
    ids
}

/// A lake in memory whose tables' logs are the model; not made yet.
pub fn modelled_lake() -> Lake {
    modelled_lake_through(&Arc::new(InMemory::new()), &ModelTables::default(), Arc::new(Nothing))
}

/// The same of tables that others reach too, with something in between.
pub fn modelled_lake_through(
    store: &Arc<InMemory>,
    tables: &ModelTables,
    between: Arc<dyn Between>,
) -> Lake {
    Lake::in_store(store.clone(), Arc::new(tables.reached_through(between))).unwrap()
}

/// Lets everything pass.
#[derive(Debug)]
pub struct Nothing;

#[async_trait::async_trait]
impl Between for Nothing {
    async fn before(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    async fn after(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}
