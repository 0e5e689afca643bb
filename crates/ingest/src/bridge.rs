//! Carries another system's topic into the event log, exactly once: how far the topic is taken is told only when the log
//! holds it, and what is read again after a crash is known by its ids.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use footfall_event::{Micros, Offset};
use footfall_log::kafka::{KafkaSource, SourceMessage, SourceMessages};
use footfall_log::{EventLog, LogError};
use tokio_util::sync::CancellationToken;

use crate::judge::{Head, Message, MessageReader, Verdicts, judge_messages};
use crate::protocol::{Dialect, surrogates};
use crate::{IngestSettings, Metrics};

const WAIT: Duration = Duration::from_secs(1);
/// After a log that takes nothing, or a topic that cannot be read: the first pause, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A topic on its way into the log.
pub struct Bridge {
    /// Of all bridges its own: ids begin with it.
    pub name: String,
    pub source: KafkaSource,
    pub reader: Arc<dyn MessageReader>,
    pub settings: Arc<IngestSettings>,
    pub log: Arc<dyn EventLog>,
    pub metrics: Metrics,
}

/// Why nothing more is carried.
enum End {
    /// It is being asked to stop.
    Stopped,
    /// The log takes nothing until this process is started again.
    Failed(LogError),
}

impl Bridge {
    /// Carries until asked to stop. Whatever else fails is tried again.
    ///
    /// # Errors
    /// `Io` of the log. Its partitions are for others to take over, and for this process when it is started again.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), LogError> {
        loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                next = self.source.next(WAIT) => next,
            };
            let done = match next {
                Ok(None) => Ok(()),
                Ok(Some(messages)) => self.carry(messages, &stop).await,
                Err(error) => {
                    tracing::error!(bridge = self.name, %error, "the topic cannot be read: its group is joined again");
                    self.join_again(&stop).await
                }
            };
            match done {
                Ok(()) => {}
                Err(End::Stopped) => return Ok(()),
                Err(End::Failed(error)) => return Err(error),
            }
        }
    }

    async fn join_again(&mut self, stop: &CancellationToken) -> Result<(), End> {
        loop {
            pause(PAUSE_MAX, stop).await?;
            match KafkaSource::join(self.source.settings().clone()) {
                Ok(source) => {
                    self.source = source;
                    return Ok(());
                }
                Err(error) => {
                    tracing::error!(bridge = self.name, %error, "the group is not joined")
                }
            }
        }
    }

    /// Judges messages and appends what becomes of them until the log holds it, then tells how far the topic is taken.
    async fn carry(&mut self, read: SourceMessages, stop: &CancellationToken) -> Result<(), End> {
        let partition = read.partition;
        let Some(last) = read.messages.last() else { return Ok(()) };
        let next = Offset(last.offset.0 + 1);
        let mut verdicts = self.judge(read).await;
        let records = verdicts.take_records();
        let mut wait = PAUSE_MIN;
        // What was in doubt is known by its ids, however long it took: it says when it was received.
        while let Err(error) = self.log.append(records.clone()).await {
            if matches!(error, LogError::Io { .. }) {
                return Err(End::Failed(error));
            }
            self.tell(&error);
            pause(wait, stop).await?;
            wait = PAUSE_MAX.min(2 * wait);
        }
        verdicts.count(&self.metrics);
        if let Err(error) = self.source.taken(partition, next).await {
            // They are read again, and known by their ids.
            tracing::warn!(bridge = self.name, %error, "how far the topic is taken was not told");
        }
        Ok(())
    }

    async fn judge(&mut self, read: SourceMessages) -> Verdicts {
        let head = Head::of_no_request(Dialect::Bridge, Micros::clock(), self.log.partitions());
        let partition = read.partition;
        let name = self.name.clone();
        let message = move |message: SourceMessage| Message {
            id: id_of(&name, partition.0, message.offset.0, message.time),
            value: surrogates::mended(&message.value).map_or(message.value, Bytes::from),
            time: message.time,
            offset: message.offset.0,
        };
        let (settings, reader) = (Arc::clone(&self.settings), Arc::clone(&self.reader));
        let judged = tokio::task::spawn_blocking(move || {
            let messages: Vec<Message> = read.messages.into_iter().map(message).collect();
            judge_messages(&settings, &head, reader.as_ref(), &messages)
        });
        judged.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    fn tell(&self, error: &LogError) {
        let bridge = &self.name;
        match error {
            LogError::Overloaded { .. } => tracing::debug!(bridge, %error, "waits for the log"),
            _ => tracing::error!(bridge, %error, "messages could not be written to the event log"),
        }
    }
}

/// The id of a message whose event has none. A topic that is made anew has new times at old offsets.
fn id_of(bridge: &str, partition: i32, offset: i64, time: Option<Micros>) -> String {
    let time = time.map_or(0, Micros::whole_ms);
    format!("{bridge}/{partition}/{offset}@{time}")
}

async fn pause(time: Duration, stop: &CancellationToken) -> Result<(), End> {
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(()),
        () = stop.cancelled() => Err(End::Stopped),
    }
}
