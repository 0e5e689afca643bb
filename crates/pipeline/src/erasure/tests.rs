//! Erasures of lakes that were loaded, with what a live log adds.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use footfall_event::schema::Table;
use footfall_event::{Day, Micros, Offset, Partition};
use footfall_lake::{Commit, FileWriter, Rewrite, TableWriter};
use footfall_log::{Kind, LocalLog, LocalSettings, NewRecord};
use footfall_sessionizer::Rules;
use tempfile::TempDir;
use uuid::Uuid;

use super::tables::{Attempt, erase_rows};
use super::*;
use crate::rewrite::{DayRange, Retention, SettledFiles, recompute, rewrite};
use crate::snapshot;
use crate::testing::{OddLog, STARTED, Shop, TOPIC, at, named, rules};

const NO_GRACE: Duration = Duration::ZERO;
const ROWS: &str = "SELECT visitor_id, count(*) FROM events GROUP BY 1 ORDER BY 1";

struct Place {
    shop: Shop,
    _log_folder: TempDir,
    log: Arc<dyn EventLog>,
}

impl Place {
    async fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let log = LocalLog::open(LocalSettings::new(folder.path(), TOPIC, 1)).unwrap();
        Place { shop: Shop::new().await, _log_folder: folder, log: Arc::new(log) }
    }

    async fn ask_for(&self, visitor_id: &str) -> Erasure {
        let erasures = Erasures::new(self.shop.lake.clone(), self.log.clone());
        let erasure = erasures.request("shop", visitor_id).await.unwrap();
        assert!(erasures.take_asked() && !erasures.take_asked());
        erasure
    }

    /// All tables, and a snapshot, speak up to `offset`.
    async fn speak(&self, from: i64, offset: i64) {
        let watermark = Some(STARTED - rules().allowed_lateness);
        self.shop.live((from, offset), watermark, offset).await;
        for table in Table::ALL {
            if !matches!(table, Table::Receipts | Table::Events) {
                self.shop.commit(table, offset, None).await;
            }
        }
        self.shop.snapshot(Offset(offset), &rules()).await;
    }

    async fn advance(&self) -> Advanced {
        self.advance_by(NO_GRACE).await
    }

    async fn advance_by(&self, grace: Duration) -> Advanced {
        advance(&self.shop.lake, self.log.as_ref(), grace).await.unwrap()
    }

    async fn found(&self, erasure: &Erasure, visitor_id: &str) -> Found {
        search(&self.shop.lake, erasure, visitor_id).await.unwrap()
    }

    async fn verify(&self) {
        let verified = crate::verify(&self.shop.lake).await.unwrap();
        assert_eq!((verified.listed, verified.left_out), (Vec::new(), Vec::new()));
    }
}

