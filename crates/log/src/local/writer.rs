//! The one writer of a local log: takes a group of requests, writes it with one fsync, answers.
//! Which requests make a group is left to the queue, deleting to retention.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;
use std::{fmt, io};

use bytes::Bytes;
use footfall_event::{Micros, Offset, Partition};
use tokio::sync::oneshot;

use super::layout::{self, ChunkBuilder, FRAME_HEADER_BYTES, Lane, Packer, Tail};
use super::queue::{Answer, Queue, Request, Work};
use super::redact;
use super::retention::Retention;
use super::store::{Store, Tails};
use super::{AHEAD_MAX, SIDE_TOPICS_MAX};
use crate::{Appended, Kind, LogError, NewRecord};

/// A chunk is closed when it holds this much; one larger record still has its own.
const CHUNK_BYTES_MAX: usize = 512 * 1024;
const CHUNK_RECORDS_MAX: u32 = 4096;

/// Starts the writer. It ends when the queue is closed and empty.
pub fn spawn(store: Arc<Store>, queue: Arc<Queue>, tails: Tails) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("log-writer".to_owned()).spawn(move || {
        let _ends = EndsOnPanic;
        let retention = Retention::new(&store);
        match retention {
            Ok(retention) => {
                Writer { store, tails, retention, packer: Packer::default() }.run(&queue);
            }
            Err(error) => abort(&error),
        }
    })
}

struct Writer {
    store: Arc<Store>,
    tails: Tails,
    retention: Retention,
    packer: Packer,
}

impl Writer {
    fn run(mut self, queue: &Queue) {
        while let Some(requests) = queue.take_group(self.retention.interval()) {
            if !requests.is_empty() {
                self.write(requests);
            }
            if let Err(error) = self.retention.step(&self.store, &self.tails, Instant::now()) {
                abort(&error);
            }
        }
    }

    fn write(&mut self, requests: Vec<Request>) {
        let mut group = Group::new(&self.tails, Micros::clock());
        for Request { work, .. } in &requests {
            if let Work::Append(records) = work {
                group.expect(records);
            }
        }
        let (mut released, mut of_segments) = (Vec::new(), Vec::new());
        let mut answers = Vec::with_capacity(requests.len());
        for Request { work, answer, .. } in requests {
            match work {
                Work::Append(records) => answers.push((answer, Ok(group.append(records)))),
                Work::Publish { topic, frames } => {
                    answers.push((answer, group.publish(topic, &frames)));
                }
                Work::Release(positions) => {
                    released.extend(positions);
                    answers.push((answer, Ok(Vec::new())));
                }
                work @ (Work::Close | Work::Replace(_)) => of_segments.push((answer, work)),
            }
        }
        let chunks = group.finish(&mut self.packer);
        self.commit(chunks, &released);
        answers.into_iter().for_each(send);
        for (answer, work) in of_segments {
            if let Err(error) = self.change_segments(work) {
                abort(&error);
            }
            send((answer, Ok(Vec::new())));
        }
    }

    fn change_segments(&mut self, work: Work) -> Result<(), LogError> {
        match work {
            Work::Replace(copy) => redact::replace(&self.store, copy),
            _ => self.retention.close(&self.store, &self.tails),
        }
    }

    fn commit(&mut self, chunks: Chunks, released: &[(Partition, Offset)]) {
        let release = self.retention.release(released);
        if chunks.values.is_empty() && release.is_none() {
            return;
        }
        let segments = self.store.segments();
        let keyspace = &segments[segments.len() - 1].keyspace;
        let written = self.store.commit(|batch, store| {
            for (key, value) in chunks.values {
                self.retention.count(value.len());
                batch.insert(keyspace, key, value);
            }
            if let Some(value) = release {
                batch.insert(&store.meta, layout::KEY_RELEASED, value);
            }
        });
        if let Err(error) = written {
            abort(&error);
        }
        self.store.set_ends(&chunks.tails);
        self.tails.extend(chunks.tails);
    }
}

fn send((answer, appended): (oneshot::Sender<Answer>, Answer)) {
    // Whoever asked may have gone; what it asked for is done all the same.
    let _gone = answer.send(appended);
}

/// Ends the process when the writer's thread unwinds: nobody else answers what waits in the queue.
struct EndsOnPanic;

impl Drop for EndsOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            abort(&"the writer broke off");
        }
    }
}

/// After a failed write or fsync nobody can say what the disk holds; a restart can.
fn abort(error: &dyn fmt::Display) -> ! {
    tracing::error!(%error, "the local event log cannot be written: the process ends");
    eprintln!("{error}: the local event log cannot be written: the process ends");
    std::process::abort()
}

/// What one group adds to the log.
struct Group<'a> {
    before: &'a Tails,
    time: Micros,
    lanes: BTreeMap<Lane, LaneGroup>,
    /// By number: a search in `lanes` for each record would cost more than writing it.
    partitions: Vec<Option<LaneGroup>>,
}

