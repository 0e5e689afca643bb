//! History folded again, held against a load of the same files by the new rules.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use footfall_event::schema::Table;
use footfall_event::{Day, Micros};
use footfall_lake::{Rewrite, TableWriter, recompute_app_id};
use footfall_sessionizer::{Need, Rules, Step};

use super::{DayRange, Recomputed, Turn, outdated, recompute};
use crate::PipelineError;
use crate::rewrite::retention::{Retention, remove_old_days};
use crate::testing::{STARTED, Shop, rules};

/// Every row of every column but `receipts`, which tell how the rows came.
const TABLES: [&str; 4] = [
    "SELECT * FROM events ORDER BY event_id",
    "SELECT * FROM sessions ORDER BY session_id",
    "SELECT * FROM needs ORDER BY session_id, need",
    "SELECT * FROM page_views ORDER BY session_id, index_in_session",
];
const ALWAYS: DayRange = DayRange { from: Day(0), to: Day(100_000) };

fn other_rules() -> Rules {
    let steps =
        vec![Step { name: "bought".to_owned(), when: "event_name = 'purchase'".to_owned() }];
    let needs = vec![Need {
        name: "price".to_owned(),
        raised_by: "event_name = 'page_view'".to_owned(),
        found_by: "event_name = 'seen'".to_owned(),
        within: Micros::SECOND,
        max_clicks: 0,
    }];
    Rules { steps, needs, events_per_session_max: 3, ..rules() }
}

fn event(visitor: &str, day: u32, minute: u32, name: &str) -> String {
    let time = format!("2025-12-{day}T10:{minute:02}:00Z");
    format!(
        r#"{{"event_id":"{visitor}-{day}-{minute}","visitor_id":"{visitor}","event_name":"{name}","timestamp":"{time}","page_path":"/{day}"}}"#
    )
}

/// Visitors with several runs on three days; one of them is unseen at first.
fn history() -> Vec<String> {
    let mut events = Vec::new();
    for visitor in ["a", "b", "c"] {
        for day in [28, 29, 30] {
            for (minute, name) in [(0, "page_view"), (1, "seen"), (2, "page_view"), (3, "click")] {
                events.push(event(visitor, day, minute, name));
            }
            events.push(event(visitor, day, 50, "purchase"));
        }
    }
    events.push(event("d", 29, 0, "heartbeat"));
    events.push(event("d", 29, 1, "heartbeat"));
    events
}

async fn loaded(rules: &Rules) -> Shop {
    let (shop, events) = (Shop::new().await, history());
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    shop.load_by(rules, "one", &events).await;
    shop
}

async fn again(shop: &Shop, rules: &Rules, range: DayRange) -> Recomputed {
    recompute(&shop.lake, &Arc::new(rules.clone()), range, |_| ()).await.unwrap()
}

async fn ensure_verified(shop: &Shop) {
    let verified = crate::verify(&shop.lake).await.unwrap();
    assert_eq!((verified.listed, verified.left_out), (Vec::new(), Vec::new()));
}

async fn ensure_like(shop: &Shop, other: &Shop) {
    for sql in TABLES {
        assert_eq!(shop.ask(sql).await, other.ask(sql).await, "{sql}");
    }
}

#[tokio::test]
async fn history_folded_again_is_what_a_load_by_the_new_rules_gives() {
    let (shop, fresh) = (loaded(&rules()).await, loaded(&other_rules()).await);
    let counted = outdated(&shop.lake, &Arc::new(other_rules()), ALWAYS).await.unwrap();
    assert_eq!((counted.sessions, counted.left), (18, 0));
    let done = again(&shop, &other_rules(), ALWAYS).await;
    assert_eq!(done, Recomputed { sessions: 18, runs: 18, waiting: 0, left: 0 });
    ensure_like(&shop, &fresh).await;
    ensure_verified(&shop).await;
    assert_eq!(shop.ask("SELECT count(*) FROM events WHERE overflow").await, ["9"]);
    // Nothing is left to do.
    let done = again(&shop, &other_rules(), ALWAYS).await;
    assert_eq!(done, Recomputed::default());
    // And back.
    again(&shop, &rules(), ALWAYS).await;
    ensure_like(&shop, &loaded(&rules()).await).await;
    ensure_verified(&shop).await;
}

