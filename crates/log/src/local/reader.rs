//! Reading chunks back: batches of a partition, single records, side topics, and lanes' ends.
//! Whose turn it is and how far it has got is left to the subscription.

use std::sync::Arc;

use bytes::Bytes;
use fjall::Guard;
use footfall_event::{Offset, Partition};

use super::layout::{self, Lane, SIDE_NAME_BYTES_MAX, Tail};
use super::store::{Segment, Store};
use crate::{DELIVERY_BYTES_MAX, DELIVERY_RECORDS_MAX, LogError, Record};

/// What a partition holds from an offset on.
pub enum Batch {
    /// Ascending without gaps, never empty.
    Records(Vec<Record>),
    /// The log ends at that offset.
    Empty,
    /// The offset is not in the log.
    Gone,
}

/// Reads a partition from `from` on, as much as one delivery holds.
pub fn read_batch(store: &Store, partition: Partition, from: Offset) -> Result<Batch, LogError> {
    let bounds = store.bounds(partition);
    if from == bounds.end {
        return Ok(Batch::Empty);
    }
    if !bounds.contains(&from) {
        return Ok(Batch::Gone);
    }
    let lane = Lane::Partition(partition);
    let segments = store.segments();
    let holds = |segment: &Arc<Segment>| segment.starts.of(&lane).next <= from;
    let Some(index) = segments.iter().rposition(holds) else {
        return Ok(Batch::Gone);
    };
    let next_start = segments.get(index + 1).map(|next| next.starts.of(&lane).next);
    let end = next_start.unwrap_or(bounds.end);
    let records = read_range(store, &segments[index], &lane, from, end)?;
    match records.first() {
        Some(first) if first.offset == from => Ok(Batch::Records(records)),
        _ => Err(store.corrupt(&format!("partition {partition}: no record at offset {from}"))),
    }
}

/// The records of `from..end` of a segment, whole chunks, until a delivery is full.
fn read_range(
    store: &Store,
    segment: &Segment,
    lane: &Lane,
    from: Offset,
    end: Offset,
) -> Result<Vec<Record>, LogError> {
    let begin = chunk_that_holds(store, segment, lane, from)?;
    let mut records = Vec::new();
    let mut bytes = 0;
    for entry in segment.keyspace.range(lane.chunk_key(begin)..lane.chunk_key(end)) {
        let (first, value) = read_chunk(store, entry)?;
        let header = layout::chunk_header(&value).map_err(|error| store.malformed(&error))?;
        let full = bytes + header.bytes > DELIVERY_BYTES_MAX
            || records.len() + header.count as usize > DELIVERY_RECORDS_MAX;
        if full && !records.is_empty() {
            break;
        }
        bytes += header.bytes;
        layout::decode_chunk(first, value, from, &mut records)
            .map_err(|error| store.malformed(&error))?;
    }
    Ok(records)
}

/// The first offset of the chunk that has `offset`, or of the one after it.
fn chunk_that_holds(
    store: &Store,
    segment: &Segment,
    lane: &Lane,
    offset: Offset,
) -> Result<Offset, LogError> {
    let exact = lane.chunk_key(offset);
    let known = segment.keyspace.contains_key(&exact).map_err(|error| store.io_error(&error))?;
    if known {
        return Ok(offset);
    }
    let start = lane.chunk_key(segment.starts.of(lane).next);
    match segment.keyspace.range(start..exact).next_back() {
        None => Ok(offset),
        Some(entry) => {
            let key = entry.key().map_err(|error| store.io_error(&error))?;
            layout::chunk_first(&key).map_err(|error| store.malformed(&error))
        }
    }
}

fn read_chunk(store: &Store, entry: Guard) -> Result<(Offset, Bytes), LogError> {
    let (key, value) = entry.into_inner().map_err(|error| store.io_error(&error))?;
    let first = layout::chunk_first(&key).map_err(|error| store.malformed(&error))?;
    Ok((first, value.into()))
}

/// The record at an offset, if it is there.
pub fn read_one(
    store: &Store,
    partition: Partition,
    offset: Offset,
) -> Result<Option<Record>, LogError> {
    match read_batch(store, partition, offset)? {
        Batch::Records(records) => Ok(records.into_iter().next()),
        Batch::Empty | Batch::Gone => Ok(None),
    }
}

/// Every record of a side topic.
pub fn read_side(store: &Store, topic: &str) -> Result<Vec<Record>, LogError> {
    let lane = Lane::Side(topic.to_owned());
    let mut records = Vec::new();
    for segment in store.segments().iter() {
        for entry in segment.keyspace.range(whole(&lane)) {
            let (first, value) = read_chunk(store, entry)?;
            layout::decode_chunk(first, value, first, &mut records)
                .map_err(|error| store.malformed(&error))?;
        }
    }
    Ok(records)
}

/// Where the last chunk of a lane in this segment ends; `None` if it has none here.
pub fn read_tail(store: &Store, segment: &Segment, lane: &Lane) -> Result<Option<Tail>, LogError> {
    let Some(last) = segment.keyspace.range(whole(lane)).next_back() else {
        return Ok(None);
    };
    let (first, value) = read_chunk(store, last)?;
    let header = layout::chunk_header(&value).map_err(|error| store.malformed(&error))?;
    let next = Offset(first.0 + i64::from(header.count));
    Ok(Some(Tail { next, append_time: header.append_time }))
}

/// The side topics with a chunk in this segment, found by leaping from one to the next.
pub fn side_topics(store: &Store, segment: &Segment) -> Result<Vec<String>, LogError> {
    let mut topics = Vec::new();
    let mut after = Lane::Side(String::new()).chunk_key(Offset(0));
    while let Some(entry) = segment.keyspace.range(after..).next() {
        let key = entry.key().map_err(|error| store.io_error(&error))?;
        let Some(topic) = layout::chunk_side_topic(&key) else {
            return Err(store.corrupt("side topic's key is cut"));
        };
        debug_assert!(topic.len() <= SIDE_NAME_BYTES_MAX);
        after = Lane::Side(topic.clone()).chunk_key(Offset(i64::MAX));
        topics.push(topic);
    }
    Ok(topics)
}

fn whole(lane: &Lane) -> std::ops::Range<Vec<u8>> {
    lane.chunk_key(Offset(0))..lane.chunk_key(Offset(i64::MAX))
}
