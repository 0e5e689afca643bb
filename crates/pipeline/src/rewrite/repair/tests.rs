//! Histories that overlap: what the second leaves to the repair, and what comes of it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use footfall_event::schema::Table;
use footfall_event::{Micros, Offset};
use footfall_sessionizer::{EventRow, Need, Rules};

use crate::rewrite::{Retention, Rewritten, SettledFiles, rewrite};
use crate::rows::settled_rows;
use crate::testing::{STARTED, Shop, TOPIC, at, decoded, named, rules};

/// All that a repair must get right, row by row; what it must change stands apart.
const TABLES: [&str; 4] = [
    "SELECT event_id, session_id, overflow FROM events ORDER BY 1, 2",
    "SELECT session_id, started_at, ended_at, event_count, page_view_count, landing_path, exit_path, \
     close_cause, config_id, session_date FROM sessions ORDER BY 1",
    "SELECT page_view_id, session_id, index_in_session, started_at, ended_at, is_landing, is_exit \
     FROM page_views ORDER BY 1, 2",
    "SELECT session_id, need, raised_at, outcome FROM needs ORDER BY 1, 2",
];

async fn repaired(shop: &Shop) -> Rewritten {
    let retention = Retention::default();
    let mut settled = SettledFiles::default();
    rewrite(&shop.lake, &Arc::new(rules()), &retention, &mut settled).await.unwrap()
}

/// Rows as live reading writes late ones.
fn with_late(rows: &RecordBatch) -> RecordBatch {
    let late = |offset| EventRow {
        cause: Offset(offset),
        offset: Offset(offset),
        session_id: None,
        late: true,
        overflow: false,
    };
    let settled: Vec<EventRow> = (0..rows.num_rows() as i64).map(late).collect();
    settled_rows(rows, &settled).unwrap()
}

/// Loads that overlap, repaired, equal one load of all their lines.
async fn check(loads: &[&[&str]], late: &[&str]) -> Shop {
    let (shop, whole) = (Shop::new().await, Shop::new().await);
    for (number, lines) in loads.iter().enumerate() {
        shop.load(&format!("load-{number}"), lines).await;
    }
    let waiting = "SELECT event_id FROM events WHERE late AND session_id IS NULL ORDER BY 1";
    assert_eq!(shop.ask(waiting).await, late);
    whole.load("whole", &loads.concat()).await;
    let done = repaired(&shop).await;
    assert_eq!(done.repaired.late_events, late.len());
    for sql in TABLES {
        assert_eq!(shop.ask(sql).await, whole.ask(sql).await, "{sql}");
    }
    // Nothing is left to do, and doing it changes nothing.
    let again = repaired(&shop).await;
    assert_eq!(again.repaired.runs, 0);
    let verified = crate::verify(&shop.lake).await.unwrap();
    assert_eq!((verified.listed, verified.left_out), (Vec::new(), Vec::new()));
    shop
}

#[tokio::test]
async fn a_late_event_joins_its_session() {
    let (a, b, c) = (at(0, "a", ""), at(600, "b", ""), at(300, "c", ""));
    let shop = check(&[&[&a, &b], &[&c]], &["c"]).await;
    let revisions = shop.ask("SELECT event_count, revision FROM sessions").await;
    assert_eq!(revisions, ["3 1"]);
    let late = shop.ask("SELECT count(*) FROM events WHERE late").await;
    assert_eq!(late, ["1"]);
}

#[tokio::test]
async fn a_late_event_before_a_session_names_it_anew() {
    let (a, b, c) = (at(900, "a", ""), at(1_000, "b", ""), at(300, "c", ""));
    check(&[&[&a, &b], &[&c]], &["c"]).await;
}

#[tokio::test]
async fn a_late_event_makes_one_session_of_two() {
    let (a, b, c) = (at(0, "a", ""), at(3_000, "b", ""), at(1_500, "c", ""));
    check(&[&[&a, &b], &[&c]], &["c"]).await;
}

