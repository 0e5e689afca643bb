//! The machine loses power while the disk writes an append: some of its bytes are there, the others are not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use footfall_event::{Offset, Partition};
use footfall_log::{EventLog, LocalLog, LocalSettings};
use tempfile::TempDir;

use crate::harness::{PARTITIONS, event};

/// How many places within an append the write breaks off at.
const CUTS: usize = 16;

fn settings(directory: &Path) -> LocalSettings {
    LocalSettings::new(directory, "events", PARTITIONS)
}

/// All files below a folder, with what they hold.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), bytes);
            }
        }
    }
    found
}

/// A disk on which the files stand so.
fn disk(files: &BTreeMap<PathBuf, Vec<u8>>) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    directory
}

/// The payloads that a partition holds from its beginning to its end.
async fn payloads(log: &LocalLog, partition: i32) -> Vec<String> {
    let mut payloads = Vec::new();
    for offset in 0..log.bounds(Partition(partition)).await.unwrap().end.0 {
        let record = log.read_one(Partition(partition), Offset(offset)).await.unwrap().unwrap();
        payloads.push(String::from_utf8(record.payload.to_vec()).unwrap());
    }
    payloads
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_breaks_off_is_there_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let log = LocalLog::open(settings(directory.path())).unwrap();
    let of = |numbers: std::ops::Range<usize>| -> Vec<_> {
        numbers.map(|number| event((number % 2) as i32, format!("payload {number}"))).collect()
    };
    log.append(of(0..6)).await.unwrap();
    let before = files(directory.path());
    log.append(of(6..10)).await.unwrap();
    // As a power failure leaves them: what closing the log writes is not there.
    let after = files(directory.path());
    drop(log);
    let changed: Vec<&PathBuf> = after
        .iter()
        .filter(|(path, bytes)| before.get(*path) != Some(bytes))
        .map(|it| it.0)
        .collect();
    let [written] = changed[..] else { panic!("an append changes {changed:?}") };
    let (old, new) = (&before[written], &after[written]);
    let differs = |at: &usize| old.get(*at) != new.get(*at);
    let (first, last) =
        ((0..new.len()).find(differs).unwrap(), (0..new.len()).rfind(differs).unwrap());
    let mut whole = 0;
    for cut in (0..=CUTS).map(|number| first + (last + 1 - first) * number / CUTS) {
        for rest in [None, Some(0), Some(0xa5)] {
            let mut torn = new.clone();
            match rest {
                // The file did not grow as far.
                None => torn.truncate(cut),
                Some(byte) => torn[cut..last + 1].fill(byte),
            }
            let mut found = after.clone();
            found.insert(written.clone(), torn);
            let disk = disk(&found);
            let told = format!("byte {cut} of {first} to {last}, then {rest:?}");
            let log = LocalLog::open(settings(disk.path()))
                .unwrap_or_else(|error| panic!("{told}: {error}"));
            let held = [payloads(&log, 0).await, payloads(&log, 1).await];
            let expected = |count: usize| {
                [0, 1].map(|partition| {
                    let numbers = (0..count).filter(|number| number % 2 == partition);
                    numbers.map(|number| format!("payload {number}")).collect::<Vec<_>>()
                })
            };
            assert!(held == expected(6) || held == expected(10), "{told}: {held:?}");
            whole += usize::from(held == expected(10));
            let appended = log.append(of(10..12)).await.unwrap();
            let ends = held.map(|held| held.len() as i64);
            let offsets: Vec<i64> = appended.iter().map(|appended| appended.offset.0).collect();
            assert_eq!(offsets, ends, "{told}");
        }
    }
    assert!(whole >= 3, "the whole append is there {whole} times");
}
