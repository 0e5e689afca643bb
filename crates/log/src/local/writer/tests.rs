//! Append times when the clock steps.

use std::path::Path;

use super::*;
use crate::LocalSettings;

fn record(partition: i32) -> NewRecord {
    NewRecord { partition: Partition(partition), kind: Kind::Event, payload: Bytes::new() }
}

fn open(directory: &Path) -> Writer {
    let settings = LocalSettings::new(directory, "events", 1);
    let (store, tails) = Store::open(settings).unwrap();
    let retention = Retention::new(&store).unwrap();
    Writer { store: Arc::new(store), tails, retention }
}

/// The append times, in seconds, of a record at each of `clock`; `None` reopens the log.
#[track_caller]
fn check(clock: &[Option<i64>], expected: &[i64]) {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Some(open(directory.path()));
    let mut times = Vec::new();
    for seconds in clock {
        let Some(seconds) = seconds else {
            drop(writer.take());
            writer = Some(open(directory.path()));
            continue;
        };
        let writer = writer.as_mut().unwrap();
        let mut group = Group::new(&writer.tails, Micros(seconds * 1_000_000));
        let appended = group.append(vec![record(0)]);
        let chunks = group.finish();
        writer.commit(chunks, &[]);
        times.push(appended[0].append_time.0 / 1_000_000);
    }
    assert_eq!(times, expected);
}

#[test]
fn a_clock_that_is_set_back_a_little_makes_append_times_stand() {
    check(&[Some(1000), Some(900), None, Some(999), Some(1001)], &[1000, 1000, 1000, 1001]);
    check(&[Some(1300), Some(1000)], &[1300, 1300]);
}

#[test]
fn a_clock_that_was_far_ahead_does_not_make_append_times_stand() {
    check(&[Some(1301), Some(1000), Some(1001)], &[1301, 1000, 1001]);
    let year = 31_536_000;
    check(&[Some(1000), Some(year), None, Some(1001), Some(1002)], &[1000, year, 1001, 1002]);
}
