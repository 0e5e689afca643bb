//! A pipeline on a log whose retention goes on while it starts.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use footfall_event::Micros;
use footfall_log::{Appended, Kind, LocalLog, LocalSettings, NewRecord, Redacted, Redaction};
use prometheus::Registry;

use super::*;
use crate::Retention;
use crate::testing::{Shop, TOPIC, rules};

const PARTITION: Partition = Partition(0);
/// Where the log begins once its first record was looked for.
const MOVED_TO: Offset = Offset(3);

/// A log that loses its first records behind the first question for its bounds.
struct Moving {
    log: LocalLog,
    was_asked: AtomicBool,
}

#[async_trait]
impl EventLog for Moving {
    fn topic(&self) -> &str {
        self.log.topic()
    }

    fn partitions(&self) -> u32 {
        self.log.partitions()
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Appended>, LogError> {
        self.log.append(records).await
    }

    async fn bounds(&self, partition: Partition) -> Result<Range<Offset>, LogError> {
        let bounds = self.log.bounds(partition).await?;
        match self.was_asked.swap(true, Ordering::Relaxed) {
            true => Ok(MOVED_TO..bounds.end),
            false => Ok(bounds),
        }
    }

    async fn read_one(
        &self,
        partition: Partition,
        offset: Offset,
    ) -> Result<Option<Record>, LogError> {
        self.log.read_one(partition, offset).await
    }

    fn subscribe(&self, group: &str) -> Result<Box<dyn Subscription>, LogError> {
        self.log.subscribe(group)
    }

    async fn publish(&self, topic: &str, key: &str, payloads: Vec<Bytes>) -> Result<(), LogError> {
        self.log.publish(topic, key, payloads).await
    }

    async fn redact(&self, redaction: Redaction) -> Result<Redacted, LogError> {
        self.log.redact(redaction).await
    }

    async fn count_meant(&self, redaction: Redaction) -> Result<Redacted, LogError> {
        self.log.count_meant(redaction).await
    }

    fn has_room(&self) -> Result<(), LogError> {
        self.log.has_room()
    }

    async fn ready(&self) -> Result<(), LogError> {
        self.log.ready().await
    }
}

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
    let (shop, folder) = (Shop::new().await, tempfile::tempdir().unwrap());
    let log = LocalLog::open(LocalSettings::new(folder.path(), TOPIC, 1)).unwrap();
    let tick = NewRecord { partition: PARTITION, kind: Kind::Tick, payload: Bytes::new() };
    let control = control_record(PARTITION, &rules());
    let records = [tick.clone(), control, tick.clone(), tick.clone(), tick];
    log.append(records.to_vec()).await.unwrap();
    let log = Arc::new(Moving { log, was_asked: AtomicBool::new(false) });
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let (lake, stop) = (shop.lake.clone(), CancellationToken::new());
    let pipeline = Pipeline::open(log, lake, settings(), metrics, Health::default());
    let running = tokio::spawn(pipeline.await.unwrap().run(stop.clone()));
    let first = loop {
        assert!(!running.is_finished(), "{:?}", running.await);
        match snapshot::offsets(&shop.lake, TOPIC, PARTITION).await.unwrap().first() {
            Some(first) => break *first,
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    assert_eq!(first, MOVED_TO);
    stop.cancel();
    running.await.unwrap().unwrap();
}
