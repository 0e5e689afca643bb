//! In which order the tables of one interval are committed, and how far a barrier takes them.

use std::time::Duration;

use footfall_log::{Kind, Record};
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
