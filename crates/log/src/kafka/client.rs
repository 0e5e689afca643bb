//! What all Kafka clients of this crate share: settings, log lines, errors in our words.
//! What a client is for is left to the others.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};

use footfall_event::{Micros, Offset, Partition};

use super::{KIND_HEADER, KafkaSettings};
use crate::{Kind, LogError};

/// How soon an error that lasts is told again.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// How long a question to a broker may take.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends librdkafka's log lines and errors to `tracing`.
#[derive(Clone, Debug)]
pub struct Logged;

impl ClientContext for Logged {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tell("client", &error, reason);
    }
}

impl ConsumerContext for Logged {}

/// A kind of client and a kind of error.
type Told = (&'static str, Option<i32>);

/// When each was told last.
static TOLD: LazyLock<Mutex<HashMap<Told, Instant>>> = LazyLock::new(Mutex::default);

/// Tells of an error of a client, which tries again by itself, some ten times a second: the same again is told by those
/// who look for it, and by all others at times.
pub fn tell(client: &'static str, error: &KafkaError, reason: &str) {
    let kind = (client, error.rdkafka_error_code().map(|code| code as i32));
    let now = Instant::now();
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let is_told = told.get(&kind).is_some_and(|at| now < *at + TELL_AGAIN);
    if is_told {
        tracing::debug!(client, %error, reason, "kafka");
    } else {
        told.insert(kind, now);
        tracing::warn!(client, %error, reason, "kafka");
    }
}

/// One log line of librdkafka. It reconnects by itself, so nothing of it is an error here.
pub fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Debug => tracing::trace!(facility, message, "librdkafka"),
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => {
            tracing::debug!(facility, message, "librdkafka");
        }
        _ => tracing::warn!(facility, message, "librdkafka"),
    }
}

/// The properties that every client has.
pub fn config(settings: &KafkaSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("client.id", "footfall")
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.max.ms", "1000");
    for (name, value) in &settings.client {
        config.set(name, value);
    }
    config
}

/// Makes a client.
///
/// # Errors
/// `Unfit` when librdkafka refuses a property, `Io` when it cannot start.
pub fn create<C: ClientContext, T: FromClientConfigAndContext<C>>(
    config: &ClientConfig,
    context: C,
) -> Result<T, LogError> {
    config.create_with_context(context).map_err(|error| match error {
        KafkaError::ClientConfig(_, why, name, value) => LogError::Unfit {
            thing: format!("kafka client property {name}"),
            setting: "kafka.client",
            value,
            need: why,
        },
        error => LogError::Io { at: "on kafka".to_owned(), why: error.to_string() },
    })
}

/// An error of a broker, in words.
pub fn unavailable(settings: &KafkaSettings, why: impl ToString) -> LogError {
    LogError::Unavailable {
        at: format!("{} at {}", settings.topic, settings.brokers),
        why: why.to_string(),
    }
}

/// Partitions, each with an offset.
///
/// # Errors
/// `Io` for an offset that no record has, which is one below 0.
pub fn offsets(
    topic: &str,
    positions: impl IntoIterator<Item = (Partition, Offset)>,
) -> Result<TopicPartitionList, LogError> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in positions {
        let added = list.add_partition_offset(topic, partition.0, KafkaOffset::Offset(offset.0));
        added.map_err(|why| partition_error(topic, partition, offset, &why))?;
    }
    Ok(list)
}

/// An offset of a partition that the client refuses.
pub fn partition_error(
    topic: &str,
    partition: Partition,
    offset: Offset,
    why: &KafkaError,
) -> LogError {
    let at = format!("{topic} on kafka");
    LogError::Io { at, why: format!("partition {partition} at offset {offset}: {why}") }
}

impl Kind {
    /// The value of the header; `None` for an event, which has no header.
    pub(super) fn word(self) -> Option<&'static str> {
        match self {
            Self::Event => None,
            Self::Rejected => Some("rejected"),
            Self::Tick => Some("tick"),
            Self::Control => Some("control"),
        }
    }
}

/// Tells the kind of a message.
pub type KindOf = fn(&BorrowedMessage<'_>) -> Kind;

/// Of another system's topic, whose headers are its own: nobody looks at them.
pub fn no_kind(_: &BorrowedMessage<'_>) -> Kind {
    Kind::Event
}

/// What kind a message is. A stranger's word is an event too, so that it is looked at and refused
/// where bad events are.
pub fn kind(message: &BorrowedMessage<'_>) -> Kind {
    // rdkafka panics at a key that is no UTF-8, and there is no other way to a header. Who read the topic would die
    // at that message for ever. It only reads, so that nothing is left half done.
    catch_unwind(AssertUnwindSafe(|| kind_said(message))).unwrap_or_else(|_| {
        let (partition, offset) = (message.partition(), message.offset());
        tracing::warn!(
            partition, offset,
            "a stranger's header has a key that is no UTF-8, at which the client panicked: read as an event"
        );
        Kind::Event
    })
}

fn kind_said(message: &BorrowedMessage<'_>) -> Kind {
    let Some(headers) = message.headers() else { return Kind::Event };
    let header = headers.iter().find(|header| header.key == KIND_HEADER);
    match header.and_then(|header| header.value) {
        Some(b"rejected") => Kind::Rejected,
        Some(b"tick") => Kind::Tick,
        Some(b"control") => Kind::Control,
        _ => Kind::Event,
    }
}

/// When the broker appended a message.
pub fn append_time(message: &BorrowedMessage<'_>) -> Micros {
    Micros::from_ms(message.timestamp().to_millis().unwrap_or_default())
}
