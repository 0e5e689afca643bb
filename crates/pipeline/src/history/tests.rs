//! Loads of a few lines into a lake in a temporary folder.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::util::display::{ArrayFormatter, FormatOptions};
use footfall_event::{EventDecoder, Offset, Partition, Text, Times, parse_event};
use footfall_lake::{Commit, FileWriter, LakeSettings, Progress, TableWriter, app_id};
use footfall_sessionizer::{Conditions, ReceiptRow};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::rows::{Origin, receipt_rows};
use crate::scan::{context, table};

const TOPIC: &str = "events";
/// 2026-01-02T00:00:00Z.
const STARTED: Micros = Micros(1_767_312_000_000_000);

struct Shop {
    folder: TempDir,
    lake: Lake,
}

impl Shop {
    async fn new() -> Shop {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::at(&folder.path().to_string_lossy(), Vec::new()).unwrap();
        let settings = LakeSettings {
            topic: TOPIC.to_owned(),
            partitions: 1,
            session_gap: rules().session_gap,
            session_cap: rules().session_cap,
        };
        lake.make(&settings).await.unwrap();
        Shop { folder, lake }
    }

    async fn load(&self, hash: &str, lines: &[&str]) -> LoadReceipt {
        let load = named(hash);
        super::load(&self.lake, &load, &files(&load, lines)).await.unwrap()
    }

