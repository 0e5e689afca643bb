//! The event log: one trait, kept by Apache Kafka ([`kafka`]) or by the local disk ([`local`]).
//! What a payload means, and when which record is written, is left to the crates that use it.

mod error;
pub mod kafka;
pub mod local;
mod record;
mod redaction;

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use footfall_event::{Micros, Offset, Partition};

pub use error::LogError;
pub use kafka::{KafkaLog, KafkaSettings};
pub use local::{LocalLog, LocalSettings};
pub use record::{Appended, Kind, NewRecord, Record};
pub use redaction::{Redacted, Redaction};

/// Greatest payload of one record, bytes. A larger one is refused before anything is written.
/// A Kafka topic takes 1 MiB by default, of which the batch that a record travels in has a share.
pub const RECORD_BYTES_MAX: usize = 1_000_000;
/// A delivery holds at most this many payload bytes, but always at least one record.
pub const DELIVERY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A delivery holds at most this many records.
pub const DELIVERY_RECORDS_MAX: usize = 16_384;

/// A partitioned, durable, ordered log of records.
///
/// Offsets of a partition ascend from 0 in the order of append and are never given out twice.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// The name under which tables refer to this log.
    fn topic(&self) -> &str;

    /// How many partitions there are, numbered from 0.
    fn partitions(&self) -> u32;

    /// Writes records, and resolves when every one of them is kept for good: fsynced (local), or
    /// acknowledged by all in-sync replicas (Kafka). One answer a record, in their order.
    ///
    /// # Errors
    /// `TooLarge`, `NoPartition`, `Overloaded`: nothing was written (Kafka's queue may fill in
    /// mid-call: then a part was). `Unavailable`, `Io`: some records may have been written; what
    /// became of them is unknown. After `Io` none is ever written until the process is started again.
    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Appended>, LogError>;

    /// The first offset still there and the next one to be given out; equal when it is empty.
    ///
    /// # Errors
    /// `NoPartition`; `Unavailable` when the broker cannot be asked.
    async fn bounds(&self, partition: Partition) -> Result<Range<Offset>, LogError>;

    /// One record; `None` if retention took it or it does not exist yet.
    ///
    /// # Errors
    /// `NoPartition`; `Unavailable`, `Io` and `Corrupt` when it cannot be read.
    async fn read_one(
        &self,
        partition: Partition,
        offset: Offset,
    ) -> Result<Option<Record>, LogError>;

    /// Joins `group` and reads the partitions that it is given. A process has one subscription.
    ///
    /// # Errors
    /// `Subscribed` when a local log has one already; `Unavailable` when Kafka refuses.
    fn subscribe(&self, group: &str) -> Result<Box<dyn Subscription>, LogError>;

    /// Appends payloads under `key` to the side topic `topic`, and resolves like `append`.
    ///
    /// # Errors
    /// As for `append`.
    async fn publish(&self, topic: &str, key: &str, payloads: Vec<Bytes>) -> Result<(), LogError>;

    /// Erases what `redaction` means, for good and in all places on disk. A record's place stays: a tick of
    /// its append time stands there, so that all others keep their offsets. Done again, it finds nothing.
    ///
    /// # Errors
    /// `Unavailable` when the disk has not let go of the old files in time: ask again. `Io`, `Corrupt`.
    async fn redact(&self, redaction: Redaction) -> Result<Redacted, LogError>;

    /// How much `redact` would erase, but for what was published later than `published_until`, by the log's clock.
    ///
    /// # Errors
    /// `Io` and `Corrupt` when it cannot be read.
    async fn count_meant(
        &self,
        redaction: Redaction,
        published_until: Micros,
    ) -> Result<Redacted, LogError>;

    /// Would an event be taken, as far as this process knows without asking anybody?
    ///
    /// # Errors
    /// What `append` would answer: `Overloaded` when too much is waiting or kept; `Unavailable`, `Io`.
    fn has_room(&self) -> Result<(), LogError>;

    /// Is the log ready to take records? Has room, and whoever keeps them can be reached.
    ///
    /// # Errors
    /// The reason why it is not, in words.
    async fn ready(&self) -> Result<(), LogError>;
}

/// Membership in a group, and reading.
#[async_trait]
pub trait Subscription: Send {
    /// The next thing that happened, waiting at most `max_wait` for it. Safe to cancel.
    ///
    /// # Errors
    /// `Gone` when retention took what was to be read; `Io` and `Corrupt` when it cannot be read.
    /// An unreachable broker is not an error: it is `Idle`.
    async fn next(&mut self, max_wait: Duration) -> Result<Delivery, LogError>;

    /// Begins, or goes on, to read an assigned partition at `from`. Nothing of a partition is
    /// delivered before this was called for it.
    ///
    /// # Errors
    /// `NotAssigned` when the partition is not this subscription's.
    async fn start(&mut self, partition: Partition, from: Offset) -> Result<(), LogError>;

    /// States up to where (exclusive) each partition is needed no more. Local retention deletes
    /// below it and never above; for Kafka it is the group's offset, shown as lag.
    ///
    /// # Errors
    /// `Io` when a local log cannot keep it, or no record can have an offset. Other failures of Kafka
    /// are logged and come right later.
    async fn release(&mut self, positions: Vec<(Partition, Offset)>) -> Result<(), LogError>;
}

/// What a subscription tells its reader.
#[derive(Debug)]
pub enum Delivery {
    /// These partitions are now this reader's: decide where to begin, and call `start`.
    Assigned(Vec<Partition>),
    /// These partitions are another's; nothing of them follows.
    Revoked(Vec<Partition>),
    /// Records of one partition, ascending by offset, never empty. Offsets may leave gaps (Kafka).
    Records { partition: Partition, records: Vec<Record> },
    /// Nothing came within the time given.
    Idle,
}

/// Runs what waits for a disk or a broker away from the threads that serve requests.
///
/// # Errors
/// Those of the work; `Unavailable` when it was never begun, as the runtime is being shut down.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(cancelled) => Err(LogError::Unavailable {
            at: "of a process that is ending".to_owned(),
            why: cancelled.to_string(),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_on_a_runtime_that_ends_is_an_error_and_no_panic() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let handle = runtime.handle().clone();
        drop(runtime);
        let _entered = handle.enter();
        let answer = futures::executor::block_on(blocking(|| Ok(())));
        assert!(matches!(answer, Err(LogError::Unavailable { .. })), "{answer:?}");
    }
}
