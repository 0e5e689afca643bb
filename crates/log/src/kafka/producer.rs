//! Appending to Kafka: an idempotent producer, and one counter for each call of `append`.
//! Retries within the time-out are left to librdkafka.

use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::sync::atomic::{AtomicI64, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use tokio::sync::oneshot;

use footfall_event::{Micros, Offset};

use super::{KIND_HEADER, KafkaSettings, client};
use crate::{Appended, Kind, LogError, NewRecord};

const LINGER_MS: &str = "5";
const BATCH_BYTES_MAX: &str = "1000000";
const BATCH_RECORDS_MAX: &str = "20000";
const COMPRESSION: &str = "lz4";
/// librdkafka's own bounds lie beyond ours, so that a call is refused before any of it is sent.
const QUEUE_RECORDS_MAX: usize = 1_000_000;

/// A producer, and how much of it is in use.
pub struct Producer {
    settings: KafkaSettings,
    client: ThreadedProducer<Reports>,
    waiting: Arc<Waiting>,
}

impl Producer {
    pub fn new(settings: &KafkaSettings) -> Result<Self, LogError> {
        let queue_kib = settings.queue_bytes_max.saturating_mul(2) / 1024;
        let mut config = client::config(settings);
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("compression.type", COMPRESSION)
            .set("partitioner", "murmur2_random")
            .set("linger.ms", LINGER_MS)
            .set("batch.size", BATCH_BYTES_MAX)
            .set("batch.num.messages", BATCH_RECORDS_MAX)
            .set("message.max.bytes", super::topic::MESSAGE_BYTES_MAX.to_string())
            .set("queue.buffering.max.messages", (2 * QUEUE_RECORDS_MAX).to_string())
            .set("queue.buffering.max.kbytes", queue_kib.clamp(65_536, 2_097_151).to_string())
            .set("message.timeout.ms", settings.append_timeout_ms.to_string());
        let client = client::create(&config, Reports)?;
        Ok(Self { settings: settings.clone(), client, waiting: Arc::default() })
    }

    pub async fn append(&self, records: &[NewRecord]) -> Result<Vec<Appended>, LogError> {
        let topic = &self.settings.topic;
        let sizes = records.iter().map(|record| record.payload.len()).sum();
        let message = |ticket, index: usize| {
            let record: &NewRecord = &records[index];
            let message = Outgoing::with_opaque_to(topic, ticket).partition(record.partition.0);
            with_kind(message, record.kind).payload(&record.payload[..])
        };
        let batch = self.send(message, records.len(), sizes).await?;
        let appended = records.iter().zip(&batch.slots).map(|(record, slot)| Appended {
            partition: record.partition,
            offset: Offset(slot.offset.load(Relaxed)),
            append_time: Micros::from_ms(slot.append_ms.load(Relaxed)),
        });
        Ok(appended.collect())
    }

    pub async fn publish(
        &self,
        topic: &str,
        key: &str,
        payloads: &[Bytes],
    ) -> Result<(), LogError> {
        let sizes = payloads.iter().map(Bytes::len).sum();
        let message = |ticket, index: usize| {
            Outgoing::with_opaque_to(topic, ticket).key(key).payload(&payloads[index][..])
        };
        self.send(message, payloads.len(), sizes).await.map(drop)
    }

    /// Is there room for more, and is the producer sound?
    pub fn has_room(&self) -> Result<(), LogError> {
        if let Some(error) = self.fatal_error() {
            return Err(error);
        }
        let bytes = self.waiting.bytes.load(Relaxed);
        let has_room = bytes < self.settings.queue_bytes_max
            && self.waiting.records.load(Relaxed) < QUEUE_RECORDS_MAX;
        if has_room { Ok(()) } else { Err(self.overloaded(bytes)) }
    }

    /// Hands all messages to librdkafka, then waits for the report on each of them.
    async fn send<'a>(
        &self,
        message: impl Fn(Box<Ticket>, usize) -> Outgoing<'a>,
        count: usize,
        bytes: usize,
    ) -> Result<Arc<Batch>, LogError> {
        let (batch, done) = self.reserve(count, bytes)?;
        for index in 0..count {
            let ticket = Box::new(Ticket { batch: Arc::clone(&batch), index });
            if let Err((error, _)) = self.client.send(message(ticket, index)) {
                return Err(self.refused(&error));
            }
        }
        if count > 0 && done.await.is_err() {
            return Err(client::unavailable(&self.settings, "the producer has ended"));
        }
        match batch.failure.get() {
            None => Ok(batch),
            Some(why) => Err(self.failed(why)),
        }
    }

    fn reserve(
        &self,
        count: usize,
        bytes: usize,
    ) -> Result<(Arc<Batch>, oneshot::Receiver<()>), LogError> {
        let before = self.waiting.bytes.fetch_add(bytes, AcqRel);
        let records = self.waiting.records.fetch_add(count, AcqRel);
        let waiting = Reserved { waiting: Arc::clone(&self.waiting), bytes, records: count };
        let full = before > 0 && before + bytes > self.settings.queue_bytes_max;
        if full || records + count > QUEUE_RECORDS_MAX {
            return Err(self.overloaded(before));
        }
        let (sender, done) = oneshot::channel();
        let batch = Batch {
            slots: (0..count).map(|_| Slot::default()).collect(),
            remaining: AtomicUsize::new(count),
            failure: OnceLock::new(),
            done: Mutex::new(Some(sender)),
            _waiting: waiting,
        };
        Ok((Arc::new(batch), done))
    }

    fn refused(&self, error: &KafkaError) -> LogError {
        match error {
            KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => {
                self.overloaded(self.waiting.bytes.load(Relaxed))
            }
            error => self.failed(error),
        }
    }

    fn failed(&self, why: impl ToString) -> LogError {
        self.fatal_error().unwrap_or_else(|| client::unavailable(&self.settings, why))
    }

    /// After some errors the producer cannot tell what was written, and writes nothing more.
    fn fatal_error(&self) -> Option<LogError> {
        let (_, why) = self.client.client().fatal_error()?;
        let at = format!("{} at {}", self.settings.topic, self.settings.brokers);
        Some(LogError::Io { at, why: format!("{why}: restart footfall") })
    }

    fn overloaded(&self, bytes: usize) -> LogError {
        let records = self.waiting.records.load(Relaxed);
        let bytes_max = self.settings.queue_bytes_max;
        let waiting = format!("{bytes} of {bytes_max} bytes in {records} records");
        LogError::Overloaded { waiting }
    }
}

