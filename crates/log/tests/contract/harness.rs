//! What the suite needs of a log under test, and how it appends and reads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use footfall_event::{Offset, Partition};
use footfall_log::{Appended, Delivery, EventLog, Kind, NewRecord, Record, Subscription};

pub const PARTITIONS: u32 = 4;
/// No test waits longer than this for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Long enough to be told what is there, short enough to wait out.
pub const A_WHILE: Duration = Duration::from_millis(300);

/// A log under test, alone in its folder or topic.
#[async_trait]
pub trait Harness: Send + Sync {
    /// Opens the log with a queue of so many bytes; the one opened before must have been dropped.
    async fn open_with_queue(&self, queue_bytes_max: usize) -> Arc<dyn EventLog>;
    /// Opens the log with a queue that is never full.
    async fn open(&self) -> Arc<dyn EventLog> {
        self.open_with_queue(1 << 30).await
    }
    /// Keys and payloads of a side topic of the log that is open, in order.
    async fn published(&self, topic: &str) -> Vec<(Bytes, Bytes)>;
}

pub fn event(partition: i32, payload: impl Into<Bytes>) -> NewRecord {
    NewRecord { partition: Partition(partition), kind: Kind::Event, payload: payload.into() }
}

pub fn events(partition: i32, count: usize) -> Vec<NewRecord> {
    (0..count).map(|index| event(partition, format!("event {index} of {partition}"))).collect()
}

/// A reader that has been assigned all partitions and has started none.
pub async fn assigned(log: &dyn EventLog) -> Box<dyn Subscription> {
    let mut subscription = log.subscribe("contract").unwrap();
    let mut partitions = Vec::new();
    while partitions.len() < log.partitions() as usize {
        match subscription.next(PATIENCE).await.unwrap() {
            Delivery::Assigned(assigned) => partitions.extend(assigned),
            other => panic!("{other:?} before all was assigned"),
        }
    }
    subscription
}

/// A reader of all partitions from their first offset on.
pub async fn started(log: &dyn EventLog) -> Box<dyn Subscription> {
    let mut subscription = assigned(log).await;
    for partition in 0..log.partitions() as i32 {
        let first = log.bounds(Partition(partition)).await.unwrap().start;
        subscription.start(Partition(partition), first).await.unwrap();
    }
    subscription
}

/// Reads until `count` records came, and no more than that.
pub async fn read(
    subscription: &mut dyn Subscription,
    count: usize,
) -> BTreeMap<Partition, Vec<Record>> {
    let mut read: BTreeMap<Partition, Vec<Record>> = BTreeMap::new();
    let mut left = count;
    while left > 0 {
        match subscription.next(PATIENCE).await.unwrap() {
            Delivery::Records { partition, records } => {
                assert!(!records.is_empty());
                left = left.checked_sub(records.len()).expect("more than was appended");
                read.entry(partition).or_default().extend(records);
            }
            other => panic!("{other:?} with {left} records of {count} to come"),
        }
    }
    read
}

/// The whole log.
pub async fn read_all(log: &dyn EventLog) -> BTreeMap<Partition, Vec<Record>> {
    let mut count = 0;
    for partition in 0..log.partitions() as i32 {
        let bounds = log.bounds(Partition(partition)).await.unwrap();
        count += (bounds.end.0 - bounds.start.0) as usize;
    }
    let mut subscription = started(log).await;
    read(&mut *subscription, count).await
}

/// What a record that was answered so must be read as.
pub fn as_read(record: &NewRecord, appended: &Appended) -> Record {
    assert_eq!(appended.partition, record.partition);
    Record {
        offset: appended.offset,
        append_time: appended.append_time,
        kind: record.kind,
        payload: record.payload.clone(),
    }
}

pub fn offsets<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<i64> {
    records.into_iter().map(|record| record.offset.0).collect()
}

/// Waits until `holds`, looking again and again.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "never came true: {what}");
        looks.tick().await;
    }
}

pub async fn start_of(log: &dyn EventLog, partition: i32) -> Offset {
    log.bounds(Partition(partition)).await.unwrap().start
}
