//! What every event log promises to those who append.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use footfall_event::{Offset, Partition};
use footfall_log::{LogError, RECORD_BYTES_MAX};

use crate::harness::{
    Harness, PARTITIONS, PATIENCE, as_read, event, events, eventually, offsets, read, read_all,
    started,
};

pub async fn offsets_are_dense_from_zero_in_order_of_append(harness: &dyn Harness) {
    let log = harness.open().await;
    let mut next = BTreeMap::new();
    for round in 0..5 {
        let records: Vec<_> =
            (0..20).map(|index| event(index * round % PARTITIONS as i32, "x")).collect();
        for (record, appended) in records.iter().zip(log.append(records.clone()).await.unwrap()) {
            assert_eq!(appended.partition, record.partition);
            let expected = next.entry(record.partition).or_insert(0);
            assert_eq!(appended.offset, Offset(*expected));
            *expected += 1;
        }
    }
    for (partition, expected) in next {
        let bounds = log.bounds(partition).await.unwrap();
        assert_eq!(bounds, Offset(0)..Offset(expected));
    }
}

pub async fn concurrent_appenders_lose_and_double_nothing(harness: &dyn Harness) {
    const APPENDERS: usize = 16;
    const CALLS: usize = 20;
    let log = harness.open().await;
    let appender = |appender: usize| {
        let log = Arc::clone(&log);
        async move {
            let mut kept = Vec::new();
            for call in 0..CALLS {
                let records: Vec<_> = (0..=call)
                    .map(|index| {
                        let partition = (appender + call * index) % PARTITIONS as usize;
                        event(partition as i32, format!("{appender} {call} {index}"))
                    })
                    .collect();
                let appended = log.append(records.clone()).await.unwrap();
                kept.extend(records.into_iter().zip(appended));
            }
            kept
        }
    };
    let appenders: Vec<_> = (0..APPENDERS).map(|index| tokio::spawn(appender(index))).collect();
    let mut expected: BTreeMap<Partition, BTreeMap<i64, _>> = BTreeMap::new();
    for appender in appenders {
        for (record, appended) in appender.await.unwrap() {
            let partition = expected.entry(record.partition).or_default();
            let doubled = partition.insert(appended.offset.0, as_read(&record, &appended));
            assert!(doubled.is_none(), "{appended:?} was given out twice");
        }
    }
    let read = read_all(&*log).await;
    assert_eq!(read.len(), expected.len());
    for (partition, records) in read {
        assert_eq!(records, expected[&partition].values().cloned().collect::<Vec<_>>());
    }
}

pub async fn a_large_batch_is_appended_whole(harness: &dyn Harness) {
    const COUNT: usize = 40_000;
    let log = harness.open().await;
    let filler = "x".repeat(290);
    let records: Vec<_> =
        (0..COUNT).map(|index| event((index % 3) as i32, format!("{index} {filler}"))).collect();
    let appended = log.append(records.clone()).await.unwrap();
    let expected: Vec<_> =
        records.iter().zip(&appended).map(|(record, at)| as_read(record, at)).collect();
    let read = read(&mut *started(&*log).await, COUNT).await;
    for partition in 0..3 {
        let of_partition = expected.iter().skip(partition).step_by(3);
        assert!(read[&Partition(partition as i32)].iter().eq(of_partition));
    }
}

pub async fn an_empty_append_is_answered_with_nothing(harness: &dyn Harness) {
    let log = harness.open().await;
    assert_eq!(log.append(Vec::new()).await.unwrap(), []);
    assert_eq!(log.bounds(Partition(0)).await.unwrap(), Offset(0)..Offset(0));
}

pub async fn a_record_that_is_too_large_is_refused_whole(harness: &dyn Harness) {
    let log = harness.open().await;
    let mut noise = vec![0; RECORD_BYTES_MAX + 1];
    rand::fill(&mut noise[..]);
    let noise = Bytes::from(noise);
    let refused = log.append(vec![event(0, "small"), event(1, noise.clone())]).await;
    let max = RECORD_BYTES_MAX;
    assert!(
        matches!(refused, Err(LogError::TooLarge { bytes, max: m }) if bytes == max + 1 && m == max),
        "{refused:?}"
    );
    assert_eq!(log.bounds(Partition(0)).await.unwrap(), Offset(0)..Offset(0));
    let largest = event(1, noise.slice(1..));
    let appended = log.append(vec![largest.clone()]).await.unwrap();
    let read = log.read_one(Partition(1), appended[0].offset).await.unwrap();
    assert_eq!(read, Some(as_read(&largest, &appended[0])));
}