#[tokio::test]
async fn days_beyond_the_range_stay_what_they_are() {
    let shop = loaded(&rules()).await;
    let days = "SELECT session_date, config_id, count(*) FROM sessions GROUP BY 1, 2 ORDER BY 1";
    let (old, new) = (rules().config_id(), other_rules().config_id());
    // 2025-12-29.
    let day = Day(20_451);
    let done = again(&shop, &other_rules(), DayRange { from: day, to: day }).await;
    assert_eq!((done.sessions, done.runs), (6, 6));
    let expected = [
        format!("2025-12-28 {old} 6"),
        format!("2025-12-29 {new} 6"),
        format!("2025-12-30 {old} 6"),
    ];
    assert_eq!(shop.ask(days).await, expected);
    ensure_verified(&shop).await;
}

/// Sessions that come to be, and sessions that go.
#[tokio::test]
async fn what_is_hidden_may_change() {
    let mut seen = rules();
    seen.conditions.hidden = "event_name = 'click'".to_owned();
    let shop = loaded(&rules()).await;
    let of_d = "SELECT count(*) FROM sessions WHERE visitor_id = 'd'";
    for (rules, sessions, clicks_outside) in [(&seen, "1", "9"), (&rules(), "0", "0")] {
        again(&shop, rules, ALWAYS).await;
        assert_eq!(shop.ask(of_d).await, [sessions]);
        let outside =
            "SELECT count(*) FROM events WHERE event_name = 'click' AND session_id IS NULL";
        assert_eq!(shop.ask(outside).await, [clicks_outside]);
        ensure_verified(&shop).await;
    }
    ensure_like(&shop, &loaded(&rules()).await).await;
}

/// The rules of a repair are those that history was folded by last.
#[tokio::test]
async fn late_events_come_to_their_session_first() {
    let shop = loaded(&rules()).await;
    let late = event("a", 29, 4, "page_view");
    shop.load_by(&rules(), "two", &[&late]).await;
    let done = again(&shop, &other_rules(), ALWAYS).await;
    // The repair folded its run by the new rules already.
    assert_eq!((done.sessions, done.runs), (18, 17));
    let revisions = "SELECT visitor_id, event_count, config_id FROM sessions WHERE revision = 1";
    assert_eq!(shop.ask(revisions).await, [format!("a 5 {}", other_rules().config_id())]);
    ensure_verified(&shop).await;
}

#[tokio::test]
async fn sessions_without_their_events_stay_what_they_are() {
    let shop = loaded(&rules()).await;
    let keeps = Retention([(Table::Events, Micros::DAY)].into());
    // What is older than the 30th.
    let now = STARTED - Micros(2 * Micros::DAY.0);
    remove_old_days(&shop.lake, Table::Events, &keeps, now).await.unwrap();
    let done = again(&shop, &other_rules(), ALWAYS).await;
    assert_eq!(done, Recomputed { sessions: 6, runs: 6, waiting: 0, left: 12 });
    let verified = crate::verify(&shop.lake).await.unwrap();
    assert_eq!(verified.listed, Vec::<String>::new());
}

#[tokio::test]
async fn open_sessions_and_other_rules_in_force_are_let_be() {
    let nowhere = Shop::empty();
    let missing = recompute(&nowhere.lake, &Arc::new(rules()), ALWAYS, |_| ()).await;
    assert!(matches!(missing, Err(PipelineError::Source(_))), "{missing:?}");
    let shop = loaded(&rules()).await;
    for table in [Table::Sessions, Table::Needs, Table::PageViews] {
        shop.commit(table, 1, None).await;
    }
    // 2025-12-29T10:00:00Z: the watermark is behind what came later.
    let watermark = Day(20_451).start() + Micros(10 * Micros::HOUR.0);
    shop.live((0, 1), Some(watermark), 1).await;
    let done = again(&shop, &other_rules(), ALWAYS).await;
    assert_eq!((done.sessions, done.runs, done.waiting), (18, 6, 12));
}

/// Two sessions may lie in one run, and only the last of them ends with the load.
#[tokio::test]
async fn hidden_events_hold_a_run_together() {
    let events = [(0, "page_view"), (20, "heartbeat"), (45, "page_view")];
    let events = events.map(|(minute, name)| event("a", 29, minute, name));
    let events = events.each_ref().map(String::as_str);
    let (shop, fresh) = (Shop::new().await, Shop::new().await);
    shop.load_by(&rules(), "one", &events).await;
    fresh.load_by(&other_rules(), "one", &events).await;
    let done = again(&shop, &other_rules(), ALWAYS).await;
    assert_eq!((done.sessions, done.runs), (2, 1));
    ensure_like(&shop, &fresh).await;
    ensure_verified(&shop).await;
}

