//! When a quiet partition is ticked, on the local log and by a clock that only the tests move.

use std::sync::atomic::Ordering;

use footfall_event::Micros;
use footfall_lake::Lake;
use footfall_log::{LocalLog, LocalSettings};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::old_resend::OldResends;
use crate::partition::PartitionFold;
use crate::rows::Origin;
use crate::testing::OddLog;
use crate::{JobsRun, Retention};

const OURS: Partition = Partition(0);

/// A partition whose reader is given nothing, whatever the log holds.
struct Bench {
    _folder: TempDir,
    log: Arc<dyn EventLog>,
    settings: PipelineSettings,
    folding: Folding,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_string_lossy();
        let log = Arc::new(LocalLog::open(LocalSettings::new(&*path, "events", 1)).unwrap());
        let lake = Lake::at(&path, Vec::new()).unwrap();
        let stop = CancellationToken::new();
        let resends = OldResends::new(&lake, "events", OURS, Micros(0), stop);
        let rules = Arc::new(crate::testing::rules());
        let origin = Origin { log: "events".into(), partition: OURS };
        let fold = PartitionFold::begin(origin, Offset(0), None, rules.clone()).unwrap();
        let settings = PipelineSettings {
            group: "g".to_owned(),
            signals_topic: "signals".to_owned(),
            commit_interval: Duration::from_secs(1),
            commit_rows_max: 1,
            snapshot_interval: Duration::from_secs(1),
            rewrite_interval: Duration::from_secs(1),
            retention: Retention::default(),
            erasure_grace: Duration::from_secs(1),
            max_age: Micros(0),
            rules,
            jobs_run: JobsRun::default(),
        };
        Bench { _folder: folder, log, settings, folding: Folding::new(fold, resends) }
    }

    /// Somebody appends a record, which takes the next offset.
    async fn append(&self) {
        let payload = Bytes::from_static(b"a marker is one, to who reads");
        let record = NewRecord { partition: OURS, kind: Kind::Event, payload };
        self.log.append(vec![record]).await.unwrap();
    }

    /// The log's end, when so much time has passed and what was then written is kept.
    async fn end_after(&mut self, pause: Duration) -> i64 {
        tokio::time::advance(pause).await;
        self.folding.send_tick(&self.log, &self.settings).unwrap();
        while self.folding.ticking.as_ref().is_some_and(|ticking| !ticking.is_finished()) {
            tokio::task::yield_now().await;
        }
        self.log.bounds(OURS).await.unwrap().end.0
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_partition_is_ticked_and_a_busy_one_is_not() {
    let mut bench = Bench::new();
    assert_eq!(bench.end_after(AFTER - Duration::from_millis(1)).await, 0);
    assert_eq!(bench.end_after(Duration::from_millis(1)).await, 1);
    // The tick is on its way to the reader.
    assert_eq!(bench.end_after(Duration::from_millis(50)).await, 1);
}

/// The reader is never given what the broker keeps for itself.
#[tokio::test(start_paused = true)]
async fn offsets_of_nobodys_records_are_not_waited_for() {
    let mut bench = Bench::new();
    bench.append().await;
    assert_eq!(bench.end_after(AFTER).await, 1);
    // From here on the end is known.
    assert_eq!(bench.end_after(Duration::ZERO).await, 1);
    assert_eq!(bench.end_after(COMES_WITHIN - Duration::from_millis(1)).await, 1);
    assert_eq!(bench.end_after(Duration::from_millis(1)).await, 2);
}

#[tokio::test(start_paused = true)]
async fn who_is_given_more_waits_for_the_rest() {
    let most = COMES_WITHIN - Duration::from_millis(1);
    let mut bench = Bench::new();
    bench.append().await;
    assert_eq!(bench.end_after(AFTER).await, 1);
    assert_eq!(bench.end_after(Duration::ZERO).await, 1);
    // Another comes to the log, and waits as well.
    bench.append().await;
    assert_eq!(bench.end_after(most).await, 2);
    assert_eq!(bench.end_after(Duration::from_millis(1)).await, 2);
    assert_eq!(bench.end_after(most).await, 2);
    bench.folding.heard();
    assert_eq!(bench.end_after(AFTER).await, 2);
    assert_eq!(bench.end_after(Duration::ZERO).await, 2);
    assert_eq!(bench.end_after(most).await, 2);
    assert_eq!(bench.end_after(Duration::from_millis(1)).await, 3);
}

/// Another process takes the partition then, and writes to the log what this one cannot.
#[tokio::test(start_paused = true)]
async fn a_log_that_failed_for_good_is_told() {
    let mut bench = Bench::new();
    let log = OddLog::new();
    log.failed_for_good.store(true, Ordering::Relaxed);
    bench.log = Arc::new(log);
    assert_eq!(bench.end_after(AFTER).await, 0);
    let failed = bench.folding.send_tick(&bench.log, &bench.settings).unwrap_err();
    assert!(matches!(failed, LogError::Io { .. }), "{failed}");
}