    /// A row of an answer a line, columns separated by blanks.
    async fn ask(&self, sql: &str) -> Vec<String> {
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

    async fn commit(&self, kind: Table, up_to: i64, rows: Option<RecordBatch>) {
        let mut writer = TableWriter::open(&self.lake, kind).await.unwrap();
        let mut files = FileWriter::new(&self.lake, kind, Uuid::new_v4());
        if let Some(rows) = rows {
            files.write(&rows).await.unwrap();
        }
        let app_id = app_id(kind, TOPIC, Partition(0));
        let from = writer.progress(&app_id).await.unwrap();
        let files = files.finish().await.unwrap();
        let progress = vec![Progress { app_id, from, to: up_to }];
        writer.commit(&Commit { files, progress, is_load: false }).await.unwrap();
    }

    /// What live reading committed: a receipt, and how far `events` speaks.
    async fn live(&self, (from, to): (i64, i64), watermark: Option<Micros>, events: i64) {
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

    fn table(&self, kind: Table) -> PathBuf {
        self.folder.path().join(kind.name())
    }

    /// A load that dies when it has committed `events`.
    async fn die_behind_events(&self, load: &Load, lines: &[&str]) {
        let (table, aside) = (self.table(Table::Sessions), self.folder.path().join("aside"));
        let (from, to) = (table.clone(), aside.clone());
        let files = before_its_end(files(load, lines), move || {
            std::fs::rename(&from, &to).unwrap();
            std::fs::write(&from, "no folder").unwrap();
        });
        super::load(&self.lake, load, &files).await.unwrap_err();
        std::fs::remove_file(&table).unwrap();
        std::fs::rename(&aside, &table).unwrap();
    }
}

fn rules() -> Rules {
    let is = |name: &str| format!("event_name = '{name}'");
    Rules {
        session_gap: Micros(30 * Micros::MINUTE.0),
        session_cap: Micros::DAY,
        allowed_lateness: Micros(10 * Micros::SECOND.0),
        signal_grace: Micros(0),
        dedupe_window: Micros(20 * Micros::MINUTE.0),
        dedupe_ids_max: 1_000,
        open_sessions_max: 1_000,
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

fn named(hash: &str) -> Load {
    Load { hash: hash.to_owned(), rules: Arc::new(rules()), started: STARTED }
}

fn rows(load: &Load, lines: &[&str]) -> RecordBatch {
    let mut decoder = EventDecoder::new(&load.log(), Partition(0));
    for (number, line) in lines.iter().enumerate() {
        let mut event = parse_event(line).unwrap();
        event.set_text(Text::Site, "shop");
        event.set_text(Text::EventName, "page_view");
        let event_time = event.client.timestamp.unwrap();
        let times = Times { event_time, received_time: load.started };
        decoder.push_event(&event, times, Offset(number as i64), None);
    }
    decoder.finish().rows
}

fn files(load: &Load, lines: &[&str]) -> HistoryFiles {
    let rows = rows(load, lines);
    Box::new(move || {
        let mut batch = Some(HistoryBatch { events: rows.clone(), rejected: Vec::new() });
        Ok(Box::new(move || Ok(batch.take())))
    })
}

/// Files whose first reading does something behind the last batch.
fn before_its_end(
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
fn at(second: u32, id: &str, more: &str) -> String {
    let time = format!("2026-01-01T00:{:02}:{:02}Z", second / 60, second % 60);
    format!(
        r#"{{"event_id":"{id}","visitor_id":"v","timestamp":"{time}","page_path":"/{id}"{more}}}"#
    )
}

fn texts(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).collect()
}

#[test]
fn packed_rows_come_back_and_sort_as_the_fold_wants_them() {
    let lines = [
        r#"{"event_id":"5","visitor_id":"b","timestamp":"2026-01-01T00:00:00Z","seq":0}"#,
        r#"{"event_id":"4","visitor_id":"b","timestamp":"2026-01-01T00:00:00Z"}"#,
        r#"{"event_id":"3","visitor_id":"b","timestamp":"2026-01-01T00:00:00Z","seq":-1,"x":5,"cls":0.25,"value":-12.5,"items":[{"item_id":"a","price":1.5},{"quantity":2}],"properties":{"a":[1]}}"#,
        r#"{"event_id":"6","visitor_id":"b","timestamp":"2026-01-01T23:59:59.999999Z","utm_source":"ä😀"}"#,
        r#"{"event_id":"2","visitor_id":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","timestamp":"2026-01-01T05:00:00Z"}"#,
        r#"{"event_id":"1","timestamp":"2026-01-01T00:00:01Z","seq":7}"#,
        r#"{"event_id":"0","timestamp":"2026-01-01T00:00:02Z","seq":9}"#,
    ];
    let load = named("1");
    let (rows, packing) = (rows(&load, &lines), Packing::new(&load).unwrap());
    let packed = packing.pack(&rows, |_| true).unwrap();
    assert_eq!(packing.unpack(&packed).unwrap(), rows);
    let order = arrow::compute::sort_to_indices(packed.column(0), None, None).unwrap();
    let sorted = arrow::compute::take_record_batch(&packed, &order).unwrap();
    let ids = packing.unpack(&sorted).unwrap();
    let ids = arrow::array::AsArray::as_string::<i32>(ids.column_by_name("event_id").unwrap());
    let ids: Vec<&str> = ids.iter().flatten().collect();
    assert_eq!(ids, ["0", "1", "2", "3", "4", "5", "6"]);
    let some = packing.pack(&rows, |row| row % 2 == 1).unwrap();
    assert_eq!(packing.unpack(&some).unwrap().num_rows(), 3);
}

#[tokio::test]
async fn a_seq_that_is_not_there_counts_as_0() {
    let lines = [at(0, "b", ""), at(0, "a", ",\"seq\":0"), at(0, "c", ",\"seq\":-1")];
    let sql = "SELECT landing_path, exit_path FROM sessions";
    let shop = Shop::new().await;
    shop.load("1", &texts(&lines)).await;
    assert_eq!(shop.ask(sql).await, ["/c /b"]);
    // So do rows that stand in the table.
    let shop = Shop::new().await;
    shop.die_behind_events(&named("1"), &texts(&lines)).await;
    shop.load("1", &texts(&lines)).await;
    assert_eq!(shop.ask(sql).await, ["/c /b"]);
}

#[tokio::test]
async fn a_load_that_died_behind_events_is_finished_and_then_adds_nothing() {
    let lines = [at(0, "a", ""), at(1, "b", ""), at(1, "b", ""), at(2_000, "c", "")];
    let sql = "SELECT (SELECT count(*) FROM events) AS e, (SELECT count(*) FROM sessions) AS s, \
               (SELECT count(*) FROM page_views) AS p, (SELECT count(*) FROM duplicates) AS d, \
               (SELECT sum(received) FROM receipts) AS r, (SELECT sum(accepted) FROM receipts) AS a";
    let shop = Shop::new().await;
    let load = named("1");
    shop.die_behind_events(&load, &texts(&lines)).await;
    assert_eq!(shop.ask(sql).await, ["3 0 0 0 - -"]);
    let receipt = shop.load("1", &texts(&lines)).await;
    assert_eq!((receipt.had, receipt.sessions), (vec![Table::Events], 2));
    assert_eq!(shop.ask(sql).await, ["3 2 3 1 4 3"]);
    let receipt = shop.load("1", &texts(&lines)).await;
    assert_eq!(receipt.had, Table::ALL);
    assert_eq!(shop.ask(sql).await, ["3 2 3 1 4 3"]);
}

#[tokio::test]
async fn a_load_by_other_rules_is_refused() {
    let lines = [at(0, "a", ""), at(1, "b", "")];
    let shop = Shop::new().await;
    let load = named("1");
    shop.die_behind_events(&load, &texts(&lines)).await;
    let other = Rules { slow_page_ms: 1, ..rules() };
    let (before, given) = (rules().config_id(), other.config_id());
    let changed = Load { rules: Arc::new(other), ..load };
    let refused = super::load(&shop.lake, &changed, &files(&changed, &texts(&lines))).await;
    let told = refused.unwrap_err().to_string();
    assert_eq!(
        told,
        format!(
            "`load:1` was loaded by other rules (config_id {before}) than those given ({given}), and its \
             sessions follow those: run the command with the `[rules]` it was loaded by, which \
             _footfall/rules/{before}.json in the lake tells"
        )
    );
    assert_eq!(shop.ask("SELECT count(*) FROM sessions").await, ["0"]);
    assert_eq!(rules_store::all(&shop.lake).await.unwrap(), [rules()]);
    // Other files by these rules are another load.
    let changed = Load { hash: "2".to_owned(), ..changed };
    super::load(&shop.lake, &changed, &files(&changed, &[])).await.unwrap();
}

/// One process began late enough to leave a row to the repair, and committed `events` first.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_equal_loads_at_once_the_second_goes_on_from_the_first() {
    let lines = [at(0, "a", ""), at(1, "b", ""), at(59 * 60, "c", "")];
    let shop = Arc::new(Shop::new().await);
    let hour = Micros::HOUR;
    let first = Load { started: Micros(STARTED.0 - 23 * hour.0), ..named("1") };
    let (runtime, other) = (tokio::runtime::Handle::current(), shop.clone());
    let of_first: Vec<String> = lines.to_vec();
    let second = named("1");
    let files = before_its_end(files(&second, &texts(&lines)), move || {
        runtime.block_on(other.die_behind_events(&first, &texts(&of_first)));
    });
    let receipt = super::load(&shop.lake, &second, &files).await.unwrap();
    assert_eq!((receipt.counts.on_time, receipt.counts.late), (2, 1));
    let late = "SELECT event_id, session_id IS NULL FROM events WHERE late";
    assert_eq!(shop.ask(late).await, ["c true"]);
    assert_eq!(shop.ask("SELECT event_count, exit_path FROM sessions").await, ["2 /b"]);
    assert_eq!(shop.ask("SELECT sum(on_time), sum(late) FROM receipts").await, ["2 1"]);
}

#[tokio::test]
async fn events_without_a_visitor_are_known_by_their_ids() {
    let cookieless = |id: &str, second: u32| at(second, id, "").replace(r#""visitor_id":"v","#, "");
    let shop = Shop::new().await;
    let first = [cookieless("b", 9), cookieless("d", 1), cookieless("x", 5), at(0, "v1", "")];
    shop.load("1", &texts(&first)).await;
    // At other times, and in another order.
    let second = [
        cookieless("x", 1),
        cookieless("a", 2),
        at(0, "v1", ""),
        cookieless("c", 3),
        cookieless("d", 8),
        cookieless("z", 0),
        cookieless("b", 7),
    ];
    let counts = shop.load("2", &texts(&second)).await.counts;
    assert_eq!((counts.duplicate, counts.accepted()), (4, 3));
    let duplicates = "SELECT event_id FROM duplicates ORDER BY 1";
    assert_eq!(shop.ask(duplicates).await, ["b", "d", "v1", "x"]);
    // An id of one with a visitor is another event's.
    assert_eq!(shop.load("3", &[&cookieless("v1", 0), &at(0, "x", "")]).await.counts.duplicate, 0);
}

#[tokio::test]
async fn rows_that_live_sessions_may_reach_are_left_to_the_repair() {
    let minutes = |minutes: i64| Micros(STARTED.0 - 24 * Micros::HOUR.0 + minutes * 60_000_000);
    let lines = [at(0, "a", ""), at(10 * 60 - 1, "b", ""), at(10 * 60, "c", "")];
    let late = "SELECT event_id FROM events WHERE late ORDER BY event_id";
    // Nothing is read live.
    let shop = Shop::new().await;
    shop.load("1", &texts(&lines)).await;
    assert_eq!(shop.ask(late).await, [""; 0]);
    // The newest watermark that `events` speaks up to is at 40 min.
    let shop = Shop::new().await;
    shop.live((0, 10), Some(minutes(20)), 10).await;
    shop.live((10, 20), Some(minutes(40)), 25).await;
    shop.live((20, 30), Some(minutes(50)), 25).await;
    shop.load("1", &texts(&lines)).await;
    assert_eq!(shop.ask(late).await, ["c"]);
    // A receipt of a load is none of a live partition.
    shop.load("2", &[&at(0, "d", ""), &at(10 * 60, "e", "")]).await;
    assert_eq!(shop.ask(late).await, ["c", "d", "e"]);
    // Log time is not known yet, or `events` lies behind all receipts.
    for (watermark, events) in [(None, 10), (Some(minutes(9_999)), 9)] {
        let shop = Shop::new().await;
        shop.live((0, 10), watermark, events).await;
        shop.load("1", &texts(&lines)).await;
        assert_eq!(shop.ask(late).await, ["a", "b", "c"]);
    }
}
