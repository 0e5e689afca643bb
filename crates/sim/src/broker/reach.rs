//! The event log as one process reaches it: each step may fail, be late, or be the process's last.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use footfall_event::{Micros, Offset, Partition};
use footfall_lake::Between;
use footfall_log::{
    Appended, DELIVERY_RECORDS_MAX, Delivery, EventLog, LogError, NewRecord, Record, Redacted,
    Redaction, Subscription,
};
use rand::Rng;

use super::{Broker, Notice, TOPIC};
use crate::process::Process;

/// The log as one process reaches it.
pub struct SimLog {
    pub broker: Arc<Broker>,
    pub process: Arc<Process>,
}

impl SimLog {
    fn unavailable(why: String) -> LogError {
        LogError::Unavailable { at: "of the simulation".to_owned(), why }
    }
}

#[async_trait]
impl EventLog for SimLog {
    fn topic(&self) -> &str {
        TOPIC
    }

    fn partitions(&self) -> u32 {
        self.broker.partitions()
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Appended>, LogError> {
        self.process.before("append").await.map_err(SimLog::unavailable)?;
        if let Some(later) = self.process.lands_later("append") {
            let broker = self.broker.clone();
            tokio::spawn(async move {
                tokio::time::sleep(later).await;
                for record in records {
                    broker.append(record);
                }
            });
            return Err(SimLog::unavailable("append: it took too long".to_owned()));
        }
        let mut appended = Vec::new();
        for (number, record) in records.into_iter().enumerate() {
            // Of several some may be written, and the others not.
            if number > 0 {
                self.process.before("append next").await.map_err(SimLog::unavailable)?;
            }
            appended.push(self.broker.append(record));
        }
        self.process.after("append").await.map_err(SimLog::unavailable)?;
        Ok(appended)
    }

    async fn bounds(&self, partition: Partition) -> Result<Range<Offset>, LogError> {
        self.process.before("bounds").await.map_err(SimLog::unavailable)?;
        let state = self.broker.state();
        let kept = &state.partitions[partition.0 as usize];
        Ok(Offset(kept.begin as i64)..Offset(kept.records.len() as i64))
    }

    async fn read_one(
        &self,
        partition: Partition,
        offset: Offset,
    ) -> Result<Option<Record>, LogError> {
        self.process.before("read").await.map_err(SimLog::unavailable)?;
        let state = self.broker.state();
        let kept = &state.partitions[partition.0 as usize];
        let is_there = offset.0 as usize >= kept.begin;
        Ok(is_there.then(|| kept.records.get(offset.0 as usize).cloned()).flatten())
    }

    fn subscribe(&self, _: &str) -> Result<Box<dyn Subscription>, LogError> {
        let (broker, process) = (self.broker.clone(), self.process.clone());
        let member = broker.join(&process);
        let (positions, last) = (BTreeMap::new(), Partition(-1));
        Ok(Box::new(SimSubscription { broker, process, member, positions, last }))
    }

    async fn publish(&self, _: &str, key: &str, payloads: Vec<Bytes>) -> Result<(), LogError> {
        self.process.before("publish").await.map_err(SimLog::unavailable)?;
        let published = payloads.into_iter().map(|payload| (key.to_owned(), payload));
        self.broker.state().published.extend(published);
        self.process.after("publish").await.map_err(SimLog::unavailable)
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

struct SimSubscription {
    broker: Arc<Broker>,
    process: Arc<Process>,
    member: u64,
    positions: BTreeMap<Partition, Offset>,
    /// Whose turn was last.
    last: Partition,
}

impl SimSubscription {
    fn notice(&mut self) -> Option<Delivery> {
        let mut state = self.broker.state();
        let member = state.members.get_mut(&self.member)?;
        if member.is_deaf {
            return None;
        }
        match member.notices.pop_front()? {
            Notice::Assigned(partitions) => Some(Delivery::Assigned(partitions)),
            Notice::Revoked(partitions) => {
                self.positions.retain(|partition, _| !partitions.contains(partition));
                Some(Delivery::Revoked(partitions))
            }
        }
    }

    /// Some of the records that wait, of each partition in its turn.
    fn records(&mut self) -> Result<Option<Delivery>, LogError> {
        let state = self.broker.state();
        let behind = self
            .positions
            .range((std::ops::Bound::Excluded(self.last), std::ops::Bound::Unbounded));
        let mut turns = behind.chain(self.positions.range(..=self.last));
        let waiting = |(partition, from): &(&Partition, &Offset)| {
            state.partitions[partition.0 as usize].records.len() as i64 != from.0
        };
        let Some((&partition, &from)) = turns.find(waiting) else { return Ok(None) };
        let kept = &state.partitions[partition.0 as usize];
        let bounds = Offset(kept.begin as i64)..Offset(kept.records.len() as i64);
        if !(bounds.start..=bounds.end).contains(&from) {
            return Err(LogError::Gone { partition, wanted: from, bounds });
        }
        let waiting = &kept.records[from.0 as usize..];
        let most = waiting.len().min(DELIVERY_RECORDS_MAX);
        let count = self.broker.world.chance().random_range(1..=most);
        let records = waiting[..count].to_vec();
        self.positions.insert(partition, Offset(from.0 + count as i64));
        self.last = partition;
        Ok(Some(Delivery::Records { partition, records }))
    }
}

#[async_trait]
impl Subscription for SimSubscription {
    async fn next(&mut self, max_wait: Duration) -> Result<Delivery, LogError> {
        if self.process.looks("next").await.is_err() {
            // A broker that cannot be reached is waited for.
            tokio::time::sleep(max_wait).await;
            self.process.lives().await;
            return Ok(Delivery::Idle);
        }
        if let Some(notice) = self.notice() {
            return Ok(notice);
        }
        if let Some(records) = self.records()? {
            return Ok(records);
        }
        tokio::time::sleep(max_wait).await;
        self.process.lives().await;
        Ok(Delivery::Idle)
    }

    async fn start(&mut self, partition: Partition, from: Offset) -> Result<(), LogError> {
        self.process.before("start").await.map_err(SimLog::unavailable)?;
        self.positions.insert(partition, from);
        Ok(())
    }

    async fn release(&mut self, positions: Vec<(Partition, Offset)>) -> Result<(), LogError> {
        self.process.before("release").await.map_err(SimLog::unavailable)?;
        self.broker.release(&positions);
        Ok(())
    }
}

impl Drop for SimSubscription {
    fn drop(&mut self) {
        self.broker.leave(self.member);
    }
}