/// Events half an hour apart, which is the gap to the microsecond, from noon of the 28th to the evening of the 1st.
/// The late one is in the middle, so that the run's ends lie days before and behind it, each of them beyond a midnight
/// that an event falls on.
#[tokio::test]
async fn a_run_is_followed_over_midnight_both_ways() {
    let begin = STARTED - Micros(4 * Micros::DAY.0 + Micros::DAY.0 / 2);
    let event = |number: i64| {
        let time = begin + Micros(number * 30 * Micros::MINUTE.0);
        format!(r#"{{"event_id":"{number:03}","visitor_id":"v","timestamp":"{time}"}}"#)
    };
    let all: Vec<String> = (0..210).map(event).collect();
    let others: Vec<&str> = all.iter().map(String::as_str).collect();
    let late = others[100];
    let others = [&others[..100], &others[101..]].concat();
    for is_live in [false, true] {
        let (shop, whole) = (Shop::new().await, Shop::new().await);
        shop.load("others", &others).await;
        shop.load("late", &[late]).await;
        whole.load("whole", &[&others[..], &[late]].concat()).await;
        if is_live {
            for table in [Table::Sessions, Table::Needs, Table::PageViews] {
                shop.commit(table, 1, None).await;
            }
            shop.live((0, 1), Some(STARTED + Micros(9 * Micros::DAY.0)), 1).await;
        }
        assert_eq!(repaired(&shop).await.repaired.late_events, 1);
        let sessions = "SELECT event_id, session_id FROM events ORDER BY 1";
        assert_eq!(shop.ask(sessions).await, whole.ask(sessions).await, "live: {is_live}");
        let counts = "SELECT started_at, event_count FROM sessions ORDER BY 1";
        assert_eq!(shop.ask(counts).await, whole.ask(counts).await, "live: {is_live}");
    }
}

#[tokio::test]
async fn other_visitors_and_other_runs_stay_what_they_are() {
    let other = |id: &str| at(100, id, "").replace(r#""visitor_id":"v""#, r#""visitor_id":"w""#);
    let (a, b, c) = (at(0, "a", ""), at(3_500, "b", ""), at(10, "c", ""));
    let (d, e) = (other("d"), other("e"));
    let shop = check(&[&[&a, &b, &d], &[&c, &e]], &["c", "e"]).await;
    let revisions = "SELECT visitor_id, event_count, revision FROM sessions ORDER BY 1, started_at";
    assert_eq!(shop.ask(revisions).await, ["v 2 1", "v 1 0", "w 2 1"]);
}

/// More rows than are read at once lie behind the run's in its file, and behind the late event's.
#[tokio::test]
async fn a_late_event_is_found_in_a_large_file_and_so_is_its_run() {
    let visitors = |letter: char| -> Vec<String> {
        let of = |id: String| at(0, &id, "").replace(r#"id":"v""#, &format!(r#"id":"{id}""#));
        (0..9_000).map(|number| of(format!("{letter}{number:04}"))).collect()
    };
    let (a, b, c) = (at(0, "a", ""), at(600, "b", ""), at(300, "c", ""));
    let (w, x) = (visitors('w'), visitors('x'));
    let mut first: Vec<&str> = w.iter().map(String::as_str).collect();
    first.extend([a.as_str(), &b]);
    let mut second: Vec<&str> = x.iter().map(String::as_str).collect();
    second.push(&c);
    check(&[&first, &second], &["c"]).await;
}

/// Whoever repairs may have read another configuration.
#[tokio::test]
async fn a_repair_goes_by_the_rules_in_force_in_the_live_log() {
    let shop = Shop::new().await;
    let in_force = Rules { slow_page_ms: 1, ..rules() };
    assert_ne!(in_force.config_id(), rules().config_id());
    shop.load("one", &[&at(0, "a", "")]).await;
    shop.load("two", &[&at(60, "b", "")]).await;
    for table in [Table::Sessions, Table::Needs, Table::PageViews] {
        shop.commit(table, 1, None).await;
    }
    shop.live((0, 1), Some(STARTED), 1).await;
    shop.snapshot(Offset(1), &in_force).await;
    assert_eq!(repaired(&shop).await.repaired.late_events, 1);
    let sessions = shop.ask("SELECT event_count, config_id FROM sessions").await;
    assert_eq!(sessions, [format!("2 {}", in_force.config_id())]);
}

/// Live reading and a load took the same event; neither knew of the other's.
#[tokio::test]
async fn of_two_rows_with_one_id_the_live_one_stays() {
    let shop = Shop::new().await;
    let (a, b) = (at(0, "a", ""), at(60, "b", ""));
    shop.load("one", &[&a, &b]).await;
    let again = decoded(TOPIC, &[&b], STARTED);
    shop.commit(Table::Events, 1, Some(with_late(&again))).await;
    for table in [Table::Sessions, Table::Needs, Table::PageViews] {
        shop.commit(table, 1, None).await;
    }
    shop.live((0, 1), Some(STARTED), 1).await;
    let rows = "SELECT event_id, log FROM events ORDER BY 1, 2";
    assert_eq!(shop.ask(rows).await, ["a load:one", "b events", "b load:one"]);
    for late_events in [1, 0] {
        assert_eq!(repaired(&shop).await.repaired.late_events, late_events);
        assert_eq!(shop.ask(rows).await, ["a load:one", "b events"]);
        let duplicates = shop.ask("SELECT event_id, log, log_offset FROM duplicates").await;
        assert_eq!(duplicates, ["b load:one 1"]);
        let sessions = shop.ask("SELECT event_count, revision, close_cause FROM sessions").await;
        assert_eq!(sessions, ["2 1 timeout"]);
    }
}

#[tokio::test]
async fn a_run_that_may_go_on_waits() {
    let shop = Shop::new().await;
    shop.load("one", &[&at(0, "a", "")]).await;
    shop.load("two", &[&at(60, "b", "")]).await;
    for table in [Table::Sessions, Table::Needs, Table::PageViews] {
        shop.commit(table, 1, None).await;
    }
    // The gap behind the run's last event is the watermark itself, which has not passed it then.
    let end = STARTED - Micros::DAY + Micros(60 * Micros::SECOND.0) + rules().session_gap;
    shop.live((0, 1), Some(end), 1).await;
    let done = repaired(&shop).await.repaired;
    assert_eq!((done.runs, done.waiting), (0, 1));
    let verified = crate::verify(&shop.lake).await.unwrap();
    assert_eq!(verified.listed, Vec::<String>::new());
    assert!(verified.left_out.iter().any(|text| text.starts_with("1 runs of")), "{verified:?}");
    for table in [Table::Sessions, Table::Needs, Table::PageViews] {
        shop.commit(table, 2, None).await;
    }
    shop.live((1, 2), Some(end + Micros(1)), 2).await;
    let done = repaired(&shop).await.repaired;
    assert_eq!((done.runs, done.waiting), (1, 0));
}

/// A pipeline died in its first commit: more of the run may lie in the log.
#[tokio::test]
async fn a_run_waits_for_a_first_commit_that_is_not_whole() {
    let shop = Shop::new().await;
    let late = decoded(TOPIC, &[&at(0, "a", "")], STARTED);
    shop.commit(Table::Events, 1, Some(with_late(&late))).await;
    let done = repaired(&shop).await;
    assert_eq!((done.repaired.runs, done.repaired.waiting), (0, 1));
}

/// A load that is not whole has sessions to come.
#[tokio::test]
async fn a_run_of_a_load_that_is_not_whole_waits() {
    let shop = Shop::new().await;
    shop.load("one", &[&at(0, "a", "")]).await;
    let (b, c) = (at(60, "b", ""), at(3_599, "c", ""));
    shop.die_behind_events(&named("two"), &[&b, &c]).await;
    let done = repaired(&shop).await.repaired;
    assert_eq!((done.runs, done.waiting), (0, 1));
    shop.load("two", &[&b, &c]).await;
    let done = repaired(&shop).await.repaired;
    assert_eq!((done.runs, done.waiting), (1, 0));
    let sessions = shop.ask("SELECT event_count, revision FROM sessions ORDER BY started_at").await;
    assert_eq!(sessions, ["2 1", "1 0"]);
}

#[tokio::test]
async fn a_hidden_event_waits_for_nothing() {
    let shop = Shop::new().await;
    shop.load("one", &[&at(0, "a", "")]).await;
    shop.load("two", &[&at(60, "b", r#","event_name":"heartbeat""#)]).await;
    assert_eq!(shop.ask("SELECT event_id FROM events WHERE late").await, ["b"]);
    let done = repaired(&shop).await.repaired;
    assert_eq!((done.runs, done.waiting, done.late_events), (0, 0, 0));
    let stands = shop.ask("SELECT event_id, session_id IS NULL FROM events ORDER BY 1").await;
    assert_eq!(stands, ["a false", "b true"]);
    let verified = crate::verify(&shop.lake).await.unwrap();
    assert_eq!((verified.listed, verified.left_out), (Vec::new(), Vec::new()));
    // Beside an event that waits it is folded, and still of no session.
    shop.load("three", &[&at(30, "c", "")]).await;
    let done = repaired(&shop).await.repaired;
    assert_eq!((done.runs, done.late_events), (1, 1));
    let stands = shop.ask("SELECT event_id, session_id IS NULL FROM events ORDER BY 1").await;
    assert_eq!(stands, ["a false", "b true", "c false"]);
    assert_eq!(shop.ask("SELECT event_count, revision FROM sessions").await, ["2 1"]);
}

/// Both rows are the first of their load.
#[tokio::test]
async fn events_of_two_logs_with_one_offset_are_two() {
    let need = Need {
        name: "delivery".to_owned(),
        raised_by: "page_type = 'product'".to_owned(),
        found_by: "info_key = 'delivery'".to_owned(),
        within: Micros(3 * Micros::SECOND.0),
        max_clicks: 2,
    };
    let rules = Rules { needs: vec![need], ..rules() };
    let shop = Shop::new().await;
    let (raised, click) =
        (r#","page_type":"product","event_name":"click""#, r#","event_name":"click""#);
    shop.load_by(&rules, "1", &[&at(0, "a", raised)]).await;
    shop.load_by(&rules, "2", &[&at(1, "b", click)]).await;
    let (rules, retention) = (Arc::new(rules), Retention::default());
    rewrite(&shop.lake, &rules, &retention, &mut SettledFiles::default()).await.unwrap();
    assert_eq!(shop.ask("SELECT click_count, session_id IS NULL FROM needs").await, ["1 false"]);
}
