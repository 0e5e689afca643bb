//! Append times when the clock steps, and a writer that breaks off.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use super::super::Work;
use super::*;
use crate::{LocalLog, LocalSettings};

const CHILD_DIRECTORY: &str = "FOOTFALL_TEST_BROKEN_WRITER";
const SIGABRT: i32 = 6;

fn record(partition: i32) -> NewRecord {
    NewRecord { partition: Partition(partition), kind: Kind::Event, payload: Bytes::new() }
}

fn open(directory: &Path) -> Writer {
    open_by(LocalSettings::new(directory, "events", 1))
}

fn open_by(settings: LocalSettings) -> Writer {
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

/// A log with a bound in bytes has segments to delete, however young they are.
#[test]
fn a_segment_closes_by_what_is_written_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let bytes_max = Some(16 * 1024 * 1024);
    let settings = LocalSettings::new(directory.path(), "events", 1);
    let mut writer = open_by(LocalSettings { bytes_max, ..settings });
    let mut closed = Vec::new();
    for second in 1..=4 {
        let payload = Bytes::from(vec![7; 400_000]);
        let mut group = Group::new(&writer.tails, Micros::clock());
        group.append(vec![NewRecord { payload, ..record(0) }]);
        let chunks = group.finish();
        writer.commit(chunks, &[]);
        let at = Instant::now() + second * writer.retention.interval();
        writer.retention.step(&writer.store, &writer.tails, at).unwrap();
        closed.push(writer.store.segments().len() - 1);
    }
    // The first mebibyte is full with the third.
    assert_eq!(closed, [0, 0, 1, 1]);
}

/// Not a test by itself: the other one starts it as a child process.
#[tokio::test]
async fn child_whose_writer_breaks_off() {
    let Ok(directory) = std::env::var(CHILD_DIRECTORY) else { return };
    let log = LocalLog::open(LocalSettings::new(directory, "events", 1)).unwrap();
    // What `append` refuses is more than the writer can bear.
    let unheard_of = Work::Append(vec![record(-1)]);
    let _broken = log.queue.submit(unheard_of, 0).await;
}

#[test]
fn a_writer_that_breaks_off_ends_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "local::writer::tests::child_whose_writer_breaks_off", "--nocapture"])
        .env(CHILD_DIRECTORY, directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stderr);
    assert_eq!(child.status.signal(), Some(SIGABRT), "{said}");
    assert!(said.contains("the writer broke off: the local event log cannot be written"), "{said}");
}
