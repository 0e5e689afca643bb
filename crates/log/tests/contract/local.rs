//! What the local log promises alone: its directory, its one reader, and retention.

use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use footfall_event::{Micros, Offset, Partition};
use footfall_log::{
    DELIVERY_BYTES_MAX, Delivery, EventLog, Kind, LocalLog, LocalSettings, LogError, NewRecord,
};
use tempfile::TempDir;

use crate::harness::{
    Harness, PARTITIONS, PATIENCE, event, events, eventually, offsets, read_all, start_of, started,
};

pub struct LocalHarness {
    directory: TempDir,
    open: Mutex<Weak<LocalLog>>,
}

impl LocalHarness {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), open: Mutex::default() }
    }
}

#[async_trait]
impl Harness for LocalHarness {
    async fn open_with_queue(&self, queue_bytes_max: usize) -> Arc<dyn EventLog> {
        let settings = LocalSettings { queue_bytes_max, ..settings(self.directory.path()) };
        let log = Arc::new(LocalLog::open(settings).unwrap());
        *self.open.lock().unwrap() = Arc::downgrade(&log);
        log
    }

    async fn published(&self, topic: &str) -> Vec<(Bytes, Bytes)> {
        let log = self.open.lock().unwrap().upgrade().unwrap();
        log.published(topic).unwrap()
    }
}

fn settings(directory: &Path) -> LocalSettings {
    LocalSettings::new(directory, "events", PARTITIONS)
}

/// Segments of a millisecond, and nothing kept that may go.
pub fn eager(directory: &Path) -> LocalSettings {
    LocalSettings { segment_ms: 1, retention_ms: 0, ..settings(directory) }
}

#[test]
fn another_number_of_partitions_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    drop(LocalLog::open(settings(directory.path())).unwrap());
    let other = LocalSettings { partitions: 7, ..settings(directory.path()) };
    let message = LocalLog::open(other).err().unwrap().to_string();
    assert!(message.contains("partitions is 4, but the configuration says 7"), "{message}");
    assert!(message.contains(directory.path().to_str().unwrap()), "{message}");
    let other = LocalSettings { topic: "clicks".to_owned(), ..settings(directory.path()) };
    let message = LocalLog::open(other).err().unwrap().to_string();
    assert!(message.contains("topic is events, but the configuration says clicks"), "{message}");
    drop(LocalLog::open(settings(directory.path())).unwrap());
}

#[test]
fn settings_out_of_range_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let good = settings(directory.path());
    for (setting, bad) in [
        ("partitions", LocalSettings { partitions: 0, ..good.clone() }),
        ("segment_ms", LocalSettings { segment_ms: 0, ..good.clone() }),
        ("retention_ms", LocalSettings { retention_ms: -1, ..good.clone() }),
    ] {
        let refused = LocalLog::open(bad).err().unwrap();
        assert!(matches!(refused, LogError::Unfit { setting: s, .. } if s == setting));
    }
}

#[test]
fn a_second_opener_is_told_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let _open = LocalLog::open(settings(directory.path())).unwrap();
    let second = LocalLog::open(settings(directory.path())).err().unwrap();
    assert!(matches!(&second, LogError::Locked(path) if path == directory.path()), "{second}");
}

#[tokio::test]
async fn a_second_subscription_is_refused_until_the_first_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let log = LocalLog::open(settings(directory.path())).unwrap();
    let first = log.subscribe("one").unwrap();
    assert!(matches!(log.subscribe("two").err().unwrap(), LogError::Subscribed(_)));
    drop(first);
    log.subscribe("two").unwrap();
}

#[tokio::test]
async fn a_full_queue_is_overloaded_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let small = LocalSettings { queue_bytes_max: 1000, ..settings(directory.path()) };
    let log = LocalLog::open(small).unwrap();
    let calls = (0..100).map(|_| log.append(vec![event(0, vec![b'x'; 900])]));
    let answers = futures::future::join_all(calls).await;
    let kept = answers.iter().filter(|answer| answer.is_ok()).count();
    let refused = |answer: &Result<_, LogError>| matches!(answer, Err(LogError::Overloaded { .. }));
    assert_eq!(answers.iter().filter(|answer| refused(answer)).count(), 100 - kept);
    assert!((1..100).contains(&kept), "{kept} of 100 were kept");
    log.ready().await.unwrap();
    let appended = log.append(vec![event(0, "x")]).await.unwrap();
    assert_eq!(appended[0].offset, Offset(kept as i64));
}

