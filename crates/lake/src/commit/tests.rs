//! Two writers on one table, answers that were lost, and files that are too old: of the real log, and of
//! its model.

use std::sync::atomic::{AtomicUsize, Ordering};

use footfall_event::Micros;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use tokio::time::Instant;

use super::*;
use crate::testing::{Nothing, TABLE, files, ids, made_lake, modelled_lake_through, settings};
use crate::{Between, DeltaLogs, ModelTables, StoredLogs};

/// Each runs on the log as Delta's library keeps it, and on the model.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod stored {
            $(#[tokio::test]
            async fn $name() {
                let (_folder, lake) = crate::testing::made_lake().await;
                super::$name(&lake).await;
            })*
        }
        mod modelled {
            $(#[tokio::test]
            async fn $name() {
                let lake = crate::testing::modelled_lake();
                lake.make(&crate::testing::settings()).await.unwrap();
                super::$name(&lake).await;
            })*
        }
    };
}

on_both! {
    files_and_progress_appear_together
    the_second_of_two_writers_is_told_where_the_first_got
    a_version_that_was_not_seen_is_in_the_way
    progress_that_others_made_is_seen_before_the_next_attempt
    a_commit_whose_answer_was_lost_is_known_as_ones_own
    equal_progress_with_files_of_another_is_no_commit_of_ones_own
    an_append_goes_on_beside_a_rewrite
    of_two_rewrites_one_is_told_that_the_other_was_first
}

async fn open(lake: &Lake) -> TableWriter {
    TableWriter::open(lake, TABLE).await.unwrap()
}

fn commit(files: Vec<WrittenFile>, progress: &[(&str, Option<i64>, i64)]) -> Commit {
    let progress = progress.iter().map(|(id, from, to)| Progress {
        app_id: (*id).into(),
        from: *from,
        to: *to,
    });
    Commit { files, progress: progress.collect(), ..Commit::default() }
}

fn lost(standing: &[(&str, Option<i64>)]) -> Outcome {
    let standing = standing.iter().map(|(id, version)| ((*id).to_owned(), *version));
    Outcome::Lost { standing: standing.collect() }
}

fn committed(version: u64) -> Outcome {
    Outcome::Committed { version }
}

async fn files_and_progress_appear_together(lake: &Lake) {
    let mut writer = open(lake).await;
    let written = files(lake, "a").await;
    assert!(ids(lake).await.is_empty());
    assert_eq!(writer.progress("p").await.unwrap(), None);
    let first = commit(written, &[("p", None, 10), ("q", None, 0)]);
    assert_eq!(writer.commit(&first).await.unwrap(), committed(1));
    assert_eq!(ids(lake).await, ["a"]);
    for writer in [&mut writer, &mut open(lake).await] {
        assert_eq!(writer.progress("p").await.unwrap(), Some(10));
        assert_eq!(writer.progress("q").await.unwrap(), Some(0));
        assert_eq!(writer.version(), Some(1));
    }
    let next = commit(files(lake, "b").await, &[("p", Some(10), 11)]);
    assert_eq!(writer.commit(&next).await.unwrap(), committed(2));
    assert_eq!(ids(lake).await, ["a", "b"]);
}

async fn the_second_of_two_writers_is_told_where_the_first_got(lake: &Lake) {
    let (mut first, mut second) = (open(lake).await, open(lake).await);
    let theirs = commit(files(lake, "theirs").await, &[("p", None, 10)]);
    first.commit(&theirs).await.unwrap();
    // Its snapshot does not have the other's commit, so the conflict is Delta's to find.
    let ours = commit(files(lake, "ours").await, &[("p", None, 12), ("q", None, 5)]);
    assert_eq!(second.commit(&ours).await.unwrap(), lost(&[("p", Some(10))]));
    // The snapshot has it, so it is found before anything is tried.
    assert_eq!(second.commit(&ours).await.unwrap(), lost(&[("p", Some(10))]));
    assert_eq!(ids(lake).await, ["theirs"]);
    let rest = commit(files(lake, "rest").await, &[("p", Some(10), 12), ("q", None, 5)]);
    assert_eq!(second.commit(&rest).await.unwrap(), committed(2));
    assert_eq!(ids(lake).await, ["rest", "theirs"]);
}

/// It may be one of a job that deleted the commit's files: Delta's library would commit behind it all the same.
async fn a_version_that_was_not_seen_is_in_the_way(lake: &Lake) {
    let (mut ours, mut theirs) = (open(lake).await, open(lake).await);
    theirs.commit(&commit(files(lake, "theirs").await, &[("q", None, 1)])).await.unwrap();
    let other = commit(files(lake, "ours").await, &[("p", None, 1)]);
    let failed = ours.try_commit(&other).await.unwrap_err();
    assert!(was_overtaken(&failed), "{failed}");
    assert_eq!(ids(lake).await, ["theirs"]);
    assert_eq!(ours.commit(&other).await.unwrap(), committed(2));
    assert_eq!(ids(lake).await, ["ours", "theirs"]);
}

