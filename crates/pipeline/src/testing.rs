//! A lake in a temporary folder, history to load into it, and what can be asked of it.

mod odd_log;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use footfall_event::schema::Table;
use footfall_event::{EventDecoder, Micros, Offset, Partition, Text, Times, parse_event};
use footfall_lake::{Commit, FileWriter, Lake, LakeSettings, Progress, TableWriter, app_id};
use footfall_sessionizer::{Conditions, Counts, ReceiptRow, Rules};
use tempfile::TempDir;
use uuid::Uuid;

use crate::history::{HistoryBatch, HistoryFiles, Load, LoadReceipt, load as load_files};
use crate::partition::PartitionFold;
use crate::rows::{Origin, receipt_rows};
use crate::scan::{context, table};
use crate::{JobsRun, snapshot};
pub use odd_log::OddLog;

pub const TOPIC: &str = "events";
/// 2026-01-02T00:00:00Z.
pub const STARTED: Micros = Micros(1_767_312_000_000_000);

pub fn lake_settings(partitions: u32) -> LakeSettings {
    let Rules { session_gap, session_cap, .. } = rules();
    LakeSettings { topic: TOPIC.to_owned(), partitions, session_gap, session_cap }
}

pub struct Shop {
    pub folder: TempDir,
    pub lake: Lake,
}

impl Shop {
    /// A folder without a lake.
    pub fn empty() -> Shop {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::at(&folder.path().to_string_lossy(), Vec::new()).unwrap();
        Shop { folder, lake }
    }

    pub async fn new() -> Shop {
        Shop::of_partitions(1).await
    }

    pub async fn of_partitions(partitions: u32) -> Shop {
        let shop = Shop::empty();
        shop.lake.make(&lake_settings(partitions)).await.unwrap();
        shop
    }

    pub async fn load(&self, hash: &str, lines: &[&str]) -> LoadReceipt {
        self.load_by(&rules(), hash, lines).await
    }

    pub async fn load_by(&self, rules: &Rules, hash: &str, lines: &[&str]) -> LoadReceipt {
        let load = Load { rules: Arc::new(rules.clone()), ..named(hash) };
        load_files(&self.lake, &load, &files(&load, lines)).await.unwrap()
    }

    /// A row of an answer a line, columns separated by blanks.
    pub async fn ask(&self, sql: &str) -> Vec<String> {
        let context = context().unwrap();
        for kind in Table::ALL {
            let rows = table(&context, &self.lake, kind).await.unwrap();
            context.register_table(kind.name(), rows.into_view()).unwrap();
        }
        let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
        let options = FormatOptions::new().with_null("-");
        let mut lines = Vec::new();
        for batch in &batches {
            let columns = batch.columns().iter();
            let columns = columns.map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap());
            let columns: Vec<_> = columns.collect();
            for row in 0..batch.num_rows() {
                let values: Vec<String> =
                    columns.iter().map(|c| c.value(row).to_string()).collect();
                lines.push(values.join(" "));
            }
        }
        lines
    }

    pub async fn commit(&self, kind: Table, up_to: i64, rows: Option<RecordBatch>) {
        let mut writer = TableWriter::open(&self.lake, kind).await.unwrap();
        let mut files = FileWriter::new(&self.lake, kind, Uuid::new_v4());
        if let Some(rows) = rows {
            files.write(&rows).await.unwrap();
        }
        let app_id = app_id(kind, TOPIC, Partition(0));
        let from = writer.progress(&app_id).await.unwrap();
        let files = files.finish().await.unwrap();
        let progress = vec![Progress { app_id, from, to: up_to }];
        writer.commit(&Commit { files, progress, ..Commit::default() }).await.unwrap();
    }

    /// What live reading committed: a receipt, and how far `events` speaks.
    pub async fn live(&self, (from, to): (i64, i64), watermark: Option<Micros>, events: i64) {
        let origin = Origin { log: TOPIC.into(), partition: Partition(0) };
        let receipt = ReceiptRow {
            from: Offset(from),
            to: Offset(to),
            site: None,
            hour: STARTED.hour(),
            counts: Counts::default(),
            pending: 0,
            watermark,
        };
        self.commit(Table::Receipts, to, Some(receipt_rows(&[receipt], &origin).unwrap())).await;
        self.commit(Table::Events, events, None).await;
    }

    /// A snapshot at `offset` of a fold that has read nothing by these rules.
    pub async fn snapshot(&self, offset: Offset, rules: &Rules) {
        let origin = Origin { log: TOPIC.into(), partition: Partition(0) };
        let fold = PartitionFold::begin(origin, offset, None, Arc::new(rules.clone()));
        let (_, bytes) = fold.unwrap().snapshot().unwrap();
        let published = snapshot::publish(&self.lake, TOPIC, Partition(0), offset, bytes.into());
        published.await.unwrap();
    }

    pub fn table(&self, kind: Table) -> PathBuf {
        self.folder.path().join(kind.name())
    }

    /// A load that dies when it has committed `events`.
    pub async fn die_behind_events(&self, load: &Load, lines: &[&str]) {
        let (table, aside) = (self.table(Table::Sessions), self.folder.path().join("aside"));
        let (from, to) = (table.clone(), aside.clone());
        let files = before_its_end(files(load, lines), move || {
            std::fs::rename(&from, &to).unwrap();
            std::fs::write(&from, "no folder").unwrap();
        });
        load_files(&self.lake, load, &files).await.unwrap_err();
        std::fs::remove_file(&table).unwrap();
        std::fs::rename(&aside, &table).unwrap();
    }
}

