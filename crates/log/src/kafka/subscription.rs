//! A member of a Kafka group that reads from the offsets its pipeline chose.
//! Membership is left to `group`, fetching to `reader`.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;

use async_trait::async_trait;
use footfall_event::{Offset, Partition};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::time::Instant;

use super::KafkaSettings;
use super::client::{self, KindOf};
use super::group::{Committed, Group, Membership};
use super::reader::{self, Command, Read};
use crate::{Delivery, LogError, Subscription};

pub struct KafkaSubscription {
    settings: KafkaSettings,
    group: Group,
    members: UnboundedReceiver<Membership>,
    commands: mpsc::Sender<Command>,
    reads: Receiver<Read>,
    /// Of each assigned partition: the epoch of its last start, 0 before it. What was read in an
    /// earlier epoch is thrown away.
    epochs: BTreeMap<Partition, u64>,
    epoch: u64,
}

impl KafkaSubscription {
    pub fn new(settings: &KafkaSettings, group: &str, kind_of: KindOf) -> Result<Self, LogError> {
        let (commands, reads) = reader::spawn(settings, group, kind_of)?;
        let (group, members) = Group::join(settings, group)?;
        let settings = settings.clone();
        let epochs = BTreeMap::new();
        Ok(Self { settings, group, members, commands, reads, epochs, epoch: 0 })
    }

    /// Asks how far the group has come.
    pub fn committed(&self) -> Option<Committed> {
        self.group.committed(&self.settings)
    }

    /// Tells the group how far partitions are read, whosever they are.
    ///
    /// # Errors
    /// As [`Subscription::release`].
    pub fn tell(&self, positions: Vec<(Partition, Offset)>) -> Result<(), LogError> {
        if positions.is_empty() { Ok(()) } else { self.group.commit(positions) }
    }

    /// What the group has decided since, without waiting for it.
    pub fn membership(&mut self) -> Option<Delivery> {
        let membership = self.members.try_recv().ok()?;
        Some(self.member(membership))
    }

    fn member(&mut self, membership: Membership) -> Delivery {
        match membership {
            Membership::Assigned(partitions) => {
                self.epochs.extend(partitions.iter().map(|partition| (*partition, 0)));
                Delivery::Assigned(partitions)
            }
            Membership::Revoked(partitions) => {
                for partition in &partitions {
                    self.epochs.remove(partition);
                    // A reader that has ended reads nothing.
                    let _ended = self.commands.send(Command::Stop { partition: *partition });
                }
                Delivery::Revoked(partitions)
            }
        }
    }

    /// What was read, if it is still wanted.
    fn read(&self, read: Read) -> Option<Result<Delivery, LogError>> {
        let wanted = |partition, epoch| self.epochs.get(partition) == Some(epoch);
        match read {
            Read::Records { partition, epoch, records } => {
                wanted(&partition, &epoch).then_some(Ok(Delivery::Records { partition, records }))
            }
            Read::Failed { partition, epoch, error } => {
                wanted(&partition, &epoch).then_some(Err(error))
            }
        }
    }

    fn ended(&self) -> LogError {
        client::unavailable(&self.settings, "the reading thread has ended: restart footfall")
    }
}

#[async_trait]
impl Subscription for KafkaSubscription {
    async fn next(&mut self, max_wait: Duration) -> Result<Delivery, LogError> {
        let deadline = Instant::now() + max_wait;
        loop {
            tokio::select! {
                biased;
                membership = self.members.recv() => {
                    let membership = membership.ok_or_else(|| self.ended())?;
                    return Ok(self.member(membership));
                }
                read = self.reads.recv() => {
                    let read = read.ok_or_else(|| self.ended())?;
                    if let Some(delivery) = self.read(read) {
                        return delivery;
                    }
                }
                () = tokio::time::sleep_until(deadline) => return Ok(Delivery::Idle),
            }
        }
    }

    async fn start(&mut self, partition: Partition, from: Offset) -> Result<(), LogError> {
        if !self.epochs.contains_key(&partition) {
            return Err(LogError::NotAssigned(partition));
        }
        self.epoch += 1;
        self.epochs.insert(partition, self.epoch);
        let start = Command::Start { partition, from, epoch: self.epoch };
        self.commands.send(start).map_err(|_| self.ended())
    }

    async fn release(&mut self, positions: Vec<(Partition, Offset)>) -> Result<(), LogError> {
        let assigned = |(partition, _): &(Partition, Offset)| self.epochs.contains_key(partition);
        self.tell(positions.into_iter().filter(assigned).collect())
    }
}

#[cfg(test)]
mod tests {
    use footfall_event::Micros;

    use super::*;
    use crate::{Kind, Record};

    /// No broker is needed to start: what is read is told by the test.
    #[tokio::test]
    async fn what_was_read_before_a_start_is_thrown_away() {
        let settings = KafkaSettings::new("127.0.0.1:1", "events", 1);
        let mut subscription = KafkaSubscription::new(&settings, "g", client::kind).unwrap();
        let (told, reads) = tokio::sync::mpsc::channel(4);
        subscription.reads = reads;
        let partition = Partition(0);
        subscription.member(Membership::Assigned(vec![partition]));
        for epoch in 1..=2 {
            subscription.start(partition, Offset(0)).await.unwrap();
            let (kind, payload) = (Kind::Event, bytes::Bytes::new());
            let record = Record { offset: Offset(epoch), append_time: Micros(0), kind, payload };
            let (epoch, records) = (epoch as u64, vec![record]);
            told.send(Read::Records { partition, epoch, records }).await.unwrap();
            let error = subscription.ended();
            told.send(Read::Failed { partition, epoch, error }).await.unwrap();
        }
        let patience = Duration::from_secs(60);
        let delivered = subscription.next(patience).await.unwrap();
        let Delivery::Records { records, .. } = delivered else { panic!("{delivered:?}") };
        assert_eq!(records[0].offset, Offset(2));
        subscription.next(patience).await.unwrap_err();
    }
}