async fn progress_that_others_made_is_seen_before_the_next_attempt(lake: &Lake) {
    let mut ours = open(lake).await;
    ours.commit(&commit(files(lake, "a").await, &[("q", None, 50)])).await.unwrap();
    let mut theirs = open(lake).await;
    let moved = commit(files(lake, "50 to 80").await, &[("q", Some(50), 80)]);
    assert_eq!(theirs.commit(&moved).await.unwrap(), committed(2));
    // Nobody else moves p, so this lands behind their commit.
    let other = commit(files(lake, "p").await, &[("p", None, 1)]);
    assert_eq!(ours.commit(&other).await.unwrap(), committed(3));
    let stale = commit(files(lake, "50 to 70").await, &[("p", Some(1), 2), ("q", Some(50), 70)]);
    assert_eq!(ours.commit(&stale).await.unwrap(), lost(&[("q", Some(80))]));
    assert_eq!(ids(lake).await, ["50 to 80", "a", "p"]);
    assert_eq!(open(lake).await.progress("q").await.unwrap(), Some(80));
    assert_eq!(open(lake).await.progress("p").await.unwrap(), Some(1));
}

/// The same commit by a writer that does not know of it is what a writer tries again whose answer
/// was lost on the way.
async fn a_commit_whose_answer_was_lost_is_known_as_ones_own(lake: &Lake) {
    let (mut heard, mut unheard) = (open(lake).await, open(lake).await);
    let with_files = commit(files(lake, "a").await, &[("p", None, 10)]);
    assert_eq!(heard.commit(&with_files).await.unwrap(), committed(1));
    assert_eq!(unheard.commit(&with_files).await.unwrap(), committed(1));
    let without = commit(Vec::new(), &[("p", Some(10), 20), ("q", None, 1)]);
    assert_eq!(heard.commit(&without).await.unwrap(), committed(2));
    assert_eq!(unheard.commit(&without).await.unwrap(), committed(2));
    assert_eq!(ids(lake).await, ["a"]);
}

async fn equal_progress_with_files_of_another_is_no_commit_of_ones_own(lake: &Lake) {
    let (mut first, mut second) = (open(lake).await, open(lake).await);
    first.commit(&commit(files(lake, "theirs").await, &[("p", None, 10)])).await.unwrap();
    let ours = commit(files(lake, "ours").await, &[("p", None, 10)]);
    assert_eq!(second.commit(&ours).await.unwrap(), lost(&[("p", Some(10))]));
    assert_eq!(ids(lake).await, ["theirs"]);
}

/// A look-up that fails, of those of one process.
#[derive(Debug)]
struct FailsAtLook(AtomicUsize);

#[async_trait::async_trait]
impl Between for FailsAtLook {
    async fn before(&self, what: &str) -> Result<(), String> {
        let fails = what.starts_with("look") && self.0.fetch_sub(1, Ordering::Relaxed) == 0;
        if fails { Err("the log is gone".to_owned()) } else { Ok(()) }
    }

