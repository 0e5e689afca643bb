//! The event log on the local disk: one database, one writer, any number of readers.
//! What is kept under which key is left to `layout`, the disk itself to fjall.

mod layout;
mod queue;
mod reader;
mod redact;
mod retention;
mod store;
mod subscription;
#[cfg(test)]
mod testing;
mod writer;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use footfall_event::{Micros, Offset, Partition};

use crate::{
    Appended, EventLog, Kind, LogError, NewRecord, RECORD_BYTES_MAX, Record, Redacted, Redaction,
    Subscription, blocking,
};
use layout::SIDE_NAME_BYTES_MAX;
use queue::{Queue, Work};
use store::Store;

/// Side topics a local log takes; a further one is refused.
const SIDE_TOPICS_MAX: usize = 64;

/// Where a local log lies, and its bounds.
#[derive(Clone, Debug)]
pub struct LocalSettings {
    pub directory: PathBuf,
    /// The name of the log. Fixed when the directory is made.
    pub topic: String,
    /// Fixed when the directory is made.
    pub partitions: u32,
    /// Records are kept at least this long.
    pub retention_ms: i64,
    /// Records are deleted a segment at a time; a segment spans this long.
    pub segment_ms: i64,
    /// Above nine tenths of this many bytes on disk released segments go before their time; above
    /// all of it events are refused (`Overloaded`), while ticks and control records still pass.
    pub bytes_max: Option<u64>,
    /// Appended bytes that may wait for the disk; beyond it `append` answers `Overloaded`. A call
    /// alone in the queue is taken whatever its size, and `release` always.
    pub queue_bytes_max: usize,
}

/// A time further ahead of the clock than this is the work of a clock that was wrong for a while. Up
/// to it append times stand until the clock has caught up (docs/decisions/0006).
const AHEAD_MAX: Micros = Micros(5 * Micros::MINUTE.0);

impl LocalSettings {
    /// The defaults: a day in segments of an hour, no bound in bytes, 32 MiB waiting.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>, topic: &str, partitions: u32) -> Self {
        Self {
            directory: directory.into(),
            topic: topic.to_owned(),
            partitions,
            retention_ms: 24 * 3_600_000,
            segment_ms: 3_600_000,
            bytes_max: None,
            queue_bytes_max: 32 * 1024 * 1024,
        }
    }
}

/// An event log on the local disk, open in this process alone.
pub struct LocalLog {
    store: Arc<Store>,
    queue: Arc<Queue>,
    writer: Option<JoinHandle<()>>,
}

impl LocalLog {
    /// Opens the log of a directory, and makes it where there is none. Blocks on the disk.
    ///
    /// # Errors
    /// `Locked` when a process has it open, `Unfit` when it was made with another topic or number
    /// of partitions or a setting is out of range, `Corrupt`, `Io`.
    pub fn open(settings: LocalSettings) -> Result<Self, LogError> {
        check(&settings)?;
        let queue = Arc::new(Queue::new(settings.queue_bytes_max));
        let (store, tails) = Store::open(settings)?;
        let store = Arc::new(store);
        let writer = writer::spawn(Arc::clone(&store), Arc::clone(&queue), tails)
            .map_err(|error| store.io_error(&error))?;
        Ok(Self { store, queue, writer: Some(writer) })
    }

    /// Everything that a side topic still holds, in order: keys and payloads.
    ///
    /// # Errors
    /// `Io` and `Corrupt` when it cannot be read.
    pub fn published(&self, topic: &str) -> Result<Vec<(Bytes, Bytes)>, LogError> {
        let records = reader::read_side(&self.store, topic)?;
        let split = records.into_iter().map(|record| decode_published(record.payload));
        split.collect::<Option<_>>().ok_or_else(|| self.store.corrupt("published record is cut"))
    }

    fn check_append(&self, records: &[NewRecord]) -> Result<usize, LogError> {
        let mut bytes = 0;
        for record in records {
            self.store.expect_partition(record.partition)?;
            check_size(record.payload.len())?;
            bytes += record.payload.len() + layout::FRAME_HEADER_BYTES;
        }
        let spared = |kind| matches!(kind, Kind::Tick | Kind::Control);
        if self.store.full.load(Relaxed) && !records.iter().all(|record| spared(record.kind)) {
            return Err(self.store.full_error());
        }
        Ok(bytes)
    }
}

