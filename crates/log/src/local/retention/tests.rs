//! Segments are closed and deleted on time also when the clock was wrong for a while.

use tempfile::TempDir;

use super::super::layout::Tail;
use super::*;
use crate::LocalSettings;

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
