//! Loads of a few lines into a lake in a temporary folder.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use footfall_lake::{Between, ModelTables};
use object_store::memory::InMemory;

use super::read::Side;
use super::*;
use crate::testing::{STARTED, Shop, at, before_its_end, files, lake_settings, named, rows, rules};

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

/// A table's log that is reached after so long.
#[derive(Debug)]
struct Slow(Duration);

#[async_trait]
impl Between for Slow {
    async fn before(&self, _: &str) -> Result<(), String> {
        tokio::time::sleep(self.0).await;
        Ok(())
    }

    async fn after(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

/// A live writer whose files are as old has stood still, and they may be deleted; a load's wait for its end.
#[tokio::test(start_paused = true)]
async fn a_load_may_take_hours() {
    let slow = Slow(Duration::from_secs(61 * 60));
    let logs = ModelTables::default().reached_through(Arc::new(slow));
    let lake = Lake::in_store(Arc::new(InMemory::new()), Arc::new(logs)).unwrap();
    lake.make(&lake_settings(1)).await.unwrap();
    let load = named("1");
    let receipt = super::load(&lake, &load, &files(&load, &[&at(0, "a", "")])).await.unwrap();
    assert_eq!((receipt.had, receipt.sessions), (Vec::new(), 1));
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

/// What each brings decides what the other leaves out.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_loads_at_once_the_second_looks_at_what_the_first_brought() {
    let shop = Arc::new(Shop::new().await);
    let (runtime, other) = (tokio::runtime::Handle::current(), shop.clone());
    let lines = [at(0, "a", ""), at(60, "b", ""), at(59 * 60, "c", "")];
    let load = named("1");
    let files = before_its_end(files(&load, &texts(&lines)), move || {
        runtime.block_on(other.load("2", &[&at(0, "a", ""), &at(120, "d", "")]));
    });
    let receipt = super::load(&shop.lake, &load, &files).await.unwrap();
    let counts = receipt.counts;
    assert_eq!((counts.duplicate, counts.late, counts.on_time), (1, 1, 1));
    let late = "SELECT event_id FROM events WHERE session_id IS NULL";
    assert_eq!(shop.ask(late).await, ["b"]);
    let ids = "SELECT event_id, count(*) FROM events GROUP BY 1 ORDER BY 1";
    assert_eq!(shop.ask(ids).await, ["a 1", "b 1", "c 1", "d 1"]);
}

/// However late the other comes: it is the commit that tells.
#[tokio::test]
async fn a_load_that_another_overtook_commits_nothing() {
    let shop = Shop::new().await;
    let mut loads = Vec::new();
    for hash in ["1", "2"] {
        loads.push(HistoryTables::open(&shop.lake, &named(hash)).await.unwrap());
    }
    let mut finished = Vec::new();
    for tables in loads {
        let (rejected, duplicates) = (Vec::new(), Vec::new());
        let side = Side { rejected, duplicates, counts: BTreeMap::new(), rows: 0 };
        let receipt = tables.finish(side, BTreeMap::new()).await.unwrap();
        finished.push(receipt.is_some());
    }
    assert_eq!(finished, [true, false]);
    assert!(shop.load("2", &[]).await.had.is_empty());
}

/// Nothing is lost where it gives up.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_overtaken_again_and_again_tells_so() {
    let shop = Arc::new(Shop::new().await);
    let load = named("1");
    let (runtime, other) = (tokio::runtime::Handle::current(), shop.clone());
    let number = std::sync::atomic::AtomicUsize::new(2);
    let opened: HistoryFiles = Box::new(move || {
        let files = files(&named("1"), &[&at(0, "a", "")]);
        let (runtime, other) = (runtime.clone(), other.clone());
        let hash = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
        let files = before_its_end(files, move || drop(runtime.block_on(other.load(&hash, &[]))));
        files()
    });
    let refused = super::load(&shop.lake, &load, &opened).await.unwrap_err();
    assert!(matches!(refused, PipelineError::LoadRaces { runs: RUNS_MAX, .. }), "{refused}");
    assert_eq!(shop.load("1", &[&at(0, "a", "")]).await.counts.on_time, 1);
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

/// As many as DataFusion gives at once, and some more.
#[tokio::test]
async fn what_stands_is_seen_to_its_last_row() {
    let shop = Shop::new().await;
    let first: Vec<String> = (0..9_000).map(|id| at(0, &format!("e{id:04}"), "")).collect();
    shop.load("1", &texts(&first)).await;
    assert_eq!(shop.load("2", &[&at(0, "e8999", "")]).await.counts.duplicate, 1);
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
    // Another partition is read as well, and may hold events of any time.
    let shop = Shop::of_partitions(2).await;
    shop.live((0, 10), Some(minutes(9_999)), 10).await;
    shop.load("1", &texts(&lines)).await;
    assert_eq!(shop.ask(late).await, ["a", "b", "c"]);
    // The pipeline died behind its first commit to `events`.
    let shop = Shop::new().await;
    shop.commit(Table::Events, 10, None).await;
    shop.load("1", &texts(&lines)).await;
    assert_eq!(shop.ask(late).await, ["a", "b", "c"]);
    // Log time is not known yet, or `events` lies behind all receipts.
    for (watermark, events) in [(None, 10), (Some(minutes(9_999)), 9)] {
        let shop = Shop::new().await;
        shop.live((0, 10), watermark, events).await;
        shop.load("1", &texts(&lines)).await;
        assert_eq!(shop.ask(late).await, ["a", "b", "c"]);
    }
}