/// An event of another visitor than [`at`]'s.
fn of(visitor_id: &str, line: String) -> String {
    line.replace(r#""visitor_id":"v""#, &format!(r#""visitor_id":"{visitor_id}""#))
}

async fn load(place: &Place, hash: &str, lines: &[String]) {
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    place.shop.load(hash, &lines).await;
}

#[tokio::test]
async fn a_person_goes_from_all_tables_and_others_stay() {
    let place = Place::new().await;
    let lines = [at(1, "a", ""), at(2, "b", ""), of("w", at(3, "c", "")), of("v2", at(4, "d", ""))];
    load(&place, "x", &lines).await;
    let request = place.ask_for("v").await;
    assert!(place.found(&request, "v").await.count > 3);
    assert_eq!(place.advance().await, Advanced { waiting: 1, ..Advanced::default() });
    place.speak(0, 5).await;
    assert_eq!(place.advance().await, Advanced { done: 1, ..Advanced::default() });

    assert_eq!(place.shop.ask(ROWS).await, ["v2 1", "w 1"]);
    for table in ["sessions", "page_views"] {
        let rows = format!("SELECT count(*) FROM {table} WHERE visitor_id = 'v'");
        assert_eq!(place.shop.ask(&rows).await, ["0"], "{table}");
    }
    let proof = find(&place.shop.lake, &request.id).await.unwrap().unwrap();
    assert!(proof.is_done() && proof.visitor.is_none() && proof.sessions.is_empty());
    let rows = |table: Table| proof.tables[table.name()].rows;
    assert_eq!((rows(Table::Events), rows(Table::Sessions), rows(Table::PageViews)), (2, 1, 2));
    let found = place.found(&proof, "v").await;
    assert_eq!((found.places, found.has_newcomer), (Vec::new(), false));
    place.verify().await;
    assert_eq!(place.advance().await, Advanced::default());
}

/// Of two visitors, nothing is left of the person in what is made of events.
async fn is_gone(place: &Place, request: &Erasure) {
    for table in ["sessions", "page_views"] {
        let visitors = format!("SELECT DISTINCT visitor_id FROM {table}");
        assert_eq!(place.shop.ask(&visitors).await, ["w"], "{table}");
    }
    let proof = find(&place.shop.lake, &request.id).await.unwrap().unwrap();
    assert_eq!(place.found(&proof, "v").await.places, Vec::<String>::new());
}

async fn erase(place: &Place) -> Erasure {
    let request = place.ask_for("v").await;
    place.advance().await;
    place.speak(0, 5).await;
    assert_eq!(place.advance().await, Advanced { done: 1, ..Advanced::default() });
    request
}

#[tokio::test]
async fn sessions_go_whose_events_retention_removed() {
    let place = Place::new().await;
    load(&place, "x", &[at(1, "a", ""), of("w", at(3, "b", ""))]).await;
    let of_events = Retention(BTreeMap::from([(Table::Events, Micros::DAY)]));
    let (rules, mut settled) = (Arc::new(rules()), SettledFiles::default());
    rewrite(&place.shop.lake, &rules, &of_events, &mut settled).await.unwrap();
    assert_eq!(place.shop.ask(ROWS).await, Vec::<String>::new());
    let request = erase(&place).await;
    is_gone(&place, &request).await;
}

/// All tables but `events` have the rows of the run as it was folded again, under another session.
#[tokio::test]
async fn what_a_repair_wrote_that_died_goes_too() {
    let place = Place::new().await;
    load(&place, "x", &[at(9, "b", ""), of("w", at(9, "c", ""))]).await;
    load(&place, "y", &[at(1, "a", "")]).await;
    let (events, aside) = (place.shop.table(Table::Events), place.shop.folder.path().join("aside"));
    copy(&events, &aside);
    let (rules, retention) = (Arc::new(rules()), Retention::default());
    let mut settled = SettledFiles::default();
    let done = rewrite(&place.shop.lake, &rules, &retention, &mut settled).await.unwrap();
    assert_eq!(done.repaired.late_events, 1);
    std::fs::remove_dir_all(&events).unwrap();
    std::fs::rename(&aside, &events).unwrap();
    let unnamed = "SELECT count(*) FROM sessions WHERE session_id NOT IN \
        (SELECT session_id FROM events WHERE session_id IS NOT NULL)";
    assert_eq!(place.shop.ask(unnamed).await, ["1"]);
    let request = erase(&place).await;
    is_gone(&place, &request).await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// What a repair or a recompute made of the tables before must not bring the person into any.
#[tokio::test]
async fn a_rewrite_that_opened_its_tables_before_is_overtaken_in_each() {
    let place = Place::new().await;
    load(&place, "x", &[at(1, "a", "")]).await;
    let lake = &place.shop.lake;
    let mut writers = Vec::new();
    for table in tables::OF_PEOPLE {
        writers.push((table, TableWriter::open(lake, table).await.unwrap()));
    }
    erase(&place).await;
    for (table, mut writer) in writers {
        let rewrite = Rewrite { changes_rows: true, ..Rewrite::default() };
        assert!(!writer.rewrite(rewrite).await.unwrap(), "{table:?}");
    }
}

/// A crash behind any commit: the same is done again, and what was counted stays.
#[tokio::test]
async fn what_died_is_done_again_and_counts_the_same() {
    let place = Place::new().await;
    load(&place, "x", &[at(1, "a", ""), of("w", at(3, "c", ""))]).await;
    let request = place.ask_for("v").await;
    place.advance().await;
    place.speak(0, 5).await;
    let (lake, person) = (&place.shop.lake, Person::new("shop", "v"));
    let mut counted = None;
    for _ in 0..3 {
        let mut erasure = find(lake, &request.id).await.unwrap().unwrap();
        assert_eq!(erase_rows(lake, &mut erasure, &person).await.unwrap(), Attempt::Done);
        let now = (erasure.ranges.clone(), erasure.sessions.clone());
        assert_eq!((now.0.len(), now.1.len()), (1, 1));
        assert_eq!(*counted.get_or_insert_with(|| now.clone()), now);
        assert_eq!(erasure.tables[Table::Events.name()].rows, 1);
    }
    assert_eq!(place.advance().await.done, 1);
    place.verify().await;
}

/// A write of the request that a crash broke off is told by its age from one that goes on; behind the
/// proof nobody writes it.
#[tokio::test]
async fn what_broken_writes_left_of_a_request_goes_with_it() {
    let place = Place::new().await;
    let request = place.ask_for("v").await;
    let folder = place.shop.folder.path().join("_footfall/erasures/waiting");
    let (staged, other) = (folder.join(format!("{}.json#7", request.id)), folder.join("x.json#7"));
    for path in [&staged, &other] {
        let file = std::fs::File::create(path).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(3_600)).unwrap();
    }
    place.advance().await;
    place.speak(0, 5).await;
    assert_eq!(place.advance().await.done, 1);
    assert!(!staged.exists() && other.exists());
}

/// It died when the log had its control record and the request did not: a second one would be too late, as
/// the fold let the visitor go at the first.
#[tokio::test]
async fn a_control_record_that_was_not_kept_is_found_again() {
    let place = Place::new().await;
    let request = place.ask_for("v").await;
    let lake = &place.shop.lake;
    let mut erasure = find(lake, &request.id).await.unwrap().unwrap();
    let other = Mark::new("another".to_owned(), String::new(), "shop", "v");
    let marks = [other.record(Partition(0)), erasure.mark().record(Partition(0))];
    place.log.append(marks.to_vec()).await.unwrap();
    erasure.marked_from.insert(0, 0);
    record::keep(lake, &mut erasure).await.unwrap();
    place.advance().await;
    let erasure = find(lake, &request.id).await.unwrap().unwrap();
    assert_eq!(erasure.control_offsets, BTreeMap::from([(0, 1)]));
    assert_eq!(place.log.bounds(Partition(0)).await.unwrap().end, Offset(2));
}

/// The second means what came since the first's control record, and has one of its own when that is done.
#[tokio::test]
async fn who_is_erased_again_is_when_the_first_is_done() {
    let place = Place::new().await;
    let first = place.ask_for("v").await;
    assert_eq!(place.ask_for("v").await.id, first.id);
    assert_ne!(place.ask_for("w").await.id, first.id);
    place.advance().await;
    let second = place.ask_for("v").await;
    assert_ne!(second.id, first.id);
    let lake = &place.shop.lake;
    assert_eq!(place.advance().await.waiting, 3);
    assert!(!find(lake, &second.id).await.unwrap().unwrap().has_begun());
    // Behind the control records of the first two.
    place.speak(0, 2).await;
    assert_eq!(place.advance().await, Advanced { done: 2, waiting: 1, failed: 0 });
    assert!(find(lake, &second.id).await.unwrap().unwrap().has_begun());
}

/// Two processes carry it out, as one was taken the partition and goes on for a while.
#[tokio::test]
async fn what_another_process_took_further_is_not_overwritten() {
    let place = Place::new().await;
    load(&place, "x", &[at(1, "a", "")]).await;
    let lake = &place.shop.lake;
    let request = place.ask_for("v").await;
    place.advance().await;
    let verified = crate::verify(lake).await.unwrap();
    assert_eq!((verified.differences, verified.left_out.len()), (0, 1));
    assert!(verified.left_out[0].starts_with("everything: an erasure"));
    let mut stale = find(lake, &request.id).await.unwrap().unwrap();
    place.speak(0, 5).await;
    let mut erasure = stale.clone();
    erase_rows(lake, &mut erasure, &Person::new("shop", "v")).await.unwrap();
    let refused = record::keep(lake, &mut stale).await.unwrap_err();
    assert!(matches!(refused, crate::PipelineError::ErasureOvertaken { .. }), "{refused}");
    assert_eq!(place.advance().await.done, 1);
    // It would stand there again, with the id.
    assert!(record::keep(lake, &mut erasure).await.is_err());
    assert!(record::finish(lake, &erasure).await.is_err());
    let proof = find(lake, &request.id).await.unwrap().unwrap();
    assert_eq!(proof.tables[Table::Events.name()].rows, 1);
    assert_eq!(waiting(lake).await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_load_that_is_not_whole_is_waited_for() {
    let place = Place::new().await;
    let line = at(1, "a", "");
    place.shop.die_behind_events(&named("x"), &[&line]).await;
    place.ask_for("v").await;
    place.advance().await;
    place.speak(0, 5).await;
    assert_eq!(place.advance().await.waiting, 1);
    load(&place, "x", &[line]).await;
    assert_eq!(place.advance().await.done, 1);
    assert_eq!(place.shop.ask("SELECT count(*) FROM sessions").await, ["0"]);
}

/// Files of a load that is under way are in no version of a table, and must be there at its end.
#[tokio::test]
async fn a_load_under_way_keeps_its_files() {
    let place = Place::new().await;
    load(&place, "x", &[at(1, "a", "")]).await;
    let (lake, other) = (place.shop.lake.clone(), named("y"));
    let rows = crate::testing::rows(&other, &[&at(2, "b", "")]);
    let mut files = FileWriter::of_load(&lake, Table::Events, &other.hash);
    files.write(&rows).await.unwrap();
    let files = files.finish().await.unwrap();
    // A pipeline has yet to commit what others sent.
    let rows = crate::testing::rows(&other, &[&of("w", at(3, "c", ""))]);
    let mut of_others = FileWriter::new(&lake, Table::Events, Uuid::new_v4());
    of_others.write(&rows).await.unwrap();
    let of_others = of_others.finish().await.unwrap();
    // Its sessions may begin with the same events; a writer that died left the same.
    let standing = TableWriter::open(&lake, Table::Sessions).await.unwrap().files().unwrap();
    let standing = place.shop.table(Table::Sessions).join(standing[0].path());
    let (of_load, of_dead) = ("load-y-1.parquet", "part-1-1.parquet");
    let (of_load, of_dead) = (standing.with_file_name(of_load), standing.with_file_name(of_dead));
    for path in [&of_load, &of_dead] {
        std::fs::copy(&standing, path).unwrap();
    }
    place.ask_for("v").await;
    place.advance().await;
    place.speak(0, 5).await;
    assert_eq!(place.advance().await.done, 1);
    let mut writer = TableWriter::open(&lake, Table::Events).await.unwrap();
    writer.commit(&Commit { files, is_load: true, ..Commit::default() }).await.unwrap();
    writer.commit(&Commit { files: of_others, ..Commit::default() }).await.unwrap();
    assert_eq!(place.shop.ask(ROWS).await, ["v 1", "w 1"]);
    assert!(of_load.exists() && !of_dead.exists() && !standing.exists());
}

/// A run that joined what goes with what a stranger sent could not be taken apart.
#[tokio::test]
async fn the_repair_leaves_out_who_is_about_to_be_erased() {
    let place = Place::new().await;
    load(&place, "x", &[at(1, "a", ""), of("w", at(1, "b", ""))]).await;
    load(&place, "y", &[at(2, "c", ""), of("w", at(2, "d", ""))]).await;
    place.ask_for("v").await;
    let (rules, retention) = (Arc::new(rules()), Retention::default());
    let mut settled = SettledFiles::default();
    let done = rewrite(&place.shop.lake, &rules, &retention, &mut settled).await;
    assert_eq!(done.unwrap().repaired.late_events, 1);
    let waiting = "SELECT visitor_id FROM events WHERE late AND session_id IS NULL";
    assert_eq!(place.shop.ask(waiting).await, ["v"]);
}

/// Nor does a recomputation bring back what goes, or make one session of it and a stranger's.
#[tokio::test]
async fn a_recompute_leaves_out_who_is_about_to_be_erased() {
    let place = Place::new().await;
    load(&place, "x", &[at(1, "a", ""), of("w", at(1, "b", ""))]).await;
    place.ask_for("v").await;
    let other = Rules { slow_page_ms: 1, ..rules() };
    let (before, after) = (rules().config_id(), other.config_id());
    let always = DayRange { from: Day(0), to: Day(100_000) };
    recompute(&place.shop.lake, &Arc::new(other), always, |_| ()).await.unwrap();
    let rules = "SELECT visitor_id, config_id FROM sessions ORDER BY 1";
    assert_eq!(place.shop.ask(rules).await, [format!("v {before}"), format!("w {after}")]);
}

/// The fold lets go of the visitor at the control record: a snapshot right before it may hold events that come later.
#[tokio::test]
async fn rows_are_erased_once_a_snapshot_lies_behind_the_control_record() {
    let place = Place::new().await;
    load(&place, "x", &[at(1, "a", "")]).await;
    let payload = bytes::Bytes::new();
    let tick = NewRecord { partition: Partition(0), kind: Kind::Tick, payload };
    place.log.append(vec![tick]).await.unwrap();
    let request = place.ask_for("v").await;
    place.advance().await;
    let erasure = find(&place.shop.lake, &request.id).await.unwrap().unwrap();
    assert_eq!(erasure.control_offsets, BTreeMap::from([(0, 1)]));
    place.speak(0, 1).await;
    assert_eq!(place.advance().await, Advanced { waiting: 1, ..Advanced::default() });
    assert_eq!(place.shop.ask(ROWS).await, ["v 1"]);
    place.speak(1, 2).await;
    assert_eq!(place.advance().await, Advanced { done: 1, ..Advanced::default() });
    // The snapshot at the control record, which may hold something of the visitor, went too.
    let left = snapshot::offsets(&place.shop.lake, TOPIC, Partition(0)).await.unwrap();
    assert_eq!(left, [Offset(2)]);
}

/// A session of events that `events` has yet to tell of may be a newcomer's.
#[tokio::test]
async fn rows_are_erased_when_events_speaks_as_far_as_what_is_made_of_it() {
    let place = Place::new().await;
    load(&place, "x", &[at(1, "a", "")]).await;
    place.ask_for("v").await;
    place.advance().await;
    place.speak(0, 5).await;
    place.shop.commit(Table::Sessions, 7, None).await;
    assert_eq!(place.advance().await, Advanced { waiting: 1, ..Advanced::default() });
    assert_eq!(place.shop.ask(ROWS).await, ["v 1"]);
    place.shop.commit(Table::Events, 7, None).await;
    assert_eq!(place.advance().await, Advanced { done: 1, ..Advanced::default() });
}

/// Who reads a version that is older than the erasure reads it to its end.
#[tokio::test]
async fn old_files_stay_for_the_grace() {
    let place = Place::new().await;
    load(&place, "x", &[at(1, "a", "")]).await;
    let before = TableWriter::open(&place.shop.lake, Table::Events).await.unwrap().files().unwrap();
    let file = place.shop.table(Table::Events).join(before[0].path());
    place.ask_for("v").await;
    place.advance().await;
    place.speak(0, 5).await;
    let hour = Duration::from_secs(3_600);
    for _ in 0..2 {
        assert_eq!(place.advance_by(hour).await, Advanced { waiting: 1, ..Advanced::default() });
        assert_eq!(place.shop.ask(ROWS).await, Vec::<String>::new());
        assert!(file.exists());
    }
    assert_eq!(place.advance().await, Advanced { done: 1, ..Advanced::default() });
    assert!(!file.exists());
}

/// Kept by a clock that was a year ahead, and is put right.
#[tokio::test]
async fn a_grace_that_a_wrong_clock_began_begins_again() {
    let place = Place::new().await;
    load(&place, "x", &[at(1, "a", "")]).await;
    let request = place.ask_for("v").await;
    place.advance_by(Duration::from_secs(3_600)).await;
    place.speak(0, 5).await;
    place.advance_by(Duration::from_secs(3_600)).await;
    let mut erased = find(&place.shop.lake, &request.id).await.unwrap().unwrap();
    assert!(erased.log_erased_at.is_some());
    let ahead = Micros::clock() + Micros(365 * Micros::DAY.0);
    erased.log_erased_at = Some(ahead.to_string());
    record::keep(&place.shop.lake, &mut erased).await.unwrap();
    assert_eq!(place.advance().await, Advanced { waiting: 1, ..Advanced::default() });
    assert_eq!(place.advance().await, Advanced { done: 1, ..Advanced::default() });
}

/// It may die before it is told where the log has its control record: that is looked for again.
#[tokio::test]
async fn where_a_control_record_is_looked_for_is_kept_before_it_is_written() {
    let log = Arc::new(OddLog::new());
    let place = Place { log: log.clone(), ..Place::new().await };
    let request = place.ask_for("v").await;
    log.loses_answer.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(place.advance().await.failed, 1);
    assert_eq!(place.advance().await.failed, 0);
    let erasure = find(&place.shop.lake, &request.id).await.unwrap().unwrap();
    assert_eq!(erasure.control_offsets, BTreeMap::from([(0, 0)]));
    assert_eq!(place.log.bounds(Partition(0)).await.unwrap().end, Offset(1));
}

#[tokio::test]
async fn a_request_that_no_event_fits_is_refused() {
    let place = Place::new().await;
    let erasures = Erasures::new(place.shop.lake.clone(), place.log.clone());
    let long = "x".repeat(VISITOR_BYTES_MAX + 1);
    for (site, visitor_id) in [("no site", "v"), ("shop", ""), ("shop", &long)] {
        let refused = erasures.request(site, visitor_id).await.err();
        assert!(matches!(refused, Some(Refused::Bad(_))), "{site}");
    }
    assert_eq!(waiting(&place.shop.lake).await.unwrap().len(), 0);
    assert!(find(&place.shop.lake, "../lake").await.unwrap().is_none());
}

/// A time that could not be read would end no grace.
#[test]
fn times_of_a_proof_can_be_read_again() {
    let now = Micros::clock();
    assert_eq!(footfall_event::parse_time(&now.to_string()).ok(), Some(now));
}
