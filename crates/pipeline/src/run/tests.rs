//! A pipeline on a log whose retention goes on while it starts or reads, a catch-up that is committed as it is read, a
//! delivery that a restart cuts, and snapshots: what they wait for, and what the log keeps for them.

use async_trait::async_trait;
use bytes::Bytes;
use footfall_event::schema::Table;
use footfall_event::{Micros, Offset, SessionId};
use footfall_log::{Kind, NewRecord};
use footfall_sessionizer::{Signal, Visitor};
use prometheus::Registry;
use tokio::sync::Semaphore;

use super::*;
use crate::old_resend::OldResends;
use crate::rows::Origin;
use crate::start::control_record;
use crate::testing::{OddLog, STARTED, Shop, TOPIC, rules};
use crate::{Retention, snapshot};

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
    let folding = pipeline.folding(new_fold());
    pipeline.partitions.insert(PARTITION, folding);
    pipeline.take_records(PARTITION, &catch_up()).await.unwrap();
    pipeline.commit_now().await.unwrap();
    for table in ["events", "duplicates"] {
        assert_eq!(shop.ask(&format!("SELECT event_id FROM {table}")).await, ["a"], "{table}");
    }
}

/// What a lost commit lets start again is read again from its snapshot: behind it, the rest of a delivery would leave a
/// gap.
#[tokio::test]
async fn a_partition_that_starts_again_takes_no_more_of_a_delivery() {
    let shop = Shop::new().await;
    // The log holds ticks of now: a start must not hold them against those that are folded here.
    let mut log = OddLog::new();
    log.reads_none = true;
    let tick = NewRecord { partition: PARTITION, kind: Kind::Tick, payload: Bytes::new() };
    log.append(vec![tick; 100]).await.unwrap();
    shop.snapshot(Offset(0), &rules()).await;
    let settings = PipelineSettings { commit_interval: Duration::from_secs(3_600), ..settings() };
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let pipeline =
        Pipeline::open(Arc::new(log), shop.lake.clone(), settings, metrics, Health::default());
    let mut pipeline = pipeline.await.unwrap();
    let assigned = async {
        while !pipeline.partitions.contains_key(&PARTITION) {
            let delivery = pipeline.subscription.next(LOOK_INTERVAL).await;
            pipeline.take_delivery(delivery).await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, assigned).await.expect("the partition is given");
    // Another writer was first, and its range ends within this one's.
    shop.commit(Table::Receipts, 3, None).await;
    pipeline.take_records(PARTITION, &catch_up()).await.unwrap();
    let read: Vec<Offset> = pipeline.folds().map(PartitionFold::position).collect();
    assert_eq!(read, [Offset(0)]);
}

/// A group's member that is given nothing but this.
struct Gone;

#[async_trait]
impl Subscription for Gone {
    async fn next(&mut self, _: Duration) -> Result<Delivery, LogError> {
        // One that is asked again and again lets the test come to its end.
        tokio::task::yield_now().await;
        Err(LogError::Gone {
            partition: PARTITION,
            wanted: Offset(3),
            bounds: Offset(5)..Offset(7),
        })
    }

    async fn start(&mut self, _: Partition, _: Offset) -> Result<(), LogError> {
        Ok(())
    }

    async fn release(&mut self, _: Vec<(Partition, Offset)>) -> Result<(), LogError> {
        Ok(())
    }
}

/// What retention took before it was read is for a person to know.
#[tokio::test]
async fn records_that_are_gone_end_the_pipeline() {
    let shop = Shop::new().await;
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let (log, lake) = (Arc::new(OddLog::new()), shop.lake.clone());
    let pipeline = Pipeline::open(log, lake, settings(), metrics, Health::default());
    let mut pipeline = pipeline.await.unwrap();
    pipeline.subscription = Box::new(Gone);
    let ended = tokio::time::timeout(PATIENCE, pipeline.run(CancellationToken::new())).await;
    let ended = ended.expect("it ends").unwrap_err();
    assert!(matches!(ended, PipelineError::Log(LogError::Gone { .. })), "{ended}");
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

/// Where the commits and snapshots of a shop go.
async fn outlets(shop: &Shop, log: &Arc<OddLog>) -> Outlets {
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let committer = Committer::open(&shop.lake, TOPIC, metrics.clone()).await.unwrap();
    let signals = SignalHub::start(log.clone(), "signals", metrics.clone());
    Outlets { committer: Arc::new(committer), lake: shop.lake.clone(), signals, metrics }
}

fn new_fold() -> PartitionFold {
    let origin = Origin { log: TOPIC.into(), partition: PARTITION };
    PartitionFold::begin(origin, Offset(0), None, Arc::new(rules())).unwrap()
}

/// Its next record.
async fn read_tick(fold: &mut PartitionFold, outlets: &Outlets) {
    let (offset, kind, payload) = (fold.position(), Kind::Tick, Bytes::new());
    let tick = Record { offset, append_time: STARTED + Micros(offset.0), kind, payload };
    let stop = CancellationToken::new();
    let mut resends = OldResends::new(&outlets.lake, TOPIC, PARTITION, Micros::DAY, stop);
    fold.read(&[tick], &mut resends, &outlets.metrics).await.unwrap();
}

/// The newest may be lost. One that is made again where the newest stands leaves the one before it.
#[tokio::test]
async fn the_log_keeps_what_the_snapshot_before_the_newest_needs() {
    let (shop, log) = (Shop::new().await, Arc::new(OddLog::new()));
    let outlets = outlets(&shop, &log).await;
    let (mut interval, barriers) = (Interval::new(&settings()), BTreeSet::from([PARTITION]));
    let mut fold = new_fold();
    for (records, released) in [(3, vec![]), (2, vec![3]), (0, vec![]), (1, vec![5]), (0, vec![])] {
        for _ in 0..records {
            read_tick(&mut fold, &outlets).await;
        }
        interval.begin(std::iter::once(&mut fold), &barriers, &outlets).unwrap();
        let finished = interval.wait().await.unwrap().unwrap();
        let expected = released.into_iter().map(|offset| (PARTITION, Offset(offset)));
        assert_eq!(finished.released, expected.collect::<Vec<_>>(), "at {}", fold.position());
    }
}

/// What a snapshot has behind it no start raises again.
#[tokio::test]
async fn a_snapshot_waits_until_the_signals_before_it_are_published() {
    let shop = Shop::new().await;
    let log = Arc::new(OddLog::new());
    log.publishable.forget_permits(Semaphore::MAX_PERMITS);
    let outlets = outlets(&shop, &log).await;
    let committed = outlets.committer.clone();
    let mut fold = new_fold();
    read_tick(&mut fold, &outlets).await;
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
