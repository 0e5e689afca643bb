//! Reading a local log as its one reader: all partitions at once, in turns.
//! What a batch is made of is left to the reader.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Release};
use std::time::Duration;

use async_trait::async_trait;
use footfall_event::{Offset, Partition};
use tokio::sync::watch;
use tokio::time::Instant;

use super::queue::{Queue, Work};
use super::reader::{self, Batch};
use super::store::Store;
use crate::{Delivery, LogError, Subscription, blocking};

pub struct LocalSubscription {
    store: Arc<Store>,
    queue: Arc<Queue>,
    grown: watch::Receiver<()>,
    assigned: bool,
    /// Of each started partition: the offset to be read next.
    positions: BTreeMap<Partition, Offset>,
    /// Whose turn was last.
    last: Partition,
}

impl LocalSubscription {
    pub fn new(store: &Arc<Store>, queue: &Arc<Queue>) -> Result<Self, LogError> {
        if store.subscribed.swap(true, AcqRel) {
            return Err(LogError::Subscribed(store.settings.topic.clone()));
        }
        Ok(Self {
            store: Arc::clone(store),
            queue: Arc::clone(queue),
            grown: store.grown.subscribe(),
            assigned: false,
            positions: BTreeMap::new(),
            last: Partition(0),
        })
    }

    /// The next partition, in turns, with something to read or to complain about.
    fn turn(&self) -> Option<(Partition, Offset)> {
        let after = self.positions.range((Excluded(self.last), Unbounded));
        let until = self.positions.range(..=self.last);
        let waiting =
            |(partition, offset): &(&Partition, &Offset)| self.store.end(**partition) != **offset;
        after.chain(until).find(waiting).map(|(partition, offset)| (*partition, *offset))
    }

    async fn read(&mut self, partition: Partition, from: Offset) -> Result<Delivery, LogError> {
        let store = Arc::clone(&self.store);
        let batch = blocking(move || reader::read_batch(&store, partition, from)).await?;
        self.last = partition;
        match batch {
            Batch::Records(records) => {
                self.positions.insert(partition, Offset(from.0 + records.len() as i64));
                Ok(Delivery::Records { partition, records })
            }
            Batch::Empty => Ok(Delivery::Idle),
            Batch::Gone => {
                self.positions.remove(&partition);
                let bounds = self.store.bounds(partition);
                Err(LogError::Gone { partition, wanted: from, bounds })
            }
        }
    }
}

#[async_trait]
impl Subscription for LocalSubscription {
    async fn next(&mut self, max_wait: Duration) -> Result<Delivery, LogError> {
        if !self.assigned {
            self.assigned = true;
            let partitions = 0..self.store.settings.partitions as i32;
            return Ok(Delivery::Assigned(partitions.map(Partition).collect()));
        }
        let deadline = Instant::now() + max_wait;
        loop {
            // Marked before looking: what comes after the look wakes the wait.
            self.grown.mark_unchanged();
            if let Some((partition, from)) = self.turn() {
                return self.read(partition, from).await;
            }
            let grown = tokio::time::timeout_at(deadline, self.grown.changed()).await;
            if grown.is_err() {
                return Ok(Delivery::Idle);
            }
        }
    }

    async fn start(&mut self, partition: Partition, from: Offset) -> Result<(), LogError> {
        if !self.assigned || self.store.expect_partition(partition).is_err() {
            return Err(LogError::NotAssigned(partition));
        }
        self.positions.insert(partition, from);
        Ok(())
    }

    async fn release(&mut self, positions: Vec<(Partition, Offset)>) -> Result<(), LogError> {
        for (partition, _) in &positions {
            self.store.expect_partition(*partition)?;
        }
        self.queue.submit(Work::Release(positions), 0).await.map(drop)
    }
}

impl Drop for LocalSubscription {
    fn drop(&mut self) {
        self.store.subscribed.store(false, Release);
    }
}
