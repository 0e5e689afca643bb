//! Membership in a consumer group: which partitions are ours, and the group's offsets for display.
//! It reads nothing: everything it is assigned stays paused. Reading is left to the reader.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use footfall_event::{Offset, Partition};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::KafkaSettings;
use super::client::{self, QUERY_TIMEOUT};
use crate::LogError;

const POLL: Duration = Duration::from_millis(100);
/// How long leaving may take; after that the session times out.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);

/// What the group decided.
pub enum Membership {
    Assigned(Vec<Partition>),
    Revoked(Vec<Partition>),
}

/// A member, until it is dropped: then it leaves.
pub struct Group {
    topic: String,
    /// `None` once it leaves.
    client: Option<Arc<BaseConsumer<Context>>>,
    leaves: Arc<AtomicBool>,
    left: mpsc::Receiver<()>,
}

impl Group {
    /// Joins. What is assigned comes through the channel.
    pub fn join(
        settings: &KafkaSettings,
        group: &str,
    ) -> Result<(Self, UnboundedReceiver<Membership>), LogError> {
        let (told, members) = unbounded_channel();
        let mut config = client::config(settings);
        config
            .set("group.id", group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", settings.session_timeout_ms.to_string())
            .set("heartbeat.interval.ms", (settings.session_timeout_ms / 4).max(1).to_string())
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "latest")
            .set("queued.max.messages.kbytes", "1024");
        let client: BaseConsumer<Context> = client::create(&config, Context { told })?;
        let subscribed = client.subscribe(&[&settings.topic]);
        subscribed.map_err(|error| client::unavailable(settings, error))?;
        let client = Arc::new(client);
        let leaves = Arc::new(AtomicBool::new(false));
        let (leaving, left) = mpsc::channel();
        let (member, ends) = (Arc::clone(&client), Arc::clone(&leaves));
        let spawned = thread::Builder::new().name("kafka-group".to_owned()).spawn(move || {
            poll(&member, &ends);
            // The last reference: closing it tells the group.
            drop(member);
            drop(leaving);
        });
        spawned.map_err(|error| client::unavailable(settings, error))?;
        let group = Self { topic: settings.topic.clone(), client: Some(client), leaves, left };
        Ok((group, members))
    }

    /// Asks how far the group has come; `None` once this member leaves.
    pub fn committed(&self, settings: &KafkaSettings) -> Option<Committed> {
        let client = Arc::clone(self.client.as_ref()?);
        Some(Committed { settings: settings.clone(), client })
    }

    /// Stores offsets for whoever displays the lag. A failure is logged; the next one repairs it.
    ///
    /// # Errors
    /// `Io` for an offset below 0.
    pub fn commit(&self, positions: Vec<(Partition, Offset)>) -> Result<(), LogError> {
        let offsets = client::offsets(&self.topic, positions)?;
        if let Some(client) = &self.client
            && let Err(error) = client.commit(&offsets, CommitMode::Async)
        {
            tracing::debug!(%error, "group offsets not committed");
        }
        Ok(())
    }
}

/// Asks the cluster how far the group has come. It blocks on the network.
pub struct Committed {
    settings: KafkaSettings,
    client: Arc<BaseConsumer<Context>>,
}

impl Committed {
    /// The offsets that are stored for the group; `None` where there is none.
    ///
    /// # Errors
    /// `Unavailable` when no broker answers.
    pub fn offsets(
        &self,
        partitions: &[Partition],
    ) -> Result<Vec<(Partition, Option<Offset>)>, LogError> {
        let unavailable = |error| client::unavailable(&self.settings, error);
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.settings.topic, partition.0);
        }
        let list = self.client.committed_offsets(list, QUERY_TIMEOUT).map_err(unavailable)?;
        let offset = |element: TopicPartitionListElem<'_>| {
            element.error().map_err(unavailable)?;
            let offset = match element.offset() {
                KafkaOffset::Offset(offset) => Some(Offset(offset)),
                _ => None,
            };
            Ok((Partition(element.partition()), offset))
        };
        list.elements().into_iter().map(offset).collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.leaves.store(true, Relaxed);
        self.client = None;
        if let Err(mpsc::RecvTimeoutError::Timeout) = self.left.recv_timeout(LEAVE_TIMEOUT) {
            tracing::warn!("the consumer group was not left in {LEAVE_TIMEOUT:?}");
        }
    }
}

fn poll(member: &BaseConsumer<Context>, ends: &AtomicBool) {
    while !ends.load(Relaxed) {
        match member.poll(POLL) {
            // Fetched before the pause took hold; the reader reads it too.
            Some(Ok(_)) | None => {}
            Some(Err(error)) => client::tell("group", &error, ""),
        }
    }
}

struct Context {
    told: UnboundedSender<Membership>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::tell("group", &error, reason);
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(list) = rebalance {
            self.tell(list, Membership::Revoked);
        }
    }

    fn post_rebalance(&self, member: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance {
            if let Err(error) = member.pause(list) {
                tracing::warn!(%error, "assigned partitions not paused");
            }
            self.tell(list, Membership::Assigned);
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "group offsets not committed");
        }
    }
}

impl Context {
    fn tell(&self, list: &TopicPartitionList, membership: fn(Vec<Partition>) -> Membership) {
        let elements = list.elements();
        let partitions: Vec<_> = elements.iter().map(|e| Partition(e.partition())).collect();
        if !partitions.is_empty() {
            // While leaving nobody listens.
            let _gone = self.told.send(membership(partitions));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who has read nothing begins at the end where that is asked for, and would leave out what the group has not read.
    #[test]
    fn an_offset_that_is_not_told_is_not_taken_for_none() {
        let mut settings = KafkaSettings::new("mock", "not made", 1);
        settings.client.insert("test.mock.num.brokers".to_owned(), "1".to_owned());
        let (told, _members) = unbounded_channel();
        let mut config = client::config(&settings);
        let client = client::create(config.set("group.id", "g"), Context { told }).unwrap();
        let committed = Committed { settings, client: Arc::new(client) };
        let failed = committed.offsets(&[Partition(0)]).unwrap_err();
        assert!(failed.to_string().contains("Unknown topic or partition"), "{failed}");
    }
}
