//! Reading partitions from Kafka on a thread: from the offsets that were asked for, in batches.
//! Which partitions, and from where, is left to the subscription.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use footfall_event::{Offset, Partition};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::KafkaSettings;
use super::client::{self, KindOf, Logged, QUERY_TIMEOUT};
use crate::{DELIVERY_BYTES_MAX, DELIVERY_RECORDS_MAX, LogError, Record};

mod batch;
use batch::Batch;

/// How long a command may wait for the thread.
const POLL: Duration = Duration::from_millis(20);
/// Deliveries that wait for the subscription.
const DELIVERIES_MAX: usize = 4;
/// How often a partition that would not be read is asked after.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What the thread is told. Dropping the sender ends it.
pub enum Command {
    /// Read from here on; `epoch` marks what comes of it.
    Start {
        partition: Partition,
        from: Offset,
        epoch: u64,
    },
    Stop {
        partition: Partition,
    },
}

/// What the thread has read.
pub enum Read {
    Records {
        partition: Partition,
        epoch: u64,
        records: Vec<Record>,
    },
    /// The partition is not read on.
    Failed {
        partition: Partition,
        epoch: u64,
        error: LogError,
    },
}

/// Starts a thread that reads until the command sender or the receiver is dropped.
pub fn spawn(
    settings: &KafkaSettings,
    group: &str,
    kind_of: KindOf,
) -> Result<(mpsc::Sender<Command>, Receiver<Read>), LogError> {
    let mut config = client::config(settings);
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.error.backoff.ms", "100")
        .set("queued.min.messages", "100000")
        .set("queued.max.messages.kbytes", "32768");
    let client = client::create(&config, Logged)?;
    let (command, commands) = mpsc::channel();
    let (reads, read) = channel(DELIVERIES_MAX);
    let topic = settings.topic.clone();
    let lanes = BTreeMap::new();
    let reader = Reader { topic, client, kind_of, commands, reads, lanes, check: None };
    let spawned = thread::Builder::new().name("kafka-reader".to_owned()).spawn(|| reader.run());
    spawned.map_err(|error| client::unavailable(settings, error))?;
    Ok((command, read))
}

struct Reader {
    topic: String,
    client: BaseConsumer<Logged>,
    kind_of: KindOf,
    commands: mpsc::Receiver<Command>,
    reads: Sender<Read>,
    lanes: BTreeMap<Partition, Lane>,
    /// When to look for partitions whose offset is out of range.
    check: Option<Instant>,
}

/// A partition that is read.
struct Lane {
    next: Offset,
    epoch: u64,
    batch: Batch,
}

/// Nobody listens any more.
struct Ended;

impl Reader {
    fn run(mut self) {
        while self.obey().is_ok() && self.read().is_ok() {
            if self.check.is_some_and(|due| due <= Instant::now()) {
                self.check = None;
                if self.check_ranges().is_err() {
                    break;
                }
            }
        }
    }

