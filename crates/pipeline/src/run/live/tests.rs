//! What partitions answer, and when they do not.

use std::sync::Arc;

use footfall_event::{Micros, Offset};
use footfall_lake::Lake;
use footfall_log::{Kind, Record};
use footfall_sessionizer::{Need, Rules};
use prometheus::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::live::{Live, LiveRows};
use crate::old_resend::OldResends;
use crate::rows::Origin;
use crate::run::owned::Folding;

/// 2026-01-01T00:00:00Z.
const BEGAN: Micros = Micros(1_767_225_600_000_000);

fn rules() -> Arc<Rules> {
    let need = Need {
        name: "delivery".to_owned(),
        raised_by: "page_type = 'product'".to_owned(),
        found_by: "info_key = 'delivery_price'".to_owned(),
        within: Micros::SECOND,
        max_clicks: 1,
    };
    let open_sessions_max = u64::MAX;
    Arc::new(Rules { needs: vec![need], open_sessions_max, ..crate::testing::rules() })
}

/// A page view.
fn page(offset: usize, site: &str, visitor: &str, page_type: &str) -> Record {
    let time = BEGAN.0;
    let json = format!(
        r#"{{"event_id":"{offset}","site":"{site}","visitor_id":"{visitor}","event_name":"page_view","page_type":"{page_type}","event_time":{time},"received_time":{time}}}"#
    );
    let (offset, append_time) = (Offset(offset as i64), BEGAN);
    Record { offset, append_time, kind: Kind::Event, payload: json.into_bytes().into() }
}

async fn folding(number: i32, records: &[Record]) -> (Partition, Owned) {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::at(&folder.path().to_string_lossy(), Vec::new()).unwrap();
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let partition = Partition(number);
    let stop = CancellationToken::new();
    let mut resends = OldResends::new(&lake, "events", partition, Micros(0), stop);
    let origin = Origin { log: "events".into(), partition };
    let mut fold = PartitionFold::begin(origin, Offset(0), None, rules()).unwrap();
    assert_eq!(fold.read(records, &mut resends, &metrics).await.unwrap().0, records.len());
    (partition, Owned::Folding(Box::new(Folding::new(fold, resends))))
}

/// A question on its way, once it can be answered.
async fn ask(
    table: LiveTable,
    site: Option<&str>,
    visitor_id: Option<&str>,
) -> (Looking, JoinHandle<Result<LiveRows, LiveRefused>>) {
    let (live, asked) = Live::new(2);
    let (site, visitor_id) = (site.map(str::to_owned), visitor_id.map(str::to_owned));
    let asking =
        tokio::spawn(async move { live.ask(LiveWanted { table, site, visitor_id }).await });
    // It runs up to where it waits for the loop.
    tokio::task::yield_now().await;
    (Looking::new(asked), asking)
}

async fn answer(
    table: LiveTable,
    (site, visitor_id): (Option<&str>, Option<&str>),
    partitions: &BTreeMap<Partition, Owned>,
) -> Result<LiveRows, LiveRefused> {
    let (mut looking, asking) = ask(table, site, visitor_id).await;
    let metrics = Metrics::register(&Registry::new()).unwrap();
    // In one turn, or in several where the machine is slow.
    while !asking.is_finished() {
        looking.look(partitions, &metrics);
        tokio::task::yield_now().await;
    }
    assert!(!looking.is_under_way());
    asking.await.unwrap()
}

/// Partition and visitors of each look.
fn visitors(rows: &LiveRows) -> Vec<(i32, Vec<String>)> {
    let look = |look: &Look| {
        let visitors = look.sessions.iter();
        let mut visitors: Vec<String> =
            visitors.map(|live| live.row.visitor.visitor_id.to_string()).collect();
        visitors.sort();
        (look.partition.0, visitors)
    };
    rows.looks.iter().map(look).collect()
}

#[tokio::test]
async fn each_partition_tells_what_is_asked_for() {
    let partitions = BTreeMap::from([
        folding(0, &[page(0, "a", "v1", "product"), page(1, "b", "v1", "home")]).await,
        folding(3, &[page(0, "a", "v2", "home")]).await,
    ]);
    let all = |zero: &[&str], three: &[&str]| {
        let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        vec![(0, texts(zero)), (3, texts(three))]
    };
    let sessions = LiveTable::Sessions;
    for (table, site, visitor, seen) in [
        (sessions, None, None, all(&["v1", "v1"], &["v2"])),
        (sessions, Some("a"), None, all(&["v1"], &["v2"])),
        (sessions, None, Some("v1"), all(&["v1", "v1"], &[])),
        (sessions, Some("b"), Some("v1"), all(&["v1"], &[])),
        (sessions, Some("c"), Some("v1"), all(&[], &[])),
        (LiveTable::Needs, None, None, all(&["v1"], &[])),
    ] {
        let rows = answer(table, (site, visitor), &partitions).await.unwrap();
        assert_eq!(visitors(&rows), seen, "{table:?} {site:?} {visitor:?}");
        assert_eq!((rows.partition_count, rows.looks[0].as_of), (2, BEGAN));
    }
}

#[tokio::test]
async fn a_partition_that_is_being_started_answers_for_none() {
    let starting =
        (Partition(1), Owned::FindingRules { end: Offset(1), quiet_since: Instant::now() });
    let partitions = BTreeMap::from([folding(0, &[]).await, starting]);
    let refused = answer(LiveTable::Sessions, (None, None), &partitions).await.err();
    assert_eq!(refused, Some(LiveRefused::Starting(Partition(1))));
}

#[tokio::test]
async fn a_loop_that_does_not_look_is_not_waited_for() {
    let (looking, asking) = ask(LiveTable::Sessions, None, None).await;
    assert_eq!(asking.await.unwrap().err(), Some(LiveRefused::Slow));
    drop(looking);
}

#[tokio::test]
async fn who_left_is_not_answered() {
    let (mut looking, asking) = ask(LiveTable::Sessions, None, None).await;
    asking.abort();
    assert!(asking.await.is_err());
    let registry = Registry::new();
    looking.look(&BTreeMap::from([folding(0, &[]).await]), &Metrics::register(&registry).unwrap());
    let families = registry.gather();
    let looks = families.iter().find(|family| family.name() == "footfall_pipeline_live_seconds");
    assert_eq!(looks.unwrap().get_metric()[0].get_histogram().get_sample_count(), 0);
}

#[tokio::test]
async fn more_rows_than_an_answer_may_have_are_refused_and_can_be_narrowed() {
    let mut records: Vec<Record> =
        (0..=ROWS_MAX).map(|at| page(at, "a", &format!("v{at}"), "home")).collect();
    let partitions = BTreeMap::from([folding(0, &records).await]);
    let refused = answer(LiveTable::Sessions, (None, None), &partitions).await.err();
    assert_eq!(refused, Some(LiveRefused::TooMany));
    let one = answer(LiveTable::Sessions, (Some("a"), Some("v7")), &partitions).await.unwrap();
    assert_eq!(visitors(&one), [(0, vec!["v7".to_owned()])]);
    records.pop();
    let partitions = BTreeMap::from([folding(0, &records).await]);
    let most = answer(LiveTable::Sessions, (None, None), &partitions).await.unwrap();
    assert_eq!(most.looks[0].sessions.len(), ROWS_MAX);
}
