//! Histories that overlap: what the second leaves to the repair, and what comes of it.

use std::sync::Arc;

use crate::rewrite::{Rewritten, Settled, rewrite};
use crate::testing::{Shop, at, rules};

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
    rewrite(&shop.lake, &Arc::new(rules()), &mut Settled::default()).await.unwrap()
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

#[tokio::test]
async fn other_visitors_and_other_runs_stay_what_they_are() {
    let other = |id: &str| at(100, id, "").replace(r#""visitor_id":"v""#, r#""visitor_id":"w""#);
    let (a, b, c) = (at(0, "a", ""), at(3_500, "b", ""), at(10, "c", ""));
    let (d, e) = (other("d"), other("e"));
    let shop = check(&[&[&a, &b, &d], &[&c, &e]], &["c", "e"]).await;
    let revisions = "SELECT visitor_id, event_count, revision FROM sessions ORDER BY 1, started_at";
    assert_eq!(shop.ask(revisions).await, ["v 2 1", "v 1 0", "w 2 1"]);
}

#[tokio::test]
async fn a_hidden_event_waits_for_nothing() {
    let (a, b) = (at(0, "a", ""), at(60, "b", r#","event_name":"heartbeat""#));
    let shop = Shop::new().await;
    shop.load("one", &[&a]).await;
    shop.load("two", &[&b.replace("page_path", "was_path")]).await;
    assert_eq!(shop.ask("SELECT count(*) FROM events WHERE late").await, ["1"]);
}
