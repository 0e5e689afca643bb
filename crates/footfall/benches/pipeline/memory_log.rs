//! A log whose records lie in memory with the append times they were given, and that notes how much
//! CPU time was spent at each stage of their reading. What is appended to it is dropped.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use footfall_event::{Micros, Offset, Partition};
use footfall_log::{
    Appended, DELIVERY_RECORDS_MAX, Delivery, EventLog, LogError, NewRecord, Record, Redacted,
    Redaction, Subscription,
};
use footfall_tests::cpu_seconds;
use tokio_util::sync::CancellationToken;

/// CPU seconds of the process when reading began, and when the last event had been folded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Marks {
    pub began: f64,
    pub folded: f64,
}

/// The records of one partition: events, then the ticks that close their sessions.
#[derive(Clone, Default)]
pub struct Recorded {
    pub events: Vec<Record>,
    pub ticks: Vec<Record>,
}

pub struct MemoryLog {
    partitions: Arc<Vec<Recorded>>,
    marks: Arc<Mutex<Marks>>,
    /// Cancelled when all was read.
    done: CancellationToken,
}

impl MemoryLog {
    pub fn new(partitions: Arc<Vec<Recorded>>, done: CancellationToken) -> MemoryLog {
        MemoryLog { partitions, marks: Arc::default(), done }
    }

    pub fn marks(&self) -> Marks {
        *self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, partition: Partition) -> Offset {
        let recorded = &self.partitions[partition.0 as usize];
        Offset((recorded.events.len() + recorded.ticks.len()) as i64)
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    fn topic(&self) -> &str {
        "bench"
    }

    fn partitions(&self) -> u32 {
        self.partitions.len() as u32
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Appended>, LogError> {
        let appended = |record: NewRecord| Appended {
            partition: record.partition,
            offset: self.end(record.partition),
            append_time: Micros(0),
        };
        Ok(records.into_iter().map(appended).collect())
    }

    async fn bounds(&self, partition: Partition) -> Result<Range<Offset>, LogError> {
        Ok(Offset(0)..self.end(partition))
    }

    async fn read_one(&self, _: Partition, _: Offset) -> Result<Option<Record>, LogError> {
        Ok(None)
    }

    fn subscribe(&self, _: &str) -> Result<Box<dyn Subscription>, LogError> {
        Ok(Box::new(Reading {
            partitions: self.partitions.clone(),
            marks: self.marks.clone(),
            done: self.done.clone(),
            positions: vec![0; self.partitions.len()],
            turn: None,
        }))
    }

    async fn publish(&self, _: &str, _: &str, _: Vec<Bytes>) -> Result<(), LogError> {
        Ok(())
    }

    async fn redact(&self, _: Redaction) -> Result<Redacted, LogError> {
        Ok(Redacted::LeftToRetention)
    }

    async fn count_meant(&self, _: Redaction, _: Micros) -> Result<Redacted, LogError> {
        Ok(Redacted::LeftToRetention)
    }

    fn has_room(&self) -> Result<(), LogError> {
        Ok(())
    }

    async fn ready(&self) -> Result<(), LogError> {
        Ok(())
    }
}

struct Reading {
    partitions: Arc<Vec<Recorded>>,
    marks: Arc<Mutex<Marks>>,
    done: CancellationToken,
    /// Each partition's next record.
    positions: Vec<usize>,
    /// Whose turn it is; `None` before the partitions are assigned.
    turn: Option<usize>,
}

#[async_trait]
impl Subscription for Reading {
    async fn next(&mut self, max_wait: Duration) -> Result<Delivery, LogError> {
        let count = self.partitions.len();
        let Some(turn) = self.turn.replace(self.turn.map_or(0, |turn| turn + 1)) else {
            self.mark(|marks, cpu| marks.began = cpu)?;
            return Ok(Delivery::Assigned((0..count as i32).map(Partition).collect()));
        };
        // The partitions take turns, first with their events, then with their ticks.
        for partition in (turn..turn + count).map(|turn| turn % count) {
            let (events, position) =
                (&self.partitions[partition].events, self.positions[partition]);
            if position < events.len() {
                let to = events.len().min(position + DELIVERY_RECORDS_MAX);
                self.positions[partition] = to;
                return Ok(records(partition, &events[position..to]));
            }
        }
        self.mark(|marks, cpu| {
            marks.folded = if marks.folded == 0.0 { cpu } else { marks.folded }
        })?;
        for (partition, recorded) in self.partitions.iter().enumerate() {
            if self.positions[partition] == recorded.events.len() {
                self.positions[partition] += recorded.ticks.len();
                return Ok(records(partition, &recorded.ticks));
            }
        }
        self.done.cancel();
        tokio::time::sleep(max_wait).await;
        Ok(Delivery::Idle)
    }

    async fn start(&mut self, partition: Partition, from: Offset) -> Result<(), LogError> {
        self.positions[partition.0 as usize] = from.0 as usize;
        Ok(())
    }

    async fn release(&mut self, _: Vec<(Partition, Offset)>) -> Result<(), LogError> {
        Ok(())
    }
}

fn records(partition: usize, records: &[Record]) -> Delivery {
    Delivery::Records { partition: Partition(partition as i32), records: records.to_vec() }
}

impl Reading {
    fn mark(&self, mark: impl FnOnce(&mut Marks, f64)) -> Result<(), LogError> {
        let failed =
            |error: anyhow::Error| LogError::Io { at: "bench".to_owned(), why: error.to_string() };
        let cpu = cpu_seconds().map_err(failed)?;
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        mark(&mut marks, cpu);
        Ok(())
    }
}
