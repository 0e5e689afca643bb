//! Days that are removed, what stays of the others, and what verification makes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use footfall_event::schema::Table;
use footfall_event::{Day, Micros};
use footfall_lake::{Rewrite, TableWriter};

use super::{Expired, Retention, remove_old_days};
use crate::rewrite::{SettledFiles, rewrite};
use crate::testing::{STARTED, Shop, rules};

const DERIVED: [Table; 3] = [Table::Sessions, Table::Needs, Table::PageViews];
const EVENTS: &str = "SELECT event_id FROM events ORDER BY 1";
const SESSIONS: &str = "SELECT started_at, event_count, revision FROM sessions ORDER BY 1";

fn event(visitor: &str, time: &str) -> String {
    format!(
        r#"{{"event_id":"{time}-{visitor}","visitor_id":"{visitor}","timestamp":"2025-12-{time}Z"}}"#
    )
}

/// A run on the 29th, one over midnight of the 31st, and one behind it.
async fn shop() -> Shop {
    let shop = Shop::new().await;
    let events = [
        event("v", "29T10:00:00"),
        event("v", "29T10:10:00"),
        event("v", "30T23:50:00"),
        event("v", "31T00:05:00"),
        event("v", "31T12:00:00"),
        event("w", "31T00:40:00"),
    ];
    shop.load("one", &events.each_ref().map(String::as_str)).await;
    shop
}

/// Keeps of `tables` what is not older than a day when the 1st of January begins.
async fn remove(shop: &Shop, tables: &[Table]) -> usize {
    let kept_for: BTreeMap<Table, Micros> =
        tables.iter().map(|table| (*table, Micros::DAY)).collect();
    let (retention, mut rows) = (Retention(kept_for), 0);
    for table in Table::ALL {
        let now = STARTED - Micros::DAY + Micros(1);
        let expired = remove_old_days(&shop.lake, table, &retention, now).await.unwrap();
        assert!(!expired.is_overtaken);
        rows += expired.rows;
    }
    rows
}

/// What is left out is told, and nothing differs.
async fn verified(shop: &Shop) -> Vec<String> {
    let verified = crate::verify(&shop.lake).await.unwrap();
    assert_eq!(verified.listed, Vec::<String>::new());
    verified.left_out
}

async fn repair(shop: &Shop) -> (usize, usize) {
    let (rules, mut settled) = (Arc::new(rules()), SettledFiles::default());
    let done = rewrite(&shop.lake, &rules, &Retention::default(), &mut settled).await.unwrap();
    (done.repaired.runs, done.repaired.waiting)
}

#[tokio::test]
async fn whole_days_go_once_and_the_rest_is_verified() {
    let shop = shop().await;
    assert_eq!(verified(&shop).await, Vec::<String>::new());
    assert_eq!(remove(&shop, &[Table::Events]).await, 3);
    let kept = ["31T00:05:00-v", "31T00:40:00-w", "31T12:00:00-v"];
    assert_eq!(shop.ask(EVENTS).await, kept);
    let sessions = shop.ask("SELECT count(*) FROM sessions").await;
    assert_eq!(sessions, ["4"], "the sessions are kept for ever");
    let told = [
        "1 runs of partition 0, of whose events retention may have removed some",
        "days of `events` before 2025-12-31: retention removed them",
    ];
    assert_eq!(verified(&shop).await, told);
    assert_eq!(remove(&shop, &[Table::Events]).await, 0);
    assert_eq!(remove(&shop, &DERIVED).await, 2 + 4);
    assert_eq!(verified(&shop).await.len(), 4);
    assert_eq!(shop.ask("SELECT count(*) FROM sessions").await, ["2"]);
}

#[tokio::test]
async fn sessions_go_before_their_events() {
    let shop = shop().await;
    assert_eq!(remove(&shop, &[Table::Sessions]).await, 2);
    assert_eq!(shop.ask("SELECT count(*) FROM events").await, ["6"]);
    let told = ["days of `sessions` before 2025-12-31: retention removed them"];
    assert_eq!(verified(&shop).await, told);
}

#[tokio::test]
async fn a_row_that_is_lost_beside_removed_days_is_told() {
    for table in [Table::Events, Table::Sessions, Table::PageViews] {
        let shop = shop().await;
        remove(&shop, &[table]).await;
        let mut writer = TableWriter::open(&shop.lake, table).await.unwrap();
        let replaced = writer.files().unwrap();
        assert!(replaced.iter().all(|file| file.day == Day(20_453)), "the 31st is left");
        let lost = Rewrite { replaced, changes_rows: true, ..Rewrite::default() };
        assert!(writer.rewrite(lost).await.unwrap());
        let verified = crate::verify(&shop.lake).await.unwrap();
        assert!(verified.differences > 0, "{table:?}: {verified:?}");
    }
}