pub fn rules() -> Rules {
    let is = |name: &str| format!("event_name = '{name}'");
    Rules {
        session_gap: Micros(30 * Micros::MINUTE.0),
        session_cap: Micros::DAY,
        allowed_lateness: Micros(10 * Micros::SECOND.0),
        signal_grace: Micros(0),
        dedupe_window: Micros(20 * Micros::MINUTE.0),
        dedupe_ids_max: 1_000,
        open_sessions_max: 1_000,
        held_events_max: 1_000_000,
        held_events_per_visitor_max: 10_000,
        events_per_session_max: 10_000,
        slow_page_ms: 4_000,
        conditions: Conditions {
            conversion: is("purchase"),
            page_view: is("page_view"),
            error: is("error"),
            zero_search: is("search"),
            hidden: is("heartbeat"),
            rage_target: is("click"),
        },
        steps: Vec::new(),
        needs: Vec::new(),
    }
}

pub fn named(hash: &str) -> Load {
    Load {
        hash: hash.to_owned(),
        rules: Arc::new(rules()),
        started: STARTED,
        jobs_run: JobsRun::default(),
    }
}

pub fn rows(load: &Load, lines: &[&str]) -> RecordBatch {
    decoded(&load.log(), lines, load.started)
}

/// Events of a log, as they are decoded.
pub fn decoded(log: &str, lines: &[&str], received_time: Micros) -> RecordBatch {
    let mut decoder = EventDecoder::new(log, Partition(0));
    for (number, line) in lines.iter().enumerate() {
        let mut event = parse_event(line).unwrap();
        event.set_text(Text::Site, "shop");
        if event.text(Text::EventName).is_none() {
            event.set_text(Text::EventName, "page_view");
        }
        let event_time = event.client.timestamp.unwrap();
        let times = Times { event_time, received_time };
        decoder.push_event(&event, times, Offset(number as i64), None);
    }
    decoder.finish().rows
}

pub fn files(load: &Load, lines: &[&str]) -> HistoryFiles {
    let rows = rows(load, lines);
    Box::new(move || {
        let mut batch = Some(HistoryBatch { events: rows.clone(), rejected: Vec::new() });
        Ok(Box::new(move || Ok(batch.take())))
    })
}

/// Files whose first reading does something behind the last batch.
pub fn before_its_end(
    files: HistoryFiles,
    act: impl Fn() + Clone + Send + Sync + 'static,
) -> HistoryFiles {
    let readings = AtomicUsize::new(0);
    Box::new(move || {
        let (mut source, act) = (files()?, act.clone());
        let is_first = readings.fetch_add(1, Ordering::Relaxed) == 0;
        Ok(Box::new(move || {
            let batch = source()?;
            if batch.is_none() && is_first {
                act();
            }
            Ok(batch)
        }))
    })
}

/// An event of `v` a day before the load.
pub fn at(second: u32, id: &str, more: &str) -> String {
    let time = format!("2026-01-01T00:{:02}:{:02}Z", second / 60, second % 60);
    format!(
        r#"{{"event_id":"{id}","visitor_id":"v","timestamp":"{time}","page_path":"/{id}"{more}}}"#
    )
}
