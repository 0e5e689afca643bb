//! What every event log promises to the one who reads.

use std::time::Duration;

use bytes::Bytes;
use footfall_event::{Offset, Partition};
use footfall_log::{Delivery, Kind, LogError, NewRecord};

use crate::harness::{
    A_WHILE, Harness, PATIENCE, as_read, assigned, event, events, offsets, read, read_all, started,
};

pub async fn records_of_all_kinds_are_read_back_equal(harness: &dyn Harness) {
    let log = harness.open().await;
    let payloads = [Bytes::new(), Bytes::from("{\"a\":1}"), Bytes::from(vec![0, 255, 0, 10, 13])];
    let kinds = [Kind::Event, Kind::Rejected, Kind::Tick, Kind::Control];
    let records: Vec<_> = kinds
        .into_iter()
        .flat_map(|kind| payloads.iter().map(move |payload| (kind, payload.clone())))
        .map(|(kind, payload)| NewRecord { partition: Partition(3), kind, payload })
        .collect();
    let appended = log.append(records.clone()).await.unwrap();
    let expected: Vec<_> = records.iter().zip(&appended).map(|(r, at)| as_read(r, at)).collect();
    assert_eq!(read_all(&*log).await[&Partition(3)], expected);
    for record in expected {
        let one = log.read_one(Partition(3), record.offset).await.unwrap();
        assert_eq!(one, Some(record));
    }
}

pub async fn nothing_is_delivered_before_start(harness: &dyn Harness) {
    let log = harness.open().await;
    log.append([events(0, 3), events(1, 3)].concat()).await.unwrap();
    let mut subscription = assigned(&*log).await;
    assert!(matches!(subscription.next(A_WHILE).await.unwrap(), Delivery::Idle));
    subscription.start(Partition(1), Offset(0)).await.unwrap();
    let read = read(&mut *subscription, 3).await;
    assert_eq!(read.keys().collect::<Vec<_>>(), [&Partition(1)]);
    assert!(matches!(subscription.next(A_WHILE).await.unwrap(), Delivery::Idle));
    let stranger = subscription.start(Partition(99), Offset(0)).await;
    assert!(matches!(stranger, Err(LogError::NotAssigned(Partition(99)))), "{stranger:?}");
}

pub async fn reading_starts_in_the_middle_and_again_before_it(harness: &dyn Harness) {
    let log = harness.open().await;
    log.append(events(0, 10)).await.unwrap();
    log.append(events(0, 10)).await.unwrap();
    let mut subscription = assigned(&*log).await;
    for from in [7, 10, 13, 2, 19] {
        subscription.start(Partition(0), Offset(from)).await.unwrap();
        let read = read(&mut *subscription, (20 - from) as usize).await;
        assert_eq!(offsets(&read[&Partition(0)]), (from..20).collect::<Vec<_>>());
    }
    subscription.start(Partition(0), Offset(20)).await.unwrap();
    assert!(matches!(subscription.next(A_WHILE).await.unwrap(), Delivery::Idle));
}

pub async fn a_waiting_reader_gets_what_is_appended(harness: &dyn Harness) {
    let log = harness.open().await;
    let mut subscription = started(&*log).await;
    for offset in 0..20 {
        let (read, appended) =
            tokio::join!(read(&mut *subscription, 1), log.append(vec![event(2, "x")]));
        assert_eq!(offsets(&read[&Partition(2)]), [offset]);
        assert_eq!(appended.unwrap()[0].offset, Offset(offset));
    }
}

pub async fn an_empty_log_is_idle(harness: &dyn Harness) {
    let log = harness.open().await;
    let mut subscription = started(&*log).await;
    assert!(matches!(subscription.next(Duration::ZERO).await.unwrap(), Delivery::Idle));
    assert!(matches!(subscription.next(A_WHILE).await.unwrap(), Delivery::Idle));
}

pub async fn bounds_and_single_records_agree_with_what_was_appended(harness: &dyn Harness) {
    let log = harness.open().await;
    let records = events(2, 30);
    let mut expected = Vec::new();
    for part in records.chunks(7) {
        let appended = log.append(part.to_vec()).await.unwrap();
        expected.extend(part.iter().zip(&appended).map(|(r, at)| as_read(r, at)));
    }
    assert_eq!(log.bounds(Partition(2)).await.unwrap(), Offset(0)..Offset(30));
    assert_eq!(log.bounds(Partition(0)).await.unwrap(), Offset(0)..Offset(0));
    for record in expected {
        let one = log.read_one(Partition(2), record.offset).await.unwrap();
        assert_eq!(one, Some(record));
    }
    for absent in [-1, 30, 31, i64::MAX] {
        assert_eq!(log.read_one(Partition(2), Offset(absent)).await.unwrap(), None);
    }
}

pub async fn reading_beyond_the_end_is_told_as_gone(harness: &dyn Harness) {
    let log = harness.open().await;
    log.append([events(0, 3), events(1, 3)].concat()).await.unwrap();
    let mut subscription = assigned(&*log).await;
    subscription.start(Partition(0), Offset(1000)).await.unwrap();
    match subscription.next(PATIENCE).await {
        Err(LogError::Gone { partition, wanted, bounds }) => {
            assert_eq!((partition, wanted), (Partition(0), Offset(1000)));
            assert_eq!(bounds, Offset(0)..Offset(3));
        }
        other => panic!("{other:?}"),
    }
    subscription.start(Partition(1), Offset(0)).await.unwrap();
    subscription.start(Partition(0), Offset(0)).await.unwrap();
    let read = read(&mut *subscription, 6).await;
    assert_eq!(offsets(&read[&Partition(0)]), [0, 1, 2]);
    assert_eq!(offsets(&read[&Partition(1)]), [0, 1, 2]);
}

pub async fn an_offset_below_the_first_is_never_read_from_the_first(harness: &dyn Harness) {
    let log = harness.open().await;
    log.append(events(0, 3)).await.unwrap();
    let mut subscription = assigned(&*log).await;
    subscription.start(Partition(0), Offset(-1)).await.unwrap();
    let refused = subscription.next(PATIENCE).await.unwrap_err();
    assert!(matches!(refused, LogError::Gone { .. } | LogError::Io { .. }), "{refused}");
    subscription.start(Partition(0), Offset(1)).await.unwrap();
    let read = read(&mut *subscription, 2).await;
    assert_eq!(offsets(&read[&Partition(0)]), [1, 2]);
}

pub async fn released_offsets_are_taken(harness: &dyn Harness) {
    let log = harness.open().await;
    log.append(events(0, 10)).await.unwrap();
    let mut subscription = started(&*log).await;
    read(&mut *subscription, 10).await;
    subscription
        .release(vec![(Partition(0), Offset(10)), (Partition(1), Offset(0))])
        .await
        .unwrap();
    subscription.release(Vec::new()).await.unwrap();
    log.append(events(0, 1)).await.unwrap();
    let read = read(&mut *subscription, 1).await;
    assert_eq!(offsets(&read[&Partition(0)]), [10]);
}