    fn obey(&mut self) -> Result<(), Ended> {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Start { partition, from, epoch }) => {
                    self.stop(partition);
                    self.begin(partition, from, epoch)?;
                }
                Ok(Command::Stop { partition }) => self.stop(partition),
                Err(mpsc::TryRecvError::Empty) => return Ok(()),
                Err(mpsc::TryRecvError::Disconnected) => return Err(Ended),
            }
        }
    }

    /// A partition that the client does not take would never be read: whoever reads is told.
    fn begin(&mut self, partition: Partition, from: Offset, epoch: u64) -> Result<(), Ended> {
        match self.assign(partition, from) {
            Ok(()) => {
                self.lanes.insert(partition, Lane { next: from, epoch, batch: Batch::new() });
                Ok(())
            }
            Err(error) => self.fail(partition, epoch, error),
        }
    }

    fn assign(&self, partition: Partition, from: Offset) -> Result<(), LogError> {
        let list = client::offsets(&self.topic, [(partition, from)])?;
        let assigned = self.client.incremental_assign(&list);
        assigned.map_err(|why| client::partition_error(&self.topic, partition, from, &why))
    }

    fn fail(&self, partition: Partition, epoch: u64, error: LogError) -> Result<(), Ended> {
        self.reads.blocking_send(Read::Failed { partition, epoch, error }).map_err(|_| Ended)
    }

    fn stop(&mut self, partition: Partition) {
        if self.lanes.remove(&partition).is_some() {
            let mut list = TopicPartitionList::new();
            list.add_partition(&self.topic, partition.0);
            if let Err(error) = self.client.incremental_unassign(&list) {
                tracing::warn!(%error, %partition, "partition not unassigned");
            }
        }
    }

    /// Takes what is there, waiting a little for the first message, and hands it on.
    fn read(&mut self) -> Result<(), Ended> {
        let (mut wait, mut bytes, mut records) = (POLL, 0, 0);
        while bytes < DELIVERY_BYTES_MAX && records < DELIVERY_RECORDS_MAX {
            match self.client.poll(wait) {
                None => break,
                Some(Ok(message)) => {
                    bytes += message.payload_len();
                    records += 1;
                    push(&mut self.lanes, &message, self.kind_of);
                }
                Some(Err(error)) => {
                    if out_of_range(&error) {
                        self.check = Some(Instant::now());
                    } else {
                        client::tell("reader", &error, "");
                    }
                    break;
                }
            }
            wait = Duration::ZERO;
        }
        self.hand_on()
    }

    fn hand_on(&mut self) -> Result<(), Ended> {
        for (partition, lane) in &mut self.lanes {
            let records = lane.batch.take();
            if !records.is_empty() {
                let read = Read::Records { partition: *partition, epoch: lane.epoch, records };
                self.reads.blocking_send(read).map_err(|_| Ended)?;
            }
        }
        Ok(())
    }

    /// librdkafka does not say which partition it stopped at: ask for the bounds of each. One in
    /// range is read on from where it stands.
    fn check_ranges(&mut self) -> Result<(), Ended> {
        let lanes: Vec<_> =
            self.lanes.iter().map(|(p, lane)| (*p, lane.next, lane.epoch)).collect();
        for (partition, wanted, epoch) in lanes {
            match self.client.fetch_watermarks(&self.topic, partition.0, QUERY_TIMEOUT) {
                Ok((low, high)) if wanted.0 < low || wanted.0 > high => {
                    self.stop(partition);
                    let bounds = Offset(low)..Offset(high);
                    self.fail(partition, epoch, LogError::Gone { partition, wanted, bounds })?;
                }
                Ok(_) => {
                    self.stop(partition);
                    self.begin(partition, wanted, epoch)?;
                }
                Err(error) => {
                    tracing::warn!(%error, %partition, "bounds not known");
                    self.check = Some(Instant::now() + CHECK_INTERVAL);
                }
            }
        }
        Ok(())
    }
}

fn push(lanes: &mut BTreeMap<Partition, Lane>, message: &BorrowedMessage<'_>, kind_of: KindOf) {
    if let Some(lane) = lanes.get_mut(&Partition(message.partition()))
        && message.offset() >= lane.next.0
    {
        lane.next = Offset(message.offset() + 1);
        lane.batch.push(message, kind_of(message));
    }
}

fn out_of_range(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No broker is needed to be refused.
    #[test]
    fn a_partition_that_cannot_be_assigned_is_told() {
        let settings = KafkaSettings::new("127.0.0.1:1", "events", 1);
        let (command, commands) = mpsc::channel();
        let (reads, mut read) = channel(DELIVERIES_MAX);
        let client =
            client::create(client::config(&settings).set("group.id", "g"), Logged).unwrap();
        let topic = settings.topic.clone();
        let (kind_of, lanes): (KindOf, _) = (client::kind, BTreeMap::new());
        let mut reader = Reader { topic, client, kind_of, commands, reads, lanes, check: None };
        // It is assigned already, and the reader does not know.
        reader.assign(Partition(0), Offset(3)).unwrap();
        for (partition, from) in [(0, 7), (1, -1)] {
            let (partition, from) = (Partition(partition), Offset(from));
            command.send(Command::Start { partition, from, epoch: 5 }).unwrap();
            assert!(reader.obey().is_ok());
            let Ok(Read::Failed { partition: told, epoch: 5, error }) = read.try_recv() else {
                panic!("{partition} was not told");
            };
            assert_eq!(told, partition);
            assert!(matches!(error, LogError::Io { .. }), "{error}");
            let at = format!("events on kafka: partition {partition} at offset {from}: ");
            assert!(error.to_string().contains(&at), "{error}");
            assert!(reader.lanes.is_empty());
        }
    }
}
