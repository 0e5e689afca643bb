//! Reading partitions from Kafka on a thread: from the offsets that were asked for, in batches.
//! Which partitions, and from where, is left to the subscription.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use footfall_event::{Offset, Partition};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::KafkaSettings;
use super::client::{self, Logged, QUERY_TIMEOUT};
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
    Records { partition: Partition, epoch: u64, records: Vec<Record> },
    Gone { partition: Partition, epoch: u64, wanted: Offset, bounds: Range<Offset> },
}

/// Starts a thread that reads until the command sender or the receiver is dropped.
pub fn spawn(
    settings: &KafkaSettings,
    group: &str,
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
    let reader = Reader { topic, client, commands, reads, lanes: BTreeMap::new(), check: None };
    let spawned = thread::Builder::new().name("kafka-reader".to_owned()).spawn(|| reader.run());
    spawned.map_err(|error| client::unavailable(settings, error))?;
    Ok((command, read))
}

struct Reader {
    topic: String,
    client: BaseConsumer<Logged>,
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
                    self.lanes.insert(partition, Lane { next: from, epoch, batch: Batch::new() });
                    self.assign(partition, from);
                }
                Ok(Command::Stop { partition }) => self.stop(partition),
                Err(mpsc::TryRecvError::Empty) => return Ok(()),
                Err(mpsc::TryRecvError::Disconnected) => return Err(Ended),
            }
        }
    }

    fn assign(&self, partition: Partition, from: Offset) {
        let list = client::offsets(&self.topic, [(partition, from)]);
        if let Err(error) = self.client.incremental_assign(&list) {
            tracing::warn!(%error, %partition, "partition not assigned");
        }
    }

    fn stop(&mut self, partition: Partition) {
        if let Some(lane) = self.lanes.remove(&partition) {
            let list = client::offsets(&self.topic, [(partition, lane.next)]);
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
                    push(&mut self.lanes, &message);
                }
                Some(Err(error)) => {
                    if out_of_range(&error) {
                        self.check = Some(Instant::now());
                    } else {
                        tracing::warn!(%error, "kafka reader");
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
                    let read = Read::Gone { partition, epoch, wanted, bounds };
                    self.reads.blocking_send(read).map_err(|_| Ended)?;
                }
                Ok(_) => {
                    self.stop(partition);
                    let lane = Lane { next: wanted, epoch, batch: Batch::new() };
                    self.lanes.insert(partition, lane);
                    self.assign(partition, wanted);
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

fn push(lanes: &mut BTreeMap<Partition, Lane>, message: &BorrowedMessage<'_>) {
    if let Some(lane) = lanes.get_mut(&Partition(message.partition()))
        && message.offset() >= lane.next.0
    {
        lane.next = Offset(message.offset() + 1);
        lane.batch.push(message);
    }
}

fn out_of_range(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
    )
}
