//! Another system's topic, read by a group: its members share the partitions, and the cluster keeps how far each was taken.
//! Membership and fetching are those of a log's subscription; what the messages mean is left to the caller.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use footfall_event::{Micros, Offset, Partition, TIME_RANGE};
use tokio::time::Instant;

use super::KafkaSettings;
use super::client::no_kind;
use super::group::Committed;
use super::query::Query;
use super::subscription::KafkaSubscription;
use crate::{Delivery, LogError, Record, Subscription, blocking};

/// How long a partition whose offset could not be asked for waits for the next try.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Of a group that begins at the end, whoever has this partition tells where that is.
const TELLER: Partition = Partition(0);

/// Where a group begins that has taken nothing yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    #[default]
    Earliest,
    Latest,
}

/// A topic that is not Footfall's.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// `host:port` of some brokers, separated by commas.
    pub brokers: String,
    pub topic: String,
    pub group: String,
    pub start: Start,
}

/// Membership in the group, and reading.
pub struct KafkaSource {
    settings: SourceSettings,
    subscription: KafkaSubscription,
    query: Arc<Query>,
    /// Partitions that are to be begun, and from when on.
    unbegun: Vec<Partition>,
    ask_at: Instant,
}

/// Messages of one partition, ascending by offset.
pub struct SourceMessages {
    pub partition: Partition,
    pub messages: Vec<SourceMessage>,
}

/// A message as it was sent. One without a value has an empty one.
pub struct SourceMessage {
    pub offset: Offset,
    /// Its producer's clock or the broker's, as the topic is set up; `None` where a message has none, or one that is no time.
    pub time: Option<Micros>,
    pub value: Bytes,
}

impl KafkaSource {
    /// Joins the group. That no broker can be reached, or that there is no such topic, is logged and comes right later.
    ///
    /// # Errors
    /// `Unfit` or `Io` when the client cannot be made.
    pub fn join(settings: SourceSettings) -> Result<KafkaSource, LogError> {
        let SourceSettings { brokers, topic, group, .. } = &settings;
        // How many partitions there are is the group's to know.
        let client = KafkaSettings::new(brokers, topic, 0);
        let subscription = KafkaSubscription::new(&client, group, no_kind)?;
        let query = Arc::new(Query::new(&client, 0)?);
        Ok(KafkaSource {
            settings,
            subscription,
            query,
            unbegun: Vec::new(),
            ask_at: Instant::now(),
        })
    }

    pub fn settings(&self) -> &SourceSettings {
        &self.settings
    }

    /// The next messages; `None` when none came within `max_wait`. Safe to cancel.
    ///
    /// # Errors
    /// Another than that messages are gone: it reads no more, and the group has to be joined again.
    pub async fn next(&mut self, max_wait: Duration) -> Result<Option<SourceMessages>, LogError> {
        if !self.unbegun.is_empty() && self.ask_at <= Instant::now() {
            self.begin().await?;
        }
        let wait = if self.unbegun.is_empty() { max_wait } else { max_wait.min(ASK_AGAIN) };
        match self.subscription.next(wait).await {
            Ok(Delivery::Records { partition, records }) => {
                let messages = records.into_iter().map(message).collect();
                return Ok(Some(SourceMessages { partition, messages }));
            }
            Ok(change) => self.change(change),
            // Nobody can bring back what the topic has let go of: what is still there is read on.
            Err(LogError::Gone { partition, wanted, bounds }) => {
                let (topic, group) = (&self.settings.topic, &self.settings.group);
                let (from, to) = (bounds.start.0, bounds.end.0);
                tracing::error!(
                    topic, group, %partition, wanted = wanted.0, from, to,
                    "messages were deleted before they were read, or the topic was made anew: read from its first message"
                );
                self.subscription.start(partition, bounds.start).await?;
            }
            Err(error) => return Err(error),
        }
        Ok(None)
    }

    /// All messages of a partition before `next` are kept elsewhere for good: the group need not read them again.
    ///
    /// # Errors
    /// `Io` for an offset that no message has.
    pub async fn taken(&mut self, partition: Partition, next: Offset) -> Result<(), LogError> {
        // Of a partition that is another's by now it is that one's to tell.
        while let Some(change) = self.subscription.membership() {
            self.change(change);
        }
        self.subscription.release(vec![(partition, next)]).await
    }

