//! The folders of a log, which name what it has: they are synced, and nothing goes on where they are not.

use std::process::Command;

use super::*;

const CHILD_DIRECTORY: &str = "FOOTFALL_TEST_NEW_LOG";

/// Not a test by itself: the other one starts it as a child process.
#[test]
fn child_that_makes_a_log() {
    let Ok(directory) = std::env::var(CHILD_DIRECTORY) else { return };
    Store::open(LocalSettings::new(directory, "events", 1)).unwrap();
}

/// The folder that a log's own lies in is made with it, by a first start.
#[test]
fn the_folders_that_name_a_new_log_are_synced() {
    let folder = tempfile::tempdir().unwrap();
    let above = folder.path().canonicalize().unwrap();
    let directory = above.join("data/log");
    let traces = tempfile::tempdir().unwrap();
    let ended = Command::new("strace")
        // Each thread writes its own file, so that no call is cut in two by another's.
        .args(["-ff", "-y", "-e", "trace=fsync", "-o"])
        .arg(traces.path().join("thread"))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "local::store::tests::child_that_makes_a_log"])
        .env(CHILD_DIRECTORY, &directory)
        .output()
        .expect("strace is installed");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
    let threads = std::fs::read_dir(traces.path()).unwrap();
    let calls = threads.map(|thread| std::fs::read_to_string(thread.unwrap().path()).unwrap());
    let calls: String = calls.collect();
    // The database syncs its own folder and those within.
    for synced in [&above, &above.join("data")] {
        let file = format!("<{}>)", synced.display());
        let is_sync = |call: &&str| call.contains(&file) && call.ends_with("= 0");
        assert!(calls.lines().any(|call| is_sync(&call)), "{file}: {calls}");
    }
}

/// Else a power failure could take its folder, with the records that were acknowledged since.
#[test]
fn a_segment_whose_folder_cannot_be_synced_is_none_of_the_logs() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, tails) = Store::open(LocalSettings::new(folder.path(), "events", 1)).unwrap();
    store.settings.directory = "/dev/null/no-folder".into();
    let made = store.make_segment(1, &tails, Micros::clock());
    assert!(matches!(made, Err(LogError::Io { .. })));
    assert!(store.read_meta(&layout::segment_key(1)).unwrap().is_none());
}
