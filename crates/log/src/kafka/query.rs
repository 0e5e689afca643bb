//! Questions to Kafka: bounds, single records, readiness. All of it blocks on the network.
//! Reading a partition on is left to the reader.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use footfall_event::{Offset, Partition};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};

use super::KafkaSettings;
use super::client::{self, Logged, QUERY_TIMEOUT};
use crate::{LogError, Record};

/// How long a partition's election is given before it is asked again.
const ELECTION_PAUSE: Duration = Duration::from_millis(50);

fn is_electing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{LeaderNotAvailable, NotLeaderForPartition};
    let code = error.rdkafka_error_code();
    matches!(code, Some(LeaderNotAvailable | NotLeaderForPartition))
}

pub struct Query {
    settings: KafkaSettings,
    min_insync_replicas: usize,
    /// A member of no group: it never subscribes and never commits.
    client: BaseConsumer<Logged>,
    /// Held while a partition is assigned.
    reading: Mutex<()>,
}

impl Query {
    pub fn new(settings: &KafkaSettings, min_insync_replicas: usize) -> Result<Self, LogError> {
        let mut config = client::config(settings);
        config
            .set("group.id", "footfall.query")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("queued.min.messages", "1")
            .set("queued.max.messages.kbytes", "2048");
        let client = client::create(&config, Logged)?;
        let settings = settings.clone();
        Ok(Self { settings, min_insync_replicas, client, reading: Mutex::default() })
    }

    pub fn bounds(&self, partition: Partition) -> Result<Range<Offset>, LogError> {
        self.drain();
        let topic = &self.settings.topic;
        let began = Instant::now();
        loop {
            match self.client.fetch_watermarks(topic, partition.0, QUERY_TIMEOUT) {
                Ok((low, high)) => return Ok(Offset(low)..Offset(high)),
                // A topic that was just made, or whose broker was restarted, finds its leader soon.
                Err(error) if is_electing(&error) && began.elapsed() < QUERY_TIMEOUT => {
                    std::thread::sleep(ELECTION_PAUSE);
                }
                Err(error) => return Err(client::unavailable(&self.settings, error)),
            }
        }
    }

    /// How many partitions the topic has.
    pub fn partitions(&self) -> Result<i32, LogError> {
        self.drain();
        let topic = &self.settings.topic;
        let metadata = self.client.fetch_metadata(Some(topic), QUERY_TIMEOUT);
        let metadata = metadata.map_err(|error| client::unavailable(&self.settings, error))?;
        let count: usize = metadata.topics().iter().map(|topic| topic.partitions().len()).sum();
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }

    pub fn read_one(
        &self,
        partition: Partition,
        offset: Offset,
    ) -> Result<Option<Record>, LogError> {
        if !self.bounds(partition)?.contains(&offset) {
            return Ok(None);
        }
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let unavailable = |error| client::unavailable(&self.settings, error);
        let assigned = client::offsets(&self.settings.topic, [(partition, offset)])?;
        self.client.assign(&assigned).map_err(unavailable)?;
        let found = self.first_message(offset);
        self.client.unassign().map_err(unavailable)?;
        found
    }

    /// The record at an offset of what is assigned; a gap is followed by a later one.
    fn first_message(&self, offset: Offset) -> Result<Option<Record>, LogError> {
        let deadline = Instant::now() + QUERY_TIMEOUT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let why = format!("offset {offset} was not answered in {QUERY_TIMEOUT:?}");
                return Err(client::unavailable(&self.settings, why));
            }
            match self.client.poll(left) {
                Some(Ok(message)) if message.offset() == offset.0 => {
                    return Ok(Some(record(&message)));
                }
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => return Ok(None),
                Some(Err(error)) => tracing::debug!(%error, "kafka query"),
                None => {}
            }
        }
    }

    /// Has every partition a leader and replicas enough to take records?
    pub fn ready(&self) -> Result<(), LogError> {
        self.drain();
        let topic = &self.settings.topic;
        let metadata = self.client.fetch_metadata(Some(topic), QUERY_TIMEOUT);
        let metadata = metadata.map_err(|error| client::unavailable(&self.settings, error))?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        let mut count = 0;
        for partition in partitions {
            count += 1;
            let (id, in_sync) = (partition.id(), partition.isr().len());
            if partition.leader() < 0 {
                let why = format!("partition {id} has no leader");
                return Err(client::unavailable(&self.settings, why));
            }
            if in_sync < self.min_insync_replicas {
                let wanted = self.min_insync_replicas;
                let why = format!("partition {id} has {in_sync} replicas in sync of {wanted}");
                return Err(client::unavailable(&self.settings, why));
            }
        }
        if count == self.settings.partitions {
            return Ok(());
        }
        let why = format!("it has {count} partitions of {}", self.settings.partitions);
        Err(client::unavailable(&self.settings, why))
    }

    /// Throws away errors that were queued for a poll, so that they do not pile up.
    fn drain(&self) {
        if let Ok(_reading) = self.reading.try_lock() {
            while self.client.poll(std::time::Duration::ZERO).is_some() {}
        }
    }
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    Record {
        offset: Offset(message.offset()),
        append_time: client::append_time(message),
        kind: client::kind(message),
        payload: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    use super::*;

    /// Else it would be told as one that retention took. The broker is librdkafka's mock: a real one cannot be made to
    /// answer so.
    #[test]
    fn a_record_that_is_not_answered_in_time_is_not_taken_for_none() {
        let mut settings = KafkaSettings::new("mock", "events", 1);
        settings.client.insert("test.mock.num.brokers".to_owned(), "1".to_owned());
        let query = Query::new(&settings, 1).unwrap();
        let broker = query.client.client().mock_cluster().unwrap();
        broker.create_topic("events", 1, 1).unwrap();
        let mut config = rdkafka::ClientConfig::new();
        config.set("bootstrap.servers", broker.bootstrap_servers());
        let producer: BaseProducer = config.create().unwrap();
        let record = BaseRecord::<(), str>::to("events").partition(0).payload("x");
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(QUERY_TIMEOUT).unwrap();
        let found = query.read_one(Partition(0), Offset(0)).unwrap().unwrap();
        assert_eq!(found.payload, "x");
        assert!(query.read_one(Partition(0), Offset(1)).unwrap().is_none());

        let electing = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
        broker.request_errors(RDKafkaApiKey::Fetch, &[electing; 1000]);
        let unanswered = query.read_one(Partition(0), Offset(0)).unwrap_err();
        assert!(matches!(unanswered, LogError::Unavailable { .. }), "{unanswered}");
        assert!(unanswered.to_string().contains("was not answered"), "{unanswered}");
    }
}
