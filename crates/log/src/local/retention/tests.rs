//! Segments are closed and deleted on time also when the clock was wrong for a while, and whole or not at all.

use bytes::Bytes;
use tempfile::TempDir;

use super::super::layout::Tail;
use super::super::queue::Work;
use super::super::testing::{fail_commits, fail_deletions};
use super::*;
use crate::{EventLog, Kind, LocalLog, LocalSettings, NewRecord};

const YEAR: Micros = Micros(365 * Micros::DAY.0);

/// Segments of a minute, kept for an hour, of two partitions whose records are only counted.
struct Log {
    _directory: TempDir,
    store: Store,
    tails: Tails,
    retention: Retention,
}

impl Log {
    fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings = LocalSettings {
            segment_ms: 60_000,
            retention_ms: 3_600_000,
            ..LocalSettings::new(directory.path(), "events", 2)
        };
        let (store, tails) = Store::open(settings).unwrap();
        let retention = Retention::new(&store).unwrap();
        Self { _directory: directory, store, tails, retention }
    }

    /// A record of each of `partitions`, released at once, and what is due then.
    fn append(&mut self, partitions: &[i32], now: Micros) {
        for partition in partitions.iter().copied().map(Partition) {
            let tail = self.tails.get_mut(&Lane::Partition(partition)).unwrap();
            *tail = Tail { next: tail.next.next(), append_time: now };
            self.retention.release(&[(partition, tail.next)]);
        }
        self.step(now);
    }

    fn step(&mut self, now: Micros) {
        self.retention.step_at(&self.store, &self.tails, now).unwrap();
    }

    /// The numbers of the first and of the last segment.
    fn segments(&self) -> (u64, u64) {
        let segments = self.store.segments();
        (segments[0].number, segments[segments.len() - 1].number)
    }
}

#[test]
fn a_segment_is_closed_after_its_span_and_deleted_when_it_is_old() {
    let mut log = Log::open();
    let began = log.store.segments()[0].starts.opened_at;
    let after = |seconds: i64| began + Micros(seconds * 1_000_000);
    log.append(&[0, 1], after(59));
    assert_eq!(log.segments(), (0, 0));
    log.append(&[0], after(60));
    assert_eq!(log.segments(), (0, 1));
    // Nothing was added to it, so it stays open.
    log.step(after(3_659));
    assert_eq!(log.segments(), (0, 1));
    log.step(after(3_660));
    assert_eq!(log.segments(), (1, 1));
}

#[test]
fn a_clock_that_was_a_year_ahead_once_holds_no_segment_back() {
    let mut log = Log::open();
    let began = log.store.segments()[0].starts.opened_at;
    let after = |seconds: i64| began + Micros(seconds * 1_000_000);
    log.append(&[0, 1], after(1));
    // Partition 1 is quiet from here on: its last time stays a year ahead.
    log.append(&[0, 1], after(2) + YEAR);
    assert_eq!(log.segments(), (0, 1));
    // A segment that was opened in the future would never come to its end.
    log.append(&[0], after(3));
    assert_eq!(log.segments(), (0, 2));
    log.append(&[0], after(63));
    assert_eq!(log.segments(), (0, 3));
    log.step(after(3_602));
    assert_eq!(log.segments(), (0, 3));
    log.step(after(3_603));
    assert_eq!(log.segments(), (2, 3));
    log.step(after(3_663));
    assert_eq!(log.segments(), (3, 3));
}

#[test]
fn a_clock_that_was_set_back_deletes_nothing_before_its_time() {
    let mut log = Log::open();
    let began = log.store.segments()[0].starts.opened_at;
    let after = |seconds: i64| began + Micros(seconds * 1_000_000);
    log.append(&[0, 1], after(1));
    log.step(Micros(0));
    assert_eq!(log.segments(), (0, 1));
    log.step(after(3_600));
    assert_eq!(log.segments(), (0, 1));
    log.step(after(3_601));
    assert_eq!(log.segments(), (1, 1));
}

/// A log of two segments with a record each, reopened after something has failed: its records, and its
/// keyspaces of segments.
async fn reopened_after(
    fails: impl FnOnce(&Store) -> Result<(), LogError>,
) -> (Vec<(i64, Bytes)>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let settings = LocalSettings::new(directory.path(), "events", 1);
    let partition = Partition(0);
    let log = LocalLog::open(settings.clone()).unwrap();
    for payload in ["a", "b"] {
        let (kind, payload) = (Kind::Event, Bytes::from(payload));
        log.append(vec![NewRecord { partition, kind, payload }]).await.unwrap();
        log.queue.submit(Work::Close, 0).await.unwrap();
    }
    fails(&log.store).unwrap_err();
    drop(log);
    let log = LocalLog::open(settings).unwrap();
    let mut records = Vec::new();
    let bounds = log.bounds(partition).await.unwrap();
    for offset in bounds.start.0..bounds.end.0 {
        let record = log.read_one(partition, Offset(offset)).await.unwrap().unwrap();
        records.push((offset, record.payload));
    }
    let names = log.store.db.list_keyspace_names();
    let mut segments: Vec<_> = names.iter().map(|name| name.to_string()).collect();
    segments.retain(|name| name.starts_with(layout::SEGMENT_PREFIX));
    segments.sort();
    (records, segments)
}

fn delete_oldest(store: &Store) -> Result<(), LogError> {
    let segments = store.segments();
    delete(store, &segments[0], segments[1..].to_vec())
}

#[tokio::test]
async fn a_segment_that_cannot_be_forgotten_is_not_deleted() {
    let (records, segments) = reopened_after(|store| {
        fail_commits(store);
        delete_oldest(store)
    })
    .await;
    assert_eq!(records, [(0, Bytes::from("a")), (1, Bytes::from("b"))]);
    assert_eq!(segments, ["segment-0", "segment-1", "segment-2"]);
}

#[tokio::test]
async fn a_segment_that_was_forgotten_and_not_deleted_is_swept() {
    let fails = |store: &Store| fail_deletions(store, || delete_oldest(store));
    let (records, segments) = reopened_after(fails).await;
    assert_eq!(records, [(1, Bytes::from("b"))]);
    assert_eq!(segments, ["segment-1", "segment-2"]);
}
