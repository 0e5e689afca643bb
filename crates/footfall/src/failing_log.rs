//! A log that holds what tests let it hold. Nobody reads it.

use std::ops::Range;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use footfall_event::{Micros, Offset, Partition};
use footfall_log::{
    Appended, EventLog, LogError, NewRecord, Record, Redacted, Redaction, Subscription,
};

/// What becomes of an append.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Taken,
    /// It may be taken later.
    Unavailable,
    /// It never will.
    FailedForGood,
}

pub struct FailingLog {
    answer: Mutex<Answer>,
    seems_well: bool,
    appends: AtomicUsize,
}

impl FailingLog {
    pub fn new(answer: Answer) -> FailingLog {
        FailingLog { answer: Mutex::new(answer), seems_well: false, appends: AtomicUsize::new(0) }
    }

    /// One that has room as far as can be told before it is asked to take something.
    pub fn seeming_well(answer: Answer) -> FailingLog {
        FailingLog { seems_well: true, ..FailingLog::new(answer) }
    }

    pub fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    /// How often it was asked to take something.
    pub fn appends(&self) -> usize {
        self.appends.load(Relaxed)
    }

    fn outcome(&self) -> Result<(), LogError> {
        let (at, why) = ("failing".to_owned(), "restart footfall".to_owned());
        match *self.answer.lock().unwrap_or_else(PoisonError::into_inner) {
            Answer::Taken => Ok(()),
            Answer::Unavailable => Err(LogError::Unavailable { at, why }),
            Answer::FailedForGood => Err(LogError::Io { at, why }),
        }
    }
}

#[async_trait]
impl EventLog for FailingLog {
    fn topic(&self) -> &str {
        "failing"
    }

    fn partitions(&self) -> u32 {
        1
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Appended>, LogError> {
        self.appends.fetch_add(1, Relaxed);
        self.outcome()?;
        let appended = |record: NewRecord| {
            let (offset, append_time) = (Offset(0), Micros::clock());
            Appended { partition: record.partition, offset, append_time }
        };
        Ok(records.into_iter().map(appended).collect())
    }

    async fn bounds(&self, _: Partition) -> Result<Range<Offset>, LogError> {
        Ok(Offset(0)..Offset(0))
    }

    async fn read_one(&self, _: Partition, _: Offset) -> Result<Option<Record>, LogError> {
        Ok(None)
    }

    fn subscribe(&self, _: &str) -> Result<Box<dyn Subscription>, LogError> {
        Err(LogError::Subscribed("failing".to_owned()))
    }

    async fn publish(&self, _: &str, _: &str, _: Vec<Bytes>) -> Result<(), LogError> {
        self.outcome()
    }

    async fn redact(&self, _: Redaction) -> Result<Redacted, LogError> {
        Ok(Redacted::LeftToRetention)
    }

    async fn count_meant(&self, _: Redaction, _: Micros) -> Result<Redacted, LogError> {
        Ok(Redacted::LeftToRetention)
    }

    fn has_room(&self) -> Result<(), LogError> {
        if self.seems_well { Ok(()) } else { self.outcome() }
    }

    async fn ready(&self) -> Result<(), LogError> {
        self.has_room()
    }
}