    fn change(&mut self, change: Delivery) {
        match change {
            Delivery::Assigned(partitions) => self.unbegun.extend(partitions),
            Delivery::Revoked(partitions) => {
                self.unbegun.retain(|partition| !partitions.contains(partition));
            }
            Delivery::Records { .. } | Delivery::Idle => {}
        }
    }

    /// Begins where the group has come to. What cannot be asked for now is asked for again.
    async fn begin(&mut self) -> Result<(), LogError> {
        let Some(committed) = self.subscription.committed() else { return Ok(()) };
        let (start, query, asked) =
            (self.settings.start, Arc::clone(&self.query), self.unbegun.clone());
        match blocking(move || begins(&committed, &query, start, &asked)).await {
            Ok(Begins::At(begins)) => {
                for begin in &begins {
                    self.subscription.start(begin.partition, begin.from).await?;
                }
                self.unbegun.clear();
                // Who began at the start goes on from there, should it die before its first message.
                let new = begins.into_iter().filter(|begin| begin.is_new);
                self.subscription
                    .release(new.map(|begin| (begin.partition, begin.from)).collect())
                    .await
            }
            Ok(Begins::Untold { ends }) => {
                self.ask_at = Instant::now() + ASK_AGAIN;
                self.subscription.tell(ends)
            }
            Err(error) => {
                let topic = &self.settings.topic;
                tracing::warn!(topic, %error, "another system's topic cannot be asked yet how far it was read");
                self.ask_at = Instant::now() + ASK_AGAIN;
                Ok(())
            }
        }
    }
}

/// Where partitions are read from.
enum Begins {
    At(Vec<Begin>),
    /// The group has read nothing and is to begin at the end. Nobody reads before the cluster keeps where that is, of all
    /// partitions at once: who came later would find that the group has read, and take its own from their first message.
    Untold {
        /// What is to be told; nothing, where another tells it.
        ends: Vec<(Partition, Offset)>,
    },
}

struct Begin {
    partition: Partition,
    from: Offset,
    /// The group has never read it.
    is_new: bool,
}

fn begins(
    committed: &Committed,
    query: &Query,
    start: Start,
    asked: &[Partition],
) -> Result<Begins, LogError> {
    let mut all: BTreeSet<Partition> = (0..query.partitions()?).map(Partition).collect();
    all.extend(asked);
    // In one question, as the ends may be told at any time.
    let offsets = committed.offsets(&all.into_iter().collect::<Vec<_>>())?;
    if start == Start::Latest && offsets.iter().all(|(_, offset)| offset.is_none()) {
        // One alone tells: what another told later would pass over what the first had begun to read.
        let told = offsets.iter().filter(|_| asked.contains(&TELLER));
        let end = |(partition, _): &(Partition, _)| Ok((*partition, query.bounds(*partition)?.end));
        let ends = told.map(end).collect::<Result<_, LogError>>()?;
        return Ok(Begins::Untold { ends });
    }
    // A partition that a topic got later is read from its first message: its group has read before.
    let begin = |(partition, offset): (Partition, Option<Offset>)| {
        let from = match offset {
            Some(offset) => offset,
            None => query.bounds(partition)?.start,
        };
        Ok(Begin { partition, from, is_new: offset.is_none() })
    };
    let ours = offsets.into_iter().filter(|(partition, _)| asked.contains(partition));
    Ok(Begins::At(ours.map(begin).collect::<Result<_, LogError>>()?))
}

fn message(record: Record) -> SourceMessage {
    let is_time = |time: &Micros| *time > Micros(0) && TIME_RANGE.contains(time);
    let time = Some(record.append_time).filter(is_time);
    SourceMessage { offset: record.offset, time, value: record.payload }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn a_time_that_is_none_is_not_told() {
        let (first, last) = (Micros(1), *TIME_RANGE.end());
        let told = |append_time| {
            let (offset, kind, payload) = (Offset(3), Kind::Event, Bytes::from_static(b"v"));
            message(Record { offset, append_time, kind, payload }).time
        };
        assert_eq!([first, last].map(told), [Some(first), Some(last)]);
        // A message without a time, one of a clock that was never set, and one that no reader knows.
        assert_eq!([Micros(0), Micros(-1), last + first].map(told), [None; 3]);
    }
}
