//! The event log on Apache Kafka: one topic, the cluster's own partitions, offsets and clock.
//! Whether a topic is fit is left to `topic`, what travels on the wire to librdkafka.

mod client;
mod group;
mod producer;
mod query;
mod reader;
mod source;
mod subscription;
mod topic;

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use footfall_event::{Micros, Offset, Partition};

use crate::{
    Appended, EventLog, LogError, NewRecord, RECORD_BYTES_MAX, Record, Redacted, Redaction,
    Subscription, blocking,
};
use producer::Producer;
use query::Query;
pub use source::{KafkaSource, SourceMessage, SourceMessages, SourceSettings, Start};
use subscription::KafkaSubscription;
pub use topic::create_or_check;

/// The header that tells a record's kind in one word; a record without it is an event.
const KIND_HEADER: &str = "kind";

/// Which cluster and topic a Kafka log uses, and its bounds.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// `host:port` of some brokers, separated by commas.
    pub brokers: String,
    pub topic: String,
    /// Must be the topic's number; a topic that does not exist is created with it.
    pub partitions: u32,
    /// Retention of a topic that is created here; an existing one keeps its own.
    pub retention_ms: i64,
    /// How long `append` waits for the acknowledgement of all in-sync replicas.
    pub append_timeout_ms: u64,
    /// A member that is silent for this long loses its partitions to the others.
    pub session_timeout_ms: u64,
    /// Payload bytes that may wait for acknowledgement; beyond it `append` answers `Overloaded`.
    /// A call alone is taken whatever its size.
    pub queue_bytes_max: usize,
    /// Further properties of librdkafka, for all clients: `security.protocol`, `sasl.username` ….
    pub client: BTreeMap<String, String>,
}

impl KafkaSettings {
    /// The defaults: a week of retention, 10 s for acknowledgement and sessions, 64 MiB waiting.
    #[must_use]
    pub fn new(brokers: &str, topic: &str, partitions: u32) -> Self {
        Self {
            brokers: brokers.to_owned(),
            topic: topic.to_owned(),
            partitions,
            retention_ms: 7 * 24 * 3_600_000,
            append_timeout_ms: 10_000,
            session_timeout_ms: 10_000,
            queue_bytes_max: 64 * 1024 * 1024,
            client: BTreeMap::new(),
        }
    }
}

/// An event log on Kafka.
pub struct KafkaLog {
    settings: KafkaSettings,
    producer: Producer,
    query: Arc<Query>,
    /// Side topics that are known to exist.
    sides: Mutex<HashSet<String>>,
}

impl KafkaLog {
    /// Connects, and creates the topic or checks that it is fit.
    ///
    /// # Errors
    /// `Unavailable` when no broker answers, `Unfit` when the topic or a setting is not fit.
    pub async fn open(settings: KafkaSettings) -> Result<Self, LogError> {
        let min_insync_replicas = create_or_check(&settings).await?;
        let producer = Producer::new(&settings)?;
        let query = Arc::new(Query::new(&settings, min_insync_replicas)?);
        Ok(Self { settings, producer, query, sides: Mutex::default() })
    }

    fn expect_partition(&self, partition: Partition) -> Result<(), LogError> {
        let partitions = self.settings.partitions;
        if u32::try_from(partition.0).is_ok_and(|number| number < partitions) {
            return Ok(());
        }
        Err(LogError::NoPartition { topic: self.settings.topic.clone(), partition, partitions })
    }

    async fn expect_side(&self, topic: &str) -> Result<(), LogError> {
        let sides = || self.sides.lock().unwrap_or_else(PoisonError::into_inner);
        if sides().contains(topic) {
            return Ok(());
        }
        topic::create_side(&self.settings, topic).await?;
        sides().insert(topic.to_owned());
        Ok(())
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    fn topic(&self) -> &str {
        &self.settings.topic
    }

    fn partitions(&self) -> u32 {
        self.settings.partitions
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Appended>, LogError> {
        for record in &records {
            self.expect_partition(record.partition)?;
            check_size(record.payload.len())?;
        }
        self.producer.append(&records).await
    }

    async fn bounds(&self, partition: Partition) -> Result<Range<Offset>, LogError> {
        self.expect_partition(partition)?;
        let query = Arc::clone(&self.query);
        blocking(move || query.bounds(partition)).await
    }

    async fn read_one(
        &self,
        partition: Partition,
        offset: Offset,
    ) -> Result<Option<Record>, LogError> {
        self.expect_partition(partition)?;
        let query = Arc::clone(&self.query);
        blocking(move || query.read_one(partition, offset)).await
    }

    fn subscribe(&self, group: &str) -> Result<Box<dyn Subscription>, LogError> {
        Ok(Box::new(KafkaSubscription::new(&self.settings, group, client::kind)?))
    }

    async fn publish(&self, topic: &str, key: &str, payloads: Vec<Bytes>) -> Result<(), LogError> {
        for payload in &payloads {
            check_size(key.len() + payload.len())?;
        }
        if payloads.is_empty() {
            return Ok(());
        }
        self.expect_side(topic).await?;
        self.producer.publish(topic, key, &payloads).await
    }

    async fn redact(&self, _: Redaction) -> Result<Redacted, LogError> {
        Ok(Redacted::LeftToRetention)
    }

    async fn count_meant(&self, _: Redaction, _: Micros) -> Result<Redacted, LogError> {
        Ok(Redacted::LeftToRetention)
    }

    fn has_room(&self) -> Result<(), LogError> {
        self.producer.has_room()
    }

    async fn ready(&self) -> Result<(), LogError> {
        self.has_room()?;
        let query = Arc::clone(&self.query);
        blocking(move || query.ready()).await
    }
}

fn check_size(bytes: usize) -> Result<(), LogError> {
    if bytes <= RECORD_BYTES_MAX {
        return Ok(());
    }
    Err(LogError::TooLarge { bytes, max: RECORD_BYTES_MAX })
}
