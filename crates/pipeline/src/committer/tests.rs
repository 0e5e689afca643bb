//! In which order the tables of one interval are committed, and how far a barrier takes them.

use std::time::Duration;

use footfall_event::Micros;
use footfall_log::{Kind, Record};
use footfall_sessionizer::{Need, Rules};
use prometheus::Registry;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::old_resend::OldResends;
use crate::partition::PartitionFold;
use crate::rows::Origin;
use crate::testing::{Shop, TOPIC, rules};

/// Longer than a commit to a temporary folder takes by far.
const LONGER_THAN_A_COMMIT: Duration = Duration::from_secs(2);

/// What was settled of a record that nothing can be made of.
async fn settled(shop: &Shop, metrics: &Metrics, number: i32, is_barrier: bool) -> Settled {
    let partition = Partition(number);
    let origin = Origin { log: TOPIC.into(), partition };
    let mut fold = PartitionFold::begin(origin, Offset(0), None, Arc::new(rules())).unwrap();
    let record = Record {
        offset: Offset(0),
        append_time: crate::testing::STARTED,
        kind: Kind::Event,
        payload: b"no JSON".to_vec().into(),
    };
    let token = CancellationToken::new();
    let mut resends = OldResends::new(&shop.lake, TOPIC, partition, rules().dedupe_window, token);
    fold.read(&[record], &mut resends, metrics).await.unwrap();
    fold.settle(is_barrier).unwrap()
}

/// Where another writer came as far as `from`, its rows are in the table: those whose cause lies before, and no other.
#[tokio::test]
async fn of_a_part_rows_begin_at_the_record_that_a_table_speaks_up_to() {
    let shop = Shop::new().await;
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let origin = Origin { log: TOPIC.into(), partition: Partition(0) };
    let need = Need {
        name: "delivery".to_owned(),
        raised_by: "event_name = 'page_view'".to_owned(),
        found_by: "event_name = 'seen'".to_owned(),
        within: Micros::SECOND,
        max_clicks: 1,
    };
    let rules = Rules { needs: vec![need], ..rules() };
    let max_age = rules.dedupe_window;
    let mut fold = PartitionFold::begin(origin, Offset(0), None, Arc::new(rules)).unwrap();
    let at = |second: i64| crate::testing::STARTED + Micros(second * Micros::SECOND.0);
    let record = |offset: i64, second: i64, kind: Kind, payload: &str| Record {
        offset: Offset(offset),
        append_time: at(second),
        kind,
        payload: payload.as_bytes().to_vec().into(),
    };
    let event = format!(
        r#"{{"event_id":"a","site":"shop","visitor_id":"v","event_name":"page_view","event_time":{0},"received_time":{0}}}"#,
        at(6).0
    );
    let records = [
        record(0, 0, Kind::Tick, ""),
        record(1, 5, Kind::Tick, ""),
        record(2, 6, Kind::Event, &event),
        record(3, 7, Kind::Event, &event),
        record(4, 8, Kind::Event, "no JSON"),
        // A leap that is believed: the session is over.
        record(5, 9_000, Kind::Tick, ""),
        record(6, 9_006, Kind::Tick, ""),
    ];
    let token = CancellationToken::new();
    let mut resends = OldResends::new(&shop.lake, TOPIC, Partition(0), max_age, token);
    let mut rest = &records[..];
    while !rest.is_empty() {
        rest = &rest[fold.read(rest, &mut resends, &metrics).await.unwrap().0..];
    }
    let part = fold.settle(true).unwrap();
    let (rows, receipts) = (&part.output.rows, &part.output.receipts);
    let causes: [(Table, Vec<Offset>); 7] = [
        (Table::Events, rows.events.iter().map(|row| row.cause).collect()),
        (Table::Sessions, rows.sessions.iter().map(|row| row.cause).collect()),
        (Table::Needs, rows.needs.iter().map(|row| row.cause).collect()),
        (Table::PageViews, rows.page_views.iter().map(|row| row.cause).collect()),
        (Table::Rejected, part.rejected.iter().map(|row| row.offset).collect()),
        (Table::Duplicates, part.duplicates.iter().map(|row| row.offset).collect()),
        // The last record of a range makes it final.
        (Table::Receipts, receipts.iter().map(|row| Offset(row.to.0 - 1)).collect()),
    ];
    for (table, causes) in causes {
        assert!(!causes.is_empty(), "{}", table.name());
        for from in (0..=7).map(Offset) {
            let expected = causes.iter().filter(|cause| **cause >= from).count();
            let found = rows_of(table, &part, from).unwrap().num_rows();
            assert_eq!(found, expected, "{} from {from}", table.name());
        }
    }
}

#[tokio::test]
async fn receipts_wait_for_every_other_table() {
    let shop = Shop::new().await;
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let settled = [settled(&shop, &metrics, 0, true).await];
    let committer = Committer::open(&shop.lake, TOPIC, metrics).await.unwrap();
    // A commit of events that takes long.
    let events = committer.tables[Table::Events as usize].lock().await;
    assert_eq!(events.table, Table::Events);
    let mut commit = Box::pin(committer.commit(&settled));
    let ended = tokio::time::timeout(LONGER_THAN_A_COMMIT, &mut commit).await;
    assert!(ended.is_err(), "it did not wait for events");
    assert_eq!(shop.ask("SELECT count(*) FROM rejected").await, ["1"]);
    let up_to = "SELECT max(to_offset) FROM receipts";
    assert_eq!(shop.ask(up_to).await, ["-"]);
    drop(events);
    commit.await.unwrap();
    assert_eq!(shop.ask(up_to).await, ["1"]);
}

/// Its snapshot needs all tables at its offset, whatever is committed beside it.
#[tokio::test]
async fn a_barrier_of_any_partition_takes_all_tables_to_its_offset() {
    let shop = Shop::of_partitions(3).await;
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let mut parts = Vec::new();
    for (number, is_barrier) in [(0, false), (1, true), (2, false)] {
        parts.push(settled(&shop, &metrics, number, is_barrier).await);
    }
    let committer = Committer::open(&shop.lake, TOPIC, metrics).await.unwrap();
    assert!(committer.commit(&parts).await.unwrap().is_empty());
    assert!(committer.stands_at(Partition(1), Offset(1)).await);
    // Each commit tells which log it speaks of.
    let last_append_time = Some(crate::testing::STARTED);
    let spoken = Spoken { up_to: Offset(1), last_append_time };
    for number in 0..3 {
        assert_eq!(committer.furthest(Partition(number)).await.unwrap(), Some(spoken));
    }
}
