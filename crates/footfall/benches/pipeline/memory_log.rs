//! A log whose records lie in memory with the append times they were given, and that notes how much
//! CPU time was spent at each stage of their reading. What is appended to it is dropped.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use footfall_event::{Micros, Offset, Partition};
use footfall_log::{
    Appended, DELIVERY_RECORDS_MAX, Delivery, EventLog, LogError, NewRecord, Record, Subscription,
};
use tokio_util::sync::CancellationToken;

use crate::cpu_seconds;

/// CPU seconds of the process when reading began, when the last event had been folded, and when
/// the last record had.
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
            stage: Stage::Assign,
        }))
    }

    async fn publish(&self, _: &str, _: &str, _: Vec<Bytes>) -> Result<(), LogError> {
        Ok(())
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
    stage: Stage,
}

enum Stage {
    Assign,
    /// A delivery of a partition's events from a row on; the partitions take turns.
    Events {
        turn: usize,
    },
    Ticks {
        partition: usize,
    },
    Done,
}

#[async_trait]
impl Subscription for Reading {
    async fn next(&mut self, max_wait: Duration) -> Result<Delivery, LogError> {
        loop {
            match self.stage {
                Stage::Assign => {
                    self.stage = Stage::Events { turn: 0 };
                    let all = (0..self.partitions.len() as i32).map(Partition).collect();
                    return Ok(Delivery::Assigned(all));
                }
                Stage::Events { turn } => {
                    if turn == 0 {
                        self.mark(|marks, cpu| marks.began = cpu);
                    }
                    let partition = turn % self.partitions.len();
                    let from = turn / self.partitions.len() * DELIVERY_RECORDS_MAX;
                    if self.partitions.iter().all(|recorded| recorded.events.len() <= from) {
                        self.mark(|marks, cpu| marks.folded = cpu);
                        self.stage = Stage::Ticks { partition: 0 };
                        continue;
                    }
                    self.stage = Stage::Events { turn: turn + 1 };
                    let events = &self.partitions[partition].events;
                    let to = events.len().min(from + DELIVERY_RECORDS_MAX);
                    if from < to {
                        let records = events[from..to].to_vec();
                        return Ok(Delivery::Records {
                            partition: Partition(partition as i32),
                            records,
                        });
                    }
                }
                Stage::Ticks { partition } => {
                    let Some(recorded) = self.partitions.get(partition) else {
                        self.stage = Stage::Done;
                        continue;
                    };
                    self.stage = Stage::Ticks { partition: partition + 1 };
                    let records = recorded.ticks.clone();
                    return Ok(Delivery::Records {
                        partition: Partition(partition as i32),
                        records,
                    });
                }
                Stage::Done => {
                    self.done.cancel();
                    tokio::time::sleep(max_wait).await;
                    return Ok(Delivery::Idle);
                }
            }
        }
    }

    async fn start(&mut self, _: Partition, from: Offset) -> Result<(), LogError> {
        assert_eq!(from, Offset(0), "the lake is new");
        Ok(())
    }

    async fn release(&mut self, _: Vec<(Partition, Offset)>) -> Result<(), LogError> {
        Ok(())
    }
}

impl Reading {
    fn mark(&self, mark: impl FnOnce(&mut Marks, f64)) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        mark(&mut marks, cpu_seconds());
    }
}