pub async fn a_partition_that_does_not_exist_is_refused(harness: &dyn Harness) {
    let log = harness.open().await;
    for number in [-1, PARTITIONS as i32] {
        let partition = Partition(number);
        let appended = log.append(vec![event(0, "good"), event(number, "bad")]).await;
        assert!(matches!(appended, Err(LogError::NoPartition { .. })), "{appended:?}");
        let bounds = log.bounds(partition).await;
        assert!(matches!(bounds, Err(LogError::NoPartition { .. })), "{bounds:?}");
        let read = log.read_one(partition, Offset(0)).await;
        assert!(matches!(read, Err(LogError::NoPartition { .. })), "{read:?}");
    }
    assert_eq!(log.bounds(Partition(0)).await.unwrap(), Offset(0)..Offset(0));
}

pub async fn append_times_do_not_step_back(harness: &dyn Harness) {
    let log = harness.open().await;
    let mut last = BTreeMap::new();
    for _ in 0..20 {
        for appended in log.append([events(0, 3), events(2, 3)].concat()).await.unwrap() {
            let before = last.insert(appended.partition, appended.append_time);
            assert!(before.is_none_or(|before| before <= appended.append_time));
        }
    }
    for (partition, records) in read_all(&*log).await {
        assert!(records.is_sorted_by_key(|record| record.append_time));
        assert_eq!(records.last().map(|record| record.append_time), last.get(&partition).copied());
    }
}

pub async fn published_records_are_readable(harness: &dyn Harness) {
    let log = harness.open().await;
    let side = format!("{}.signals", log.topic());
    let payloads = |from: usize, to| (from..to).map(|i| Bytes::from(format!("signal {i}")));
    log.publish(&side, "visitor 1", payloads(0, 3).collect()).await.unwrap();
    log.publish(&side, "visitor 1", Vec::new()).await.unwrap();
    log.publish(&side, "visitor 1", payloads(3, 5).collect()).await.unwrap();
    let expected: Vec<_> =
        payloads(0, 5).map(|payload| (Bytes::from("visitor 1"), payload)).collect();
    assert_eq!(harness.published(&side).await, expected);
    assert_eq!(log.bounds(Partition(0)).await.unwrap(), Offset(0)..Offset(0));
}

pub async fn a_reopened_log_goes_on_where_it_stopped(harness: &dyn Harness) {
    let log = harness.open().await;
    let before = events(1, 5);
    let mut appended = log.append(before.clone()).await.unwrap();
    drop(log);

    let log = harness.open().await;
    assert_eq!(log.bounds(Partition(1)).await.unwrap(), Offset(0)..Offset(5));
    let after = events(1, 3);
    let more = log.append(after.clone()).await.unwrap();
    assert_eq!(more[0].offset, Offset(5));
    assert!(more[0].append_time >= appended[4].append_time);
    appended.extend(more);
    let all = [before, after].concat();
    let expected: Vec<_> = all.iter().zip(&appended).map(|(r, at)| as_read(r, at)).collect();
    let read = read_all(&*log).await;
    assert_eq!(read[&Partition(1)], expected);
    assert_eq!(offsets(&read[&Partition(1)]), (0..8).collect::<Vec<_>>());
}

pub async fn an_open_log_is_ready(harness: &dyn Harness) {
    let log = harness.open().await;
    log.ready().await.unwrap();
    assert_eq!(log.partitions(), PARTITIONS);
}

pub async fn a_full_queue_has_no_room_until_it_is_written(harness: &dyn Harness) {
    let log = harness.open_with_queue(1000).await;
    log.has_room().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut waiting = Vec::new();
    // A call alone in the queue is taken whatever its size, and fills it until it is written.
    let full = loop {
        assert!(Instant::now() < deadline, "the queue was never full");
        let mut append = log.append(vec![event(0, vec![b'x'; 2000])]);
        if futures::poll!(&mut append).is_pending() {
            waiting.push(append);
        }
        if let Err(error) = log.has_room() {
            break error;
        }
    };
    assert!(matches!(full, LogError::Overloaded { .. }), "{full}");
    for answer in futures::future::join_all(waiting).await {
        answer.unwrap();
    }
    eventually("there is room again", || async { log.has_room().is_ok() }).await;
    log.append(vec![event(0, "x")]).await.unwrap();
}