impl Drop for LocalLog {
    /// Writes what was queued, and lets go of the directory.
    fn drop(&mut self) {
        self.queue.close();
        if let Some(writer) = self.writer.take() {
            let _panicked = writer.join();
        }
    }
}

#[async_trait]
impl EventLog for LocalLog {
    fn topic(&self) -> &str {
        &self.store.settings.topic
    }

    fn partitions(&self) -> u32 {
        self.store.settings.partitions
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Appended>, LogError> {
        let bytes = self.check_append(&records)?;
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.queue.submit(Work::Append(records), bytes).await
    }

    async fn bounds(&self, partition: Partition) -> Result<Range<Offset>, LogError> {
        self.store.expect_partition(partition)?;
        Ok(self.store.bounds(partition))
    }

    async fn read_one(
        &self,
        partition: Partition,
        offset: Offset,
    ) -> Result<Option<Record>, LogError> {
        self.store.expect_partition(partition)?;
        let store = Arc::clone(&self.store);
        blocking(move || reader::read_one(&store, partition, offset)).await
    }

    fn subscribe(&self, _group: &str) -> Result<Box<dyn Subscription>, LogError> {
        let subscription = subscription::LocalSubscription::new(&self.store, &self.queue)?;
        Ok(Box::new(subscription))
    }

    async fn publish(&self, topic: &str, key: &str, payloads: Vec<Bytes>) -> Result<(), LogError> {
        if topic.is_empty() || topic.len() > SIDE_NAME_BYTES_MAX {
            return Err(LogError::Unfit {
                thing: "side topic".to_owned(),
                setting: "name",
                value: format!("{} bytes long", topic.len()),
                need: format!("1 to {SIDE_NAME_BYTES_MAX} are allowed"),
            });
        }
        if payloads.is_empty() {
            return Ok(());
        }
        let mut frames = Vec::with_capacity(payloads.len());
        for payload in payloads {
            check_size(key.len() + payload.len())?;
            frames.push(encode_published(key, &payload));
        }
        let bytes = frames.iter().map(Bytes::len).sum();
        let work = Work::Publish { topic: topic.to_owned(), frames };
        self.queue.submit(work, bytes).await.map(drop)
    }

    async fn redact(&self, redaction: Redaction) -> Result<Redacted, LogError> {
        redact::redact(&self.store, &self.queue, redaction).await
    }

    async fn count_meant(
        &self,
        redaction: Redaction,
        published_until: Micros,
    ) -> Result<Redacted, LogError> {
        let store = Arc::clone(&self.store);
        blocking(move || redact::count(&store, &redaction, published_until)).await
    }

    fn has_room(&self) -> Result<(), LogError> {
        if self.store.full.load(Relaxed) {
            return Err(self.store.full_error());
        }
        self.queue.has_room()
    }

    async fn ready(&self) -> Result<(), LogError> {
        self.has_room()
    }
}

fn check(settings: &LocalSettings) -> Result<(), LogError> {
    let unfit = |setting, value: i64, need: &str| LogError::Unfit {
        thing: format!("event log {}", settings.directory.display()),
        setting,
        value: value.to_string(),
        need: need.to_owned(),
    };
    if settings.partitions == 0 || i32::try_from(settings.partitions).is_err() {
        return Err(unfit("partitions", settings.partitions.into(), "it must be 1 or more"));
    }
    if settings.segment_ms < 1 {
        return Err(unfit("segment_ms", settings.segment_ms, "it must be 1 or more"));
    }
    if settings.retention_ms < 0 {
        return Err(unfit("retention_ms", settings.retention_ms, "it must be 0 or more"));
    }
    Ok(())
}

fn check_size(bytes: usize) -> Result<(), LogError> {
    if bytes <= RECORD_BYTES_MAX {
        return Ok(());
    }
    Err(LogError::TooLarge { bytes, max: RECORD_BYTES_MAX })
}

fn encode_published(key: &str, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(4 + key.len() + payload.len());
    frame.put_u32(key.len() as u32);
    frame.put_slice(key.as_bytes());
    frame.put_slice(payload);
    frame.freeze()
}

fn decode_published(mut frame: Bytes) -> Option<(Bytes, Bytes)> {
    let (bytes, _) = frame.split_first_chunk()?;
    let key_bytes = u32::from_be_bytes(*bytes) as usize;
    let _length = frame.split_to(4);
    (frame.len() >= key_bytes).then(|| (frame.split_to(key_bytes), frame))
}
