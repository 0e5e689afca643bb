//! Breaking a local log's disk at a chosen place, as the end of a process or of a disk does.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::store::Store;

/// No test waits longer than this for a commit to fail.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes every further commit fail, and nothing else: a flush that fails is the end of them.
pub fn fail_commits(store: &Store) {
    without_tables(store.meta.path(), || {
        store.meta.insert("test", "").unwrap();
        store.meta.rotate_memtable().unwrap();
        let began = Instant::now();
        while store.commit(|batch, store| batch.insert(&store.meta, "test", "")).is_ok() {
            assert!(began.elapsed() < PATIENCE, "commits never failed");
            thread::sleep(Duration::from_millis(1));
        }
    });
}

/// Does something while no keyspace can be deleted: the database cannot write that one is gone.
pub fn fail_deletions<T>(store: &Store, act: impl FnOnce() -> T) -> T {
    without_tables(&store.settings.directory.join("keyspaces/0"), act)
}

fn without_tables<T>(keyspace: &Path, act: impl FnOnce() -> T) -> T {
    let (tables, away) = (keyspace.join("tables"), keyspace.join("away"));
    std::fs::rename(&tables, &away).unwrap();
    let acted = act();
    std::fs::rename(away, tables).unwrap();
    acted
}