    async fn after(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

/// Else one id would be as it was before, and the commit behind what came since.
#[tokio::test]
async fn all_ids_of_a_commit_are_looked_up_in_one_version() {
    let (store, tables) = (Arc::new(InMemory::new()), ModelTables::default());
    let lake = modelled_lake_through(&store, &tables, Arc::new(Nothing));
    lake.make(&settings()).await.unwrap();
    let others = Arc::new(FailsAtLook(AtomicUsize::new(1)));
    let mut ours = open(&modelled_lake_through(&store, &tables, others)).await;
    let theirs = commit(files(&lake, "theirs").await, &[("p", None, 20)]);
    open(&lake).await.commit(&theirs).await.unwrap();
    let both = commit(files(&lake, "ours").await, &[("p", None, 15), ("q", None, 5)]);
    assert_eq!(ours.commit(&both).await.unwrap(), lost(&[("p", Some(20))]));
    assert_eq!(ids(&lake).await, ["theirs"]);
}

/// A writer that stands still for more than an hour at its first write, while another makes a version.
#[derive(Debug)]
struct StandsStill {
    others: Lake,
    writes: AtomicUsize,
}

#[async_trait::async_trait]
impl Between for StandsStill {
    async fn before(&self, what: &str) -> Result<(), String> {
        let is_write = what.starts_with("commit") || what.starts_with("rewrite");
        if is_write && self.writes.fetch_add(1, Ordering::Relaxed) == 0 {
            let theirs = commit(Vec::new(), &[("q", None, 1)]);
            open(&self.others).await.commit(&theirs).await.unwrap();
            tokio::time::sleep(Duration::from_secs(61 * 60)).await;
        }
        Ok(())
    }

    async fn after(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

/// Its files may have been deleted meanwhile: whoever was overtaken looks at their age again.
#[tokio::test(start_paused = true)]
async fn a_file_ages_while_its_writer_is_overtaken() {
    for is_rewrite in [false, true] {
        let (store, tables) = (Arc::new(InMemory::new()), ModelTables::default());
        let others = modelled_lake_through(&store, &tables, Arc::new(Nothing));
        others.make(&settings()).await.unwrap();
        let first = commit(files(&others, "a").await, &[("p", None, 1)]);
        open(&others).await.commit(&first).await.unwrap();
        let stands_still = StandsStill { others: others.clone(), writes: AtomicUsize::new(0) };
        let lake = modelled_lake_through(&store, &tables, Arc::new(stands_still));
        let mut ours = open(&lake).await;
        let refused = if is_rewrite {
            let rewrite = rewritten(&ours, &lake, "b", false).await;
            ours.rewrite(rewrite).await.unwrap_err()
        } else {
            let next = commit(files(&lake, "b").await, &[("p", Some(1), 2)]);
            ours.commit(&next).await.unwrap_err()
        };
        assert!(matches!(refused, LakeError::Stale { table: TABLE, minutes: 61 }), "{refused}");
        assert_eq!(ids(&others).await, ["a"]);
    }
}

#[tokio::test]
async fn a_file_is_too_old_by_either_clock() {
    const MINUTE: u64 = 60;
    let (_folder, lake) = made_lake().await;
    let mut writer = open(&lake).await;
    let aged = |file: &WrittenFile, wall_minutes: i64, monotonic_minutes: u64| {
        let mut file = file.clone();
        file.finished.wall = Micros::clock() - Micros(wall_minutes * Micros::MINUTE.0);
        let age = Duration::from_secs(monotonic_minutes * MINUTE);
        file.finished.monotonic = Instant::now().checked_sub(age).unwrap();
        vec![file]
    };
    let file = files(&lake, "a").await.remove(0);
    for (wall, monotonic) in [(61, 0), (0, 61), (-600, 61)] {
        let stale = commit(aged(&file, wall, monotonic), &[("p", None, 1)]);
        let refused = writer.commit(&stale).await.unwrap_err();
        assert!(matches!(refused, LakeError::Stale { table: TABLE, minutes: 61 }), "{refused}");
        let load = Commit { is_load: true, ..commit(aged(&file, 721, 0), &[("p", None, 1)]) };
        let refused = writer.commit(&load).await.unwrap_err();
        assert!(matches!(refused, LakeError::Stale { minutes: 721, .. }), "{refused}");
    }
    assert!(ids(&lake).await.is_empty());
    let young = commit(aged(&file, 59, 59), &[("p", None, 1)]);
    assert_eq!(writer.commit(&young).await.unwrap(), committed(1));
    let file = files(&lake, "b").await.remove(0);
    let load = Commit { is_load: true, ..commit(aged(&file, 719, 719), &[("p", Some(1), 2)]) };
    assert_eq!(writer.commit(&load).await.unwrap(), committed(2));
    assert_eq!(ids(&lake).await, ["a", "b"]);
    let file = files(&lake, "c").await.remove(0);
    let rewrite = |wall, monotonic| {
        let (replaced, files) = (writer.files().unwrap(), aged(&file, wall, monotonic));
        Rewrite { replaced, files, ..Rewrite::default() }
    };
    let (stale, young) = (rewrite(61, 0), rewrite(59, 59));
    let refused = writer.rewrite(stale).await.unwrap_err();
    assert!(matches!(refused, LakeError::Stale { table: TABLE, minutes: 61 }), "{refused}");
    assert_eq!(ids(&lake).await, ["a", "b"]);
    assert!(writer.rewrite(young).await.unwrap());
    assert_eq!(ids(&lake).await, ["c"]);
}

/// It may be in the store, where `VACUUM` sees it, long before the store says so.
#[tokio::test(start_paused = true)]
async fn a_file_ages_while_it_is_stored() {
    let logs = ModelTables::default().reached_through(Arc::new(Nothing));
    let lake = slow_lake(Duration::from_secs(61 * 60), Arc::new(logs));
    lake.make(&settings()).await.unwrap();
    let stale = commit(files(&lake, "a").await, &[("p", None, 1)]);
    let refused = open(&lake).await.commit(&stale).await.unwrap_err();
    assert!(matches!(refused, LakeError::Stale { table: TABLE, minutes: 61 }), "{refused}");
    assert!(ids(&lake).await.is_empty());
}

/// Its version may be among those that were deleted meanwhile.
#[tokio::test(start_paused = true)]
async fn an_answer_that_took_long_is_taken_for_lost() {
    let lake = slow_lake(Duration::from_secs(61), Arc::new(StoredLogs));
    lake.make(&settings()).await.unwrap();
    let mut writer = open(&lake).await;
    let first = commit(files(&lake, "a").await, &[("p", None, 10)]);
    writer.try_commit(&first).await.unwrap_err();
    assert_eq!(writer.version(), Some(0), "it goes on from what it knows to stand");
    assert_eq!(writer.commit(&first).await.unwrap(), committed(1));
    let next = commit(files(&lake, "b").await, &[("p", Some(10), 11)]);
    assert_eq!(writer.commit(&next).await.unwrap(), committed(2));
    assert_eq!(ids(&lake).await, ["a", "b"]);
}

/// In memory; each write takes so long.
fn slow_lake(wait_put_per_call: Duration, logs: Arc<dyn DeltaLogs>) -> Lake {
    let slow = ThrottleConfig { wait_put_per_call, ..ThrottleConfig::default() };
    Lake::in_store(Arc::new(ThrottledStore::new(InMemory::new(), slow)), logs).unwrap()
}

#[tokio::test]
async fn a_table_that_was_not_made_cannot_be_written() {
    let (_folder, stored) = crate::testing::location();
    for lake in [stored, crate::testing::modelled_lake()] {
        let refused = TableWriter::open(&lake, TABLE).await.err().unwrap();
        assert!(matches!(refused, LakeError::Delta { table: TABLE, .. }), "{refused}");
    }
}

async fn rewritten(writer: &TableWriter, lake: &Lake, id: &str, changes_rows: bool) -> Rewrite {
    let replaced = writer.files().unwrap();
    Rewrite { replaced, files: files(lake, id).await, changes_rows, marks: Vec::new() }
}

async fn an_append_goes_on_beside_a_rewrite(lake: &Lake) {
    for changes_rows in [false, true] {
        let (mut appends, mut rewrites) = (open(lake).await, open(lake).await);
        let from = appends.progress("p").await.unwrap();
        let first = commit(files(lake, "old").await, &[("p", from, 10)]);
        appends.commit(&first).await.unwrap();
        rewrites.reload().await.unwrap();
        let rewrite = rewritten(&rewrites, lake, "new", changes_rows).await;
        assert!(rewrites.rewrite(rewrite).await.unwrap());
        // Its snapshot has the file that is gone.
        let next = commit(files(lake, "next").await, &[("p", Some(10), 11)]);
        assert!(matches!(appends.commit(&next).await.unwrap(), Outcome::Committed { .. }));
        assert_eq!(ids(lake).await, ["new", "next"]);
        // And a rewrite goes on beside an append.
        rewrites.reload().await.unwrap();
        let rewrite = rewritten(&rewrites, lake, "newer", changes_rows).await;
        let last = commit(files(lake, "last").await, &[("p", Some(11), 12)]);
        appends.commit(&last).await.unwrap();
        assert!(rewrites.rewrite(rewrite).await.unwrap());
        assert_eq!(ids(lake).await, ["last", "newer"]);
        let all = Rewrite { replaced: open(lake).await.files().unwrap(), ..Rewrite::default() };
        assert!(open(lake).await.rewrite(all).await.unwrap());
        assert_eq!(open(lake).await.progress("p").await.unwrap(), Some(12));
        assert!(ids(lake).await.is_empty());
    }
}

async fn of_two_rewrites_one_is_told_that_the_other_was_first(lake: &Lake) {
    open(lake).await.commit(&commit(files(lake, "a").await, &[("p", None, 1)])).await.unwrap();
    for changes_rows in [false, true] {
        let (mut first, mut second) = (open(lake).await, open(lake).await);
        let theirs = rewritten(&first, lake, "theirs", false).await;
        let ours = rewritten(&second, lake, "ours", changes_rows).await;
        assert!(first.rewrite(theirs).await.unwrap());
        assert!(!second.rewrite(ours).await.unwrap());
        assert_eq!(ids(lake).await, ["theirs"]);
        // It has the other's from then on.
        let again = rewritten(&second, lake, "again", changes_rows).await;
        assert!(second.rewrite(again).await.unwrap());
        assert_eq!(ids(lake).await, ["again"]);
    }
    // Though neither takes anything away: both may add the first row of one session.
    let (mut first, mut second) = (open(lake).await, open(lake).await);
    let mut adds = Vec::new();
    for id in ["ours", "theirs"] {
        adds.push(Rewrite { files: files(lake, id).await, ..Rewrite::default() });
    }
    assert!(first.rewrite(adds.remove(1)).await.unwrap());
    assert!(!second.rewrite(adds.remove(0)).await.unwrap());
    assert_eq!(ids(lake).await, ["again", "theirs"]);
}
