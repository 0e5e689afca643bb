//! Starts of partitions whose log is not the one that tables and snapshots speak of.

use footfall_lake::{Commit, Progress, TableWriter, app_id, appended_app_id};
use footfall_log::{LocalLog, LocalSettings};
use footfall_sessionizer::Conditions;
use prometheus::Registry;
use tempfile::TempDir;

use super::*;
use crate::Metrics;
use crate::testing::{OddLog, Shop, TOPIC, rules};

const PARTITION: Partition = Partition(0);

/// A lake, and a log of so many records.
struct Place {
    shop: Shop,
    _folder: TempDir,
    log: LocalLog,
}

impl Place {
    async fn new(records: usize) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let log = LocalLog::open(LocalSettings::new(folder.path(), TOPIC, 1)).unwrap();
        let tick = NewRecord { partition: PARTITION, kind: Kind::Tick, payload: Bytes::new() };
        log.append(vec![tick; records]).await.unwrap();
        Place { shop: Shop::new().await, _folder: folder, log }
    }

    async fn snapshot(&self) {
        self.shop.snapshot(Offset(0), &rules()).await;
    }

    /// `events` speaks up to an offset, and tells when the record before was appended.
    async fn speak(&self, to: i64, append_time: Micros) {
        let [app_id, mark] =
            [app_id, appended_app_id].map(|id| id(Table::Events, TOPIC, PARTITION));
        let progress = vec![Progress { app_id, from: None, to }];
        let marks = vec![(mark, append_time.0)];
        let mut events = TableWriter::open(&self.shop.lake, Table::Events).await.unwrap();
        events.commit(&Commit { progress, marks, ..Commit::default() }).await.unwrap();
    }

    async fn start(&self) -> Result<Start, PipelineError> {
        start_of(&self.shop, &self.log).await
    }
}

async fn start_of(shop: &Shop, log: &dyn EventLog) -> Result<Start, PipelineError> {
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let committer = Committer::open(&shop.lake, TOPIC, metrics).await.unwrap();
    start(log, &shop.lake, &committer, PARTITION).await
}

/// New records would have the offsets of those that are gone, and be left out as written.
#[tokio::test]
async fn a_log_that_ends_before_what_any_table_has_is_lost() {
    let place = Place::new(3).await;
    place.snapshot().await;
    place.shop.commit(Table::Sessions, 2, None).await;
    place.shop.commit(Table::Events, 5, None).await;
    match place.start().await.err().unwrap() {
        PipelineError::LogLost { from, to, .. } => assert_eq!((from, to), (Offset(3), Offset(5))),
        other => panic!("{other}"),
    }
    let place = Place::new(5).await;
    place.snapshot().await;
    place.shop.commit(Table::Events, 5, None).await;
    assert!(matches!(place.start().await.unwrap(), Start::Fold { read_from: Offset(0), .. }));
}

/// By its length a log that has grown since is not to be told from the one that was read.
#[tokio::test]
async fn a_log_that_lost_records_and_grew_is_another() {
    for has_snapshot in [false, true] {
        for is_same in [true, false] {
            let place = Place::new(5).await;
            if has_snapshot {
                place.snapshot().await;
            }
            let third = place.log.read_one(PARTITION, Offset(2)).await.unwrap().unwrap();
            let other = Micros(if is_same { 0 } else { 1 });
            place.speak(3, third.append_time - other).await;
            let refused = place.start().await.err();
            let is_told =
                matches!(refused, Some(PipelineError::LogReplaced { offset: Offset(2), .. }));
            assert_eq!((is_told, refused.is_none()), (!is_same, is_same), "{has_snapshot}");
        }
    }
}

/// A pipeline died behind its first commit, before its first snapshot: what it held is in the log alone.
#[tokio::test]
async fn without_a_snapshot_the_log_must_have_all_that_tables_speak_of() {
    let (shop, mut log) = (Shop::new().await, OddLog::new());
    let tick = NewRecord { partition: PARTITION, kind: Kind::Tick, payload: Bytes::new() };
    log.append(vec![tick; 5]).await.unwrap();
    shop.commit(Table::Events, 5, None).await;
    let begun = start_of(&shop, &log).await.unwrap();
    assert!(matches!(begun, Start::FindRules { begin: Offset(0), end: Offset(5), .. }));
    // Its beginning was taken.
    log.moves_to = Some(Offset(1));
    log.bounds(PARTITION).await.unwrap();
    let refused = start_of(&shop, &log).await.err();
    let told = |refused| match refused {
        Some(PipelineError::LogLost { from, to, .. }) => (from.0, to.0),
        _ => panic!("it is taken for the log that was read"),
    };
    assert_eq!(told(refused), (0, 5));
    // Its end was.
    let (shop, log) = (Shop::new().await, OddLog::new());
    shop.commit(Table::Events, 1, None).await;
    let refused = start_of(&shop, &log).await.err();
    assert_eq!(told(refused), (0, 1));
}

/// Retention goes on between the first snapshot, of a log that begins behind 0, and the first record.
#[tokio::test]
async fn a_beginning_that_retention_took_is_begun_behind_it() {
    let (shop, mut log) = (Shop::new().await, OddLog::new());
    let tick = NewRecord { partition: PARTITION, kind: Kind::Tick, payload: Bytes::new() };
    log.append(vec![tick; 5]).await.unwrap();
    shop.snapshot(Offset(3), &rules()).await;
    log.moves_to = Some(Offset(4));
    log.bounds(PARTITION).await.unwrap();
    let begun = start_of(&shop, &log).await.unwrap();
    assert!(matches!(begun, Start::FindRules { begin: Offset(4), .. }));
    // What tables speak of is lost.
    shop.commit(Table::Events, 5, None).await;
    let refused = start_of(&shop, &log).await.err();
    assert!(matches!(refused, Some(PipelineError::LogLost { from: Offset(3), .. })));
}

fn control(offset: i64, rules: &Rules) -> Record {
    let NewRecord { kind, payload, .. } = control_record(PARTITION, rules);
    Record { offset: Offset(offset), append_time: Micros(0), kind, payload }
}

/// Somebody else wrote them, and nothing takes them away.
#[test]
fn rules_that_nobody_can_follow_are_not_the_first() {
    let conditions = Conditions { error: "no SQL".to_owned(), ..rules().conditions };
    let unfit = Rules { conditions, ..rules() };
    assert_eq!(first_rules(&[control(0, &unfit)]), None);
    let records = [control(0, &unfit), control(1, &rules()), control(2, &unfit)];
    assert_eq!(first_rules(&records), Some(Arc::new(rules())));
}
