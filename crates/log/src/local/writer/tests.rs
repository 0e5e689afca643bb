//! Append times when the clock steps, a writer that breaks off, and one whose disk does not sync.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use super::super::Work;
use super::*;
use crate::{LocalLog, LocalSettings};

const CHILD_DIRECTORY: &str = "FOOTFALL_TEST_BROKEN_WRITER";
const CHILD_GROUP: &str = "FOOTFALL_TEST_UNSYNCED_GROUP";
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
    Writer { store: Arc::new(store), tails, retention, packer: Packer::default() }
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
        let chunks = group.finish(&mut writer.packer);
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
        // As no packing makes it smaller.
        let mut noise = vec![0; 400_000];
        rand::fill(&mut noise[..]);
        let payload = Bytes::from(noise);
        let mut group = Group::new(&writer.tails, Micros::clock());
        group.append(vec![NewRecord { payload, ..record(0) }]);
        let chunks = group.finish(&mut writer.packer);
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
    let ended = run_child("child_whose_writer_breaks_off", "");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.signal(), Some(SIGABRT), "{said}");
    assert!(said.contains("the writer broke off: the local event log cannot be written"), "{said}");
}

/// Not a test by itself: the other one starts it as a child process.
#[tokio::test]
async fn child_that_writes_a_group_to_a_disk_that_does_not_sync() {
    let Ok(directory) = std::env::var(CHILD_DIRECTORY) else { return };
    let mut writer = open(Path::new(&directory));
    refuse_to_sync_the_journal();
    let queue = Queue::new(1000);
    for work in std::env::var(CHILD_GROUP).unwrap().split(' ') {
        let work = match work {
            "append" => Work::Append(vec![record(0)]),
            "publish" => Work::Publish { topic: "signals".to_owned(), frames: vec![Bytes::new()] },
            _ => Work::Release(vec![(Partition(0), Offset(1))]),
        };
        assert!(futures::poll!(std::pin::pin!(queue.submit(work, 0))).is_pending());
    }
    writer.write(queue.take_group(Duration::ZERO).unwrap());
}

/// Puts a device in the place of the journal that takes all and syncs nothing.
#[allow(unsafe_code, reason = "another file in the place of one that the database has open")]
fn refuse_to_sync_the_journal() {
    let open_files = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    let is_journal = |path: &std::path::PathBuf| {
        std::fs::read_link(path).is_ok_and(|file| file.extension().is_some_and(|it| it == "jnl"))
    };
    let journals: Vec<_> = open_files.filter(is_journal).collect();
    let [journal] = &journals[..] else { panic!("{journals:?} are open") };
    let journal = journal.file_name().unwrap().to_str().unwrap().parse().unwrap();
    // The database closes it.
    let mut journal = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(journal) });
    let device = File::options().write(true).open("/dev/null").unwrap();
    rustix::io::dup2(device, &mut journal).unwrap();
}

#[test]
fn a_group_that_is_not_synced_ends_the_process() {
    for group in ["append", "publish", "release", "append release", "append publish release"] {
        let ended = run_child("child_that_writes_a_group_to_a_disk_that_does_not_sync", group);
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.signal(), Some(SIGABRT), "{group}: {said}");
        assert!(said.contains("Invalid argument"), "{group}: {said}");
    }
}

fn run_child(name: &str, group: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("local::writer::tests::{name}"), "--nocapture"])
        .env(CHILD_DIRECTORY, directory.path())
        .env(CHILD_GROUP, group)
        .output()
        .unwrap()
}
