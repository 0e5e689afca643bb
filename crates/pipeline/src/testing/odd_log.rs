//! An embedded log that is odd in a way that a test asks for.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use footfall_event::{Micros, Offset, Partition};
use footfall_log::{
    Appended, EventLog, LocalLog, LocalSettings, LogError, NewRecord, Record, Redacted, Redaction,
    Subscription,
};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use super::TOPIC;

pub struct OddLog {
    _folder: TempDir,
    log: LocalLog,
    /// Where it begins once its bounds were asked for: retention goes on.
    pub moves_to: Option<Offset>,
    was_asked: AtomicBool,
    /// Whether the next append is done and its answer lost.
    pub loses_answer: AtomicBool,
    /// Whether it takes nothing any more.
    pub failed_for_good: AtomicBool,
    /// What may be published; the rest waits.
    pub publishable: Semaphore,
    /// Whether no record is there that is asked for by itself, as where retention took it.
    pub reads_none: bool,
}

impl OddLog {
    /// A log of one partition, and nothing odd about it.
    pub fn new() -> OddLog {
        let folder = tempfile::tempdir().unwrap();
        let log = LocalLog::open(LocalSettings::new(folder.path(), TOPIC, 1)).unwrap();
        OddLog {
            _folder: folder,
            log,
            moves_to: None,
            was_asked: AtomicBool::new(false),
            loses_answer: AtomicBool::new(false),
            failed_for_good: AtomicBool::new(false),
            publishable: Semaphore::new(Semaphore::MAX_PERMITS),
            reads_none: false,
        }
    }
}

#[async_trait]
impl EventLog for OddLog {
    fn topic(&self) -> &str {
        self.log.topic()
    }

    fn partitions(&self) -> u32 {
        self.log.partitions()
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Appended>, LogError> {
        if self.failed_for_good.load(Ordering::Relaxed) {
            return Err(LogError::Io { at: "here".to_owned(), why: "it failed".to_owned() });
        }
        let appended = self.log.append(records).await?;
        match self.loses_answer.swap(false, Ordering::Relaxed) {
            true => Err(LogError::Unavailable { at: "here".to_owned(), why: "lost".to_owned() }),
            false => Ok(appended),
        }
    }

    async fn bounds(&self, partition: Partition) -> Result<Range<Offset>, LogError> {
        let bounds = self.log.bounds(partition).await?;
        match self.moves_to {
            Some(begin) if self.was_asked.swap(true, Ordering::Relaxed) => Ok(begin..bounds.end),
            _ => Ok(bounds),
        }
    }

    async fn read_one(
        &self,
        partition: Partition,
        offset: Offset,
    ) -> Result<Option<Record>, LogError> {
        match self.reads_none {
            true => Ok(None),
            false => self.log.read_one(partition, offset).await,
        }
    }

    fn subscribe(&self, group: &str) -> Result<Box<dyn Subscription>, LogError> {
        self.log.subscribe(group)
    }

    async fn publish(&self, topic: &str, key: &str, payloads: Vec<Bytes>) -> Result<(), LogError> {
        let _permit = self.publishable.acquire().await;
        self.log.publish(topic, key, payloads).await
    }

    async fn redact(&self, redaction: Redaction) -> Result<Redacted, LogError> {
        self.log.redact(redaction).await
    }

    async fn count_meant(
        &self,
        redaction: Redaction,
        published_until: Micros,
    ) -> Result<Redacted, LogError> {
        self.log.count_meant(redaction, published_until).await
    }

    fn has_room(&self) -> Result<(), LogError> {
        self.log.has_room()
    }

    async fn ready(&self) -> Result<(), LogError> {
        self.log.ready().await
    }
}