/// What is left of a run gives no session: it stays what it was, and nothing waits for it.
#[tokio::test]
async fn a_run_that_lost_events_is_not_repaired() {
    let shop = shop().await;
    let late = [event("v", "31T00:10:00"), event("w", "31T00:50:00")];
    shop.load("two", &late.each_ref().map(String::as_str)).await;
    remove(&shop, &[Table::Events]).await;
    assert_eq!(repair(&shop).await, (1, 0));
    let sessions = [
        "2025-12-29T10:00:00Z 2 0",
        "2025-12-30T23:50:00Z 2 0",
        "2025-12-31T00:40:00Z 2 1",
        "2025-12-31T12:00:00Z 1 0",
    ];
    assert_eq!(shop.ask(SESSIONS).await, sessions);
    let waits = shop.ask("SELECT event_id FROM events WHERE session_id IS NULL").await;
    assert_eq!(waits, ["31T00:10:00-v"]);
    verified(&shop).await;
}

/// The newest receipt is of the 2nd of January, and the clock of whoever runs this is months ahead of it: neither
/// a day nor a file is older than by the receipt.
#[tokio::test]
async fn by_a_clock_that_is_ahead_of_the_log_nothing_goes() {
    let (shop, history) = (shop().await, shop().await);
    for table in DERIVED {
        shop.commit(table, 1, None).await;
    }
    shop.live((0, 1), Some(STARTED), 1).await;
    let days = |days| Retention(BTreeMap::from([(Table::Events, Micros(days * Micros::DAY.0))]));
    let kept = async |shop: &Shop, retention: Retention| {
        let (rules, mut settled) = (Arc::new(rules()), SettledFiles::default());
        rewrite(&shop.lake, &rules, &retention, &mut settled).await.unwrap();
        shop.ask("SELECT count(*) FROM events").await.concat()
    };
    let stored = |name: &str, at: Micros| {
        let path = shop.table(Table::Events).join(format!("event_date=2025-12-29/{name}.parquet"));
        std::fs::write(&path, "rows that no version has").unwrap();
        let at = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(at.0 as u64);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
        path
    };
    // Its writer is about to commit it; it was stored on the evening before.
    let young = stored("young", STARTED - Micros(Micros::DAY.0 + Micros::HOUR.0));
    let old = stored("old", STARTED - Micros(3 * Micros::DAY.0));
    assert_eq!(kept(&shop, days(6)).await, "6");
    assert_eq!(kept(&shop, days(3)).await, "4");
    assert!(young.exists() && !old.exists());
    // Without a live log the clock has to do.
    assert_eq!(kept(&history, days(6)).await, "0");
}

/// A clock that was a year ahead took all that there was; what comes behind it stays.
#[tokio::test]
async fn what_a_wrong_clock_removed_is_no_rule_for_what_comes() {
    let shop = shop().await;
    let kept_for = Retention(BTreeMap::from([(Table::Events, Micros::DAY)]));
    let year = Micros(365 * Micros::DAY.0);
    let remove = async |now: Micros| {
        remove_old_days(&shop.lake, Table::Events, &kept_for, now).await.unwrap()
    };
    assert_eq!(remove(STARTED + year).await.rows, 6);
    let later = [event("v", "31T13:00:00")];
    shop.load("later", &later.each_ref().map(String::as_str)).await;
    let now = STARTED - Micros::DAY + Micros(1);
    assert_eq!(remove(now).await.rows, 0);
    assert_eq!(shop.ask("SELECT count(*) FROM events").await, ["1"]);
    // Else no run would be whole for a year, and none be repaired.
    let mut events = TableWriter::open(&shop.lake, Table::Events).await.unwrap();
    let marked = events.removed_before().await.unwrap();
    assert_eq!(marked, Some(Day(now.day().0 + 1)), "what is gone is not lost");
    // One that is behind forgets what is gone for as long as it is.
    for now in [Micros(0), now] {
        assert_eq!(remove(now).await.rows, 0);
    }
    events.reload().await.unwrap();
    let day_before = Day(now.day().0 - 1);
    assert_eq!(events.removed_before().await.unwrap(), Some(day_before));
}

#[tokio::test]
async fn without_a_retention_all_is_kept() {
    let shop = shop().await;
    let expired =
        remove_old_days(&shop.lake, Table::Events, &Retention::default(), Micros(i64::MAX)).await;
    assert_eq!(expired.unwrap(), Expired::default());
    assert_eq!(shop.ask("SELECT count(*) FROM events").await, ["6"]);
}
