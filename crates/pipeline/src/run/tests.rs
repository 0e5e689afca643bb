//! A pipeline on a log whose retention goes on while it starts, a catch-up that is committed as it is read, and a
//! snapshot that waits for what is published.

use bytes::Bytes;
use footfall_event::{Micros, SessionId};
use footfall_log::{Kind, NewRecord};
use footfall_sessionizer::{Signal, Visitor};
use prometheus::Registry;
use tokio::sync::Semaphore;

use super::*;
use crate::Retention;
use crate::testing::{OddLog, STARTED, Shop, TOPIC, rules};

const PARTITION: Partition = Partition(0);
/// Nothing here takes long; what hangs is a failure.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than a snapshot takes by far.
const LONGER_THAN_A_SNAPSHOT: Duration = Duration::from_secs(2);

fn settings() -> PipelineSettings {
    PipelineSettings {
        group: "pipelines".to_owned(),
        signals_topic: "signals".to_owned(),
        commit_interval: Duration::from_millis(20),
        commit_rows_max: 10_000,
        snapshot_interval: Duration::from_secs(3_600),
        rewrite_interval: Duration::from_secs(3_600),
        retention: Retention::default(),
        erasure_grace: Duration::from_secs(60),
        max_age: Micros::DAY,
        rules: Arc::new(rules()),
        jobs_run: JobsRun::default(),
    }
}

/// A snapshot at where the log began before would name records that are gone, and no start would pass it.
#[tokio::test]
async fn a_partition_begins_where_the_log_begins_once_its_rules_are_found() {
    let shop = Shop::new().await;
    let begin = Offset(3);
    let mut log = OddLog::new();
    log.moves_to = Some(begin);
    let tick = NewRecord { partition: PARTITION, kind: Kind::Tick, payload: Bytes::new() };
    let control = control_record(PARTITION, &rules());
    // None of ours: a row, at once.
    let news = NewRecord { kind: Kind::Event, payload: Bytes::from("no JSON"), ..tick.clone() };
    let records = [tick.clone(), control, tick.clone(), tick, news];
    log.append(records.to_vec()).await.unwrap();
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let (lake, stop) = (shop.lake.clone(), CancellationToken::new());
    let pipeline = Pipeline::open(Arc::new(log), lake, settings(), metrics, Health::default());
    let running = tokio::spawn(pipeline.await.unwrap().run(stop.clone()));
    // The first commit is a barrier, hours before one is due.
    let published = async {
        loop {
            let offsets = snapshot::offsets(&shop.lake, TOPIC, PARTITION).await.unwrap();
            if let [first, _] = offsets[..] {
                break first;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let first = tokio::time::timeout(PATIENCE, published).await.expect("two snapshots come");
    assert_eq!(first, begin);
    stop.cancel();
    running.await.unwrap().unwrap();
}

/// A tick a minute; event `a`, and `a` again when its id was forgotten.
fn catch_up() -> Vec<Record> {
    let (sent, window) = (2, rules().dedupe_window.0 / Micros::MINUTE.0);
    let resent = sent + 2 * window;
    let at = |minute: i64| STARTED + Micros(minute * Micros::MINUTE.0);
    let event = |minute: i64| {
        let (time, received) = (at(sent).0, at(minute).0);
        format!(
            r#"{{"event_id":"a","site":"shop","visitor_id":"v","event_name":"click","event_time":{time},"client_time":{time},"sent_at":{received},"received_time":{received}}}"#
        )
    };
    let record = |minute: i64| {
        let (kind, payload) = match minute == sent || minute == resent {
            true => (Kind::Event, Bytes::from(event(minute))),
            false => (Kind::Tick, Bytes::new()),
        };
        Record { offset: Offset(minute), append_time: at(minute), kind, payload }
    };
    (0..=resent).map(record).collect()
}

/// Where an id is forgotten, the event's row tells that it is sent again. One delivery may bring both, long before a
/// commit is due.
#[tokio::test]
async fn a_catch_up_is_committed_before_its_ids_are_forgotten() {
    let shop = Shop::new().await;
    let settings = PipelineSettings { commit_interval: Duration::from_secs(3_600), ..settings() };
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let (log, lake) = (Arc::new(OddLog::new()), shop.lake.clone());
    let pipeline = Pipeline::open(log, lake, settings, metrics, Health::default());
    let mut pipeline = pipeline.await.unwrap();
    let origin = Origin { log: TOPIC.into(), partition: PARTITION };
    let fold = PartitionFold::begin(origin, Offset(0), None, Arc::new(rules())).unwrap();
    let folding = pipeline.folding(fold);
    pipeline.partitions.insert(PARTITION, folding);
    pipeline.take_records(PARTITION, &catch_up()).await.unwrap();
    pipeline.commit_now().await.unwrap();
    for table in ["events", "duplicates"] {
        assert_eq!(shop.ask(&format!("SELECT event_id FROM {table}")).await, ["a"], "{table}");
    }
}

fn signal() -> Signal {
    let visitor = Visitor { site: "shop".into(), visitor_id: "v".into() };
    let deadline = Micros::clock() + Micros::MINUTE;
    Signal {
        cause: Offset(0),
        id: "a signal".to_owned(),
        need: "delivery".to_owned(),
        session_id: SessionId::new(&visitor.site, &visitor.visitor_id, "a"),
        visitor: Arc::new(visitor),
        raised_at: deadline,
        raised_path: None,
        raised_page_type: None,
        click_count: 0,
        deadline,
        due_at: deadline,
    }
}

/// What a snapshot has behind it no start raises again.
#[tokio::test]
async fn a_snapshot_waits_until_the_signals_before_it_are_published() {
    let shop = Shop::new().await;
    let log = Arc::new(OddLog::new());
    log.publishable.forget_permits(Semaphore::MAX_PERMITS);
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let committer = Committer::open(&shop.lake, TOPIC, metrics.clone()).await.unwrap();
    let committer = Arc::new(committer);
    let signals = SignalHub::start(log.clone(), "signals", metrics.clone());
    let (lake, committed) = (shop.lake.clone(), committer.clone());
    let outlets = Outlets { committer, lake, signals, metrics };
    let origin = Origin { log: TOPIC.into(), partition: PARTITION };
    let mut fold = PartitionFold::begin(origin, Offset(0), None, Arc::new(rules())).unwrap();
    let (append_time, kind) = (STARTED, Kind::Tick);
    let tick = Record { offset: Offset(0), append_time, kind, payload: Bytes::new() };
    let stop = CancellationToken::new();
    let mut resends = OldResends::new(&shop.lake, TOPIC, PARTITION, Micros::DAY, stop);
    fold.read(&[tick], &mut resends, &outlets.metrics).await.unwrap();
    outlets.signals.send(&[signal()]).await;
    let (mut interval, barriers) = (Interval::new(&settings()), BTreeSet::from([PARTITION]));
    interval.begin(std::iter::once(&mut fold), &barriers, &outlets).unwrap();
    while !committed.stands_at(PARTITION, Offset(1)).await {
        tokio::task::yield_now().await;
    }
    let ended = tokio::time::timeout(LONGER_THAN_A_SNAPSHOT, interval.wait()).await;
    assert!(ended.is_err(), "it did not wait for the signal");
    let offsets = || snapshot::offsets(&shop.lake, TOPIC, PARTITION);
    assert_eq!(offsets().await.unwrap(), []);
    log.publishable.add_permits(1);
    interval.wait().await.unwrap().unwrap();
    assert_eq!(offsets().await.unwrap(), [Offset(1)]);
}