struct LaneGroup {
    tail: Tail,
    /// Bytes of frames still to come, as far as is known.
    expected_bytes: usize,
    open: Option<ChunkBuilder>,
    closed: Vec<(Offset, ChunkBuilder)>,
}

struct Chunks {
    values: Vec<(Vec<u8>, Bytes)>,
    tails: Tails,
}

impl<'a> Group<'a> {
    fn new(before: &'a Tails, time: Micros) -> Self {
        Self { before, time, lanes: BTreeMap::new(), partitions: Vec::new() }
    }

    /// Makes room for records: chunks that grew would be copied.
    fn expect(&mut self, records: &[NewRecord]) {
        for record in records {
            self.partition(record.partition).expected_bytes += frame_bytes(&record.payload);
        }
    }

    fn append(&mut self, records: Vec<NewRecord>) -> Vec<Appended> {
        let append = |record: NewRecord| {
            let partition = record.partition;
            let lane = self.partition(partition);
            let (offset, append_time) = lane.push(record.kind, &record.payload);
            Appended { partition, offset, append_time }
        };
        records.into_iter().map(append).collect()
    }

    fn partition(&mut self, partition: Partition) -> &mut LaneGroup {
        let index = partition.0 as usize;
        if self.partitions.len() <= index {
            self.partitions.resize_with(index + 1, || None);
        }
        let (before, time) = (self.before, self.time);
        self.partitions[index]
            .get_or_insert_with(|| LaneGroup::new(before.get(&Lane::Partition(partition)), time))
    }

    fn publish(&mut self, topic: String, frames: &[Bytes]) -> Answer {
        let lane = Lane::Side(topic);
        let known = self.before.contains_key(&lane) || self.lanes.contains_key(&lane);
        if !known && self.sides() >= SIDE_TOPICS_MAX {
            let waiting = format!("{SIDE_TOPICS_MAX} side topics, and none is ever forgotten");
            return Err(LogError::Overloaded { waiting });
        }
        let before = self.before.get(&lane);
        let time = self.time;
        let side = self.lanes.entry(lane).or_insert_with(|| LaneGroup::new(before, time));
        side.expected_bytes += frames.iter().map(|frame| frame_bytes(frame)).sum::<usize>();
        for frame in frames {
            side.push(Kind::Event, frame);
        }
        Ok(Vec::new())
    }

    fn sides(&self) -> usize {
        let added = self.lanes.keys().filter(|lane| !self.before.contains_key(lane));
        let before = self.before.keys().filter(|lane| matches!(lane, Lane::Side(_)));
        before.count() + added.count()
    }

    fn finish(self, packer: &mut Packer) -> Chunks {
        let partitions =
            self.partitions.into_iter().enumerate().filter_map(|(index, group)| {
                Some((Lane::Partition(Partition(index as i32)), group?))
            });
        let mut chunks = Chunks { values: Vec::new(), tails: Tails::new() };
        for (lane, mut group) in partitions.chain(self.lanes) {
            group.close();
            let keyed =
                |(first, chunk): (_, ChunkBuilder)| (lane.chunk_key(first), chunk.finish(packer));
            chunks.values.extend(group.closed.into_iter().map(keyed));
            chunks.tails.insert(lane, group.tail);
        }
        chunks
    }
}

fn frame_bytes(payload: &[u8]) -> usize {
    FRAME_HEADER_BYTES + payload.len()
}

impl LaneGroup {
    fn new(before: Option<&Tail>, time: Micros) -> Self {
        let mut tail = before.copied().unwrap_or_default();
        // A clock that is set back a little must not make log time step back. One that was far ahead
        // must not make it stand until then: readers drop a leap that an earlier record follows.
        if tail.append_time <= time + AHEAD_MAX {
            tail.append_time = tail.append_time.max(time);
        } else {
            tail.append_time = time;
        }
        Self { tail, expected_bytes: 0, open: None, closed: Vec::new() }
    }

    fn push(&mut self, kind: Kind, payload: &[u8]) -> (Offset, Micros) {
        let bytes = frame_bytes(payload);
        let full = |chunk: &ChunkBuilder| {
            chunk.count() >= CHUNK_RECORDS_MAX || chunk.bytes() + bytes > CHUNK_BYTES_MAX
        };
        if self.open.as_ref().is_some_and(full) {
            self.close();
        }
        let append_time = self.tail.append_time;
        let room = self.expected_bytes.min(CHUNK_BYTES_MAX).max(bytes);
        let open = self.open.get_or_insert_with(|| ChunkBuilder::new(append_time, room));
        open.push(kind, payload);
        self.expected_bytes = self.expected_bytes.saturating_sub(bytes);
        let offset = self.tail.next;
        self.tail.next = offset.next();
        (offset, append_time)
    }

    fn close(&mut self) {
        if let Some(chunk) = self.open.take() {
            let first = Offset(self.tail.next.0 - i64::from(chunk.count()));
            self.closed.push((first, chunk));
        }
    }
}

#[cfg(test)]
mod tests;