#[tokio::test]
async fn retention_never_deletes_above_released_offsets() {
    let directory = tempfile::tempdir().unwrap();
    let log = LocalLog::open(eager(directory.path())).unwrap();
    let mut subscription = started(&log).await;
    // Both are released in the middle of so much log time that many segments begin before it.
    let began = log.append([events(0, 5), events(1, 5)].concat()).await.unwrap()[0].append_time;
    let (mut calls, mut now) = (1, began);
    while calls < 40 || now - began < Micros::from_ms(400) {
        now = log.append([events(0, 5), events(1, 5)].concat()).await.unwrap()[0].append_time;
        assert_eq!(start_of(&log, 0).await, Offset(0));
        calls += 1;
    }
    let (most, half) = (Offset(calls * 5 / 4 * 3), Offset(calls * 5 / 2));
    // Partition 1 holds everything back.
    subscription.release(vec![(Partition(0), most)]).await.unwrap();
    for _ in 0..10 {
        log.append(events(0, 5)).await.unwrap();
        assert_eq!(start_of(&log, 0).await, Offset(0));
    }
    subscription.release(vec![(Partition(1), half)]).await.unwrap();
    eventually("segments are deleted", || async { start_of(&log, 1).await > Offset(0) }).await;
    for _ in 0..20 {
        log.append(events(0, 5)).await.unwrap();
        let starts = (start_of(&log, 0).await, start_of(&log, 1).await);
        assert!(starts.0 <= most && starts.1 <= half, "{starts:?}");
        assert!(log.read_one(Partition(0), most).await.unwrap().is_some());
        assert!(log.read_one(Partition(1), half).await.unwrap().is_some());
    }
    assert_eq!(log.read_one(Partition(1), Offset(0)).await.unwrap(), None);
    // What was deleted is told as gone.
    subscription.start(Partition(1), Offset(0)).await.unwrap();
    let gone = loop {
        if let Err(error) = subscription.next(crate::harness::PATIENCE).await {
            break error;
        }
    };
    assert!(matches!(gone, LogError::Gone { partition: Partition(1), wanted: Offset(0), .. }));
}

#[tokio::test]
async fn offsets_and_released_outlive_retention_of_everything_and_reopening() {
    let directory = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let log = LocalLog::open(eager(directory.path())).unwrap();
        let appended = log.append([events(0, 10), events(3, 10)].concat()).await.unwrap();
        let end = Offset(round * 10);
        assert_eq!(appended[9].offset.next(), end);
        assert_eq!(appended[19].offset.next(), end);
        let mut subscription = started(&log).await;
        let everything = [0, 3].map(|partition| (Partition(partition), end)).to_vec();
        subscription.release(everything).await.unwrap();
        eventually("everything is deleted", || async { start_of(&log, 3).await == end }).await;
        assert_eq!(log.bounds(Partition(0)).await.unwrap(), end..end);
        log.publish("signals", "key", vec![Bytes::from("x")]).await.unwrap();
    }
}

#[tokio::test]
async fn reading_crosses_segments_and_survives_reopening_them() {
    let directory = tempfile::tempdir().unwrap();
    let log = LocalLog::open(eager(directory.path())).unwrap();
    for _ in 0..30 {
        log.append(events(1, 4)).await.unwrap();
    }
    let before = read_all(&log).await;
    assert_eq!(offsets(&before[&Partition(1)]), (0..120).collect::<Vec<_>>());
    drop(log);
    let log = LocalLog::open(eager(directory.path())).unwrap();
    assert_eq!(read_all(&log).await, before);
}

/// However small it is on disk.
#[tokio::test]
async fn a_delivery_holds_no_more_than_its_bytes() {
    const COUNT: usize = 40_000;
    let directory = tempfile::tempdir().unwrap();
    let log = LocalLog::open(settings(directory.path())).unwrap();
    let alike = Bytes::from(vec![b'x'; 300]);
    log.append(vec![event(0, alike); COUNT]).await.unwrap();
    let mut subscription = started(&log).await;
    let mut left = COUNT;
    while left > 0 {
        let Delivery::Records { records, .. } = subscription.next(PATIENCE).await.unwrap() else {
            panic!("{left} records were to come");
        };
        let bytes: usize = records.iter().map(|record| record.payload.len()).sum();
        assert!(bytes <= DELIVERY_BYTES_MAX, "{bytes} bytes");
        left -= records.len();
    }
}

#[tokio::test]
async fn a_log_over_its_bytes_drops_what_is_released_and_refuses_events() {
    let directory = tempfile::tempdir().unwrap();
    let bounded = LocalSettings {
        segment_ms: 40,
        bytes_max: Some(4 * 1024 * 1024),
        ..settings(directory.path())
    };
    let log = LocalLog::open(bounded).unwrap();
    let mut noise = vec![0; 500_000];
    rand::fill(&mut noise[..]);
    let refused = loop {
        if let Err(error) = log.append(vec![event(0, noise.clone())]).await {
            break error;
        }
    };
    assert!(matches!(refused, LogError::Overloaded { .. }), "{refused}");
    assert_eq!(log.has_room().unwrap_err().to_string(), refused.to_string());
    assert!(log.ready().await.is_err());
    // The pipeline goes on, and so comes to release what it has read.
    let tick = NewRecord { partition: Partition(0), kind: Kind::Tick, payload: Bytes::new() };
    let at = log.append(vec![tick]).await.unwrap()[0].offset;
    log.subscribe("one").unwrap().release(vec![(Partition(0), at)]).await.unwrap();
    eventually("events are taken again", || async { log.ready().await.is_ok() }).await;
    log.append(vec![event(0, "x")]).await.unwrap();
    assert!(start_of(&log, 0).await > Offset(0));
}