type Outgoing<'a> = BaseRecord<'a, str, [u8], Box<Ticket>>;

fn with_kind(message: Outgoing<'_>, kind: Kind) -> Outgoing<'_> {
    match kind.word() {
        None => message,
        word => message.headers(
            OwnedHeaders::new_with_capacity(1).insert(Header { key: KIND_HEADER, value: word }),
        ),
    }
}

/// What has been handed over and not yet been reported on.
#[derive(Default)]
struct Waiting {
    bytes: AtomicUsize,
    records: AtomicUsize,
}

/// A share of [`Waiting`], given back when dropped.
struct Reserved {
    waiting: Arc<Waiting>,
    bytes: usize,
    records: usize,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.waiting.bytes.fetch_sub(self.bytes, AcqRel);
        self.waiting.records.fetch_sub(self.records, AcqRel);
    }
}

/// One call's records, filled in by the delivery reports.
struct Batch {
    slots: Box<[Slot]>,
    remaining: AtomicUsize,
    /// Why the first one failed.
    failure: OnceLock<String>,
    done: Mutex<Option<oneshot::Sender<()>>>,
    _waiting: Reserved,
}

#[derive(Default)]
struct Slot {
    offset: AtomicI64,
    append_ms: AtomicI64,
}

/// What travels with a message, and comes back with its report.
struct Ticket {
    batch: Arc<Batch>,
    index: usize,
}

struct Reports;

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::tell("producer", &error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let Ticket { batch, index } = *ticket;
        match result {
            Ok(message) if message.offset() >= 0 => {
                let slot = &batch.slots[index];
                slot.offset.store(message.offset(), Relaxed);
                slot.append_ms.store(client::append_time(message).whole_ms(), Relaxed);
            }
            Ok(_) => batch.fail("acknowledged without an offset".to_owned()),
            Err((error, _)) => batch.fail(error.to_string()),
        }
        batch.count_down();
    }
}

impl Batch {
    fn fail(&self, why: String) {
        // The first reason tells most.
        let _told = self.failure.set(why);
    }

    fn count_down(&self) {
        if self.remaining.fetch_sub(1, AcqRel) == 1 {
            let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(done) = done {
                // Whoever asked may have gone.
                let _gone = done.send(());
            }
        }
    }
}

#[cfg(test)]
mod tests;