/// A session that ended with its load stays so where another load goes on with the visitor that day.
#[tokio::test]
async fn sessions_end_as_they_did() {
    let shop = Shop::new().await;
    let (first, second) = (event("a", 29, 0, "page_view"), event("a", 29, 50, "page_view"));
    shop.load_by(&rules(), "one", &[&first]).await;
    shop.load_by(&rules(), "two", &[&second]).await;
    let causes = "SELECT close_cause, config_id FROM sessions ORDER BY started_at";
    for rules in [rules(), other_rules()] {
        again(&shop, &rules, ALWAYS).await;
        let ended = format!("end_of_load {}", rules.config_id());
        assert_eq!(shop.ask(causes).await, [ended.clone(), ended]);
        ensure_verified(&shop).await;
    }
}

/// Visitor `d` had no session before, so that no other table tells what is left to do.
#[tokio::test]
async fn one_that_broke_off_before_any_table_is_finished_by_the_same_call() {
    let mut seen = rules();
    seen.conditions.hidden = "event_name = 'click'".to_owned();
    let whole = loaded(&rules()).await;
    again(&whole, &seen, ALWAYS).await;
    for table in [Table::PageViews, Table::Needs, Table::Sessions, Table::Events] {
        let shop = loaded(&rules()).await;
        let mut in_the_way = PathBuf::new();
        let told = |turn: Turn| {
            // 2025-12-29, which is the day of `d`.
            if turn.day == Day(20_451) {
                in_the_way = next_version(&shop.table(table));
                std::fs::create_dir(&in_the_way).unwrap();
            }
        };
        recompute(&shop.lake, &Arc::new(seen.clone()), ALWAYS, told).await.unwrap_err();
        std::fs::remove_dir(&in_the_way).unwrap();
        again(&shop, &seen, ALWAYS).await;
        ensure_like(&shop, &whole).await;
        ensure_verified(&shop).await;
    }
}

/// Where a table's next version has its name.
fn next_version(table: &Path) -> PathBuf {
    let log = table.join("_delta_log");
    let names = std::fs::read_dir(&log).unwrap().map(|file| file.unwrap().path());
    let versions = names.filter(|path| path.extension().is_some_and(|kind| kind == "json"));
    log.join(format!("{:020}.json", versions.count()))
}

/// One that broke off between two tables: what stands apart is not judged before it is done again.
#[tokio::test]
async fn a_replacement_that_broke_off_is_told_until_it_is_done_again() {
    let shop = loaded(&rules()).await;
    again(&shop, &other_rules(), ALWAYS).await;
    let mut needs = TableWriter::open(&shop.lake, Table::Needs).await.unwrap();
    let marks = vec![(recompute_app_id(Table::Needs), 1_000)];
    assert!(needs.rewrite(Rewrite { marks, ..Rewrite::default() }).await.unwrap());
    let verified = crate::verify(&shop.lake).await.unwrap();
    assert_eq!(verified.listed, Vec::<String>::new());
    let told = "a recompute is under way or broke off";
    assert!(verified.left_out.iter().any(|text| text.contains(told)), "{verified:?}");
    again(&shop, &other_rules(), ALWAYS).await;
    ensure_verified(&shop).await;
}

/// Two sessions of one run, as the first reached its cap. What retention leaves of it while history is folded again would be
/// one session.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_whose_run_is_cut_meanwhile_stay_what_they_are() {
    let shop = Shop::new().await;
    let noon = Day(20_450).start() + Micros(12 * 60 * Micros::MINUTE.0);
    let event = |number: i64| {
        let time = noon + Micros(number * 25 * Micros::MINUTE.0);
        format!(
            r#"{{"event_id":"{number}","visitor_id":"a","event_name":"page_view","timestamp":"{time}"}}"#
        )
    };
    let events: Vec<String> = (0..63).map(event).collect();
    let lines: Vec<&str> = events.iter().map(String::as_str).collect();
    shop.load_by(&rules(), "one", &lines).await;
    let sessions = "SELECT session_date, event_count FROM sessions ORDER BY 1";
    let before = shop.ask(sessions).await;
    assert_eq!(before, ["2025-12-28 58", "2025-12-29 5"]);
    let keeps = Retention([(Table::Events, Micros::DAY)].into());
    let now = Day(20_451).start() + Micros::DAY;
    let rules = Arc::new(Rules { slow_page_ms: 1, ..rules() });
    let runtime = tokio::runtime::Handle::current();
    let removed = |_| {
        let removing = remove_old_days(&shop.lake, Table::Events, &keeps, now);
        tokio::task::block_in_place(|| runtime.block_on(removing)).unwrap();
    };
    recompute(&shop.lake, &rules, ALWAYS, removed).await.unwrap();
    assert_eq!(shop.ask("SELECT min(event_date) FROM events").await, ["2025-12-29"]);
    assert_eq!(shop.ask(sessions).await, before);
}
