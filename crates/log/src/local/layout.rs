//! What the local log keeps on disk: every key and value, and how they are read back.
//! When they are written is left to the writer.
//!
//! A database has the keyspace `meta` and one keyspace `segment-<number>` for each span of time.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `meta` | `format` | [`Format`] |
//! | `meta` | `released` | of each partition: offset, i64 BE |
//! | `meta` | `segment` number u64 BE | [`Starts`]: where each lane stood when it began |
//! | `meta` | `rewritten` number u64 BE | how often records of the segment were erased, u64 BE |
//! | `segment-…` | lane, first offset u64 BE | chunk: the records from that offset on |
//!
//! A segment of which records were erased stands in a keyspace of another name,
//! `segment-<number>-<how often>`.
//!
//! A lane is a partition (`0`, number u32 BE) or a side topic (`1`, length u8, name). A chunk is
//! version u8, append time i64 BE, count u32 BE, and its frames: for each record kind u8, length u32 BE,
//! payload. In version 2 the frames' length u32 BE and a block of LZ4 that holds them stand for the frames.
//! The next offset of a lane is the end of its last chunk in the newest segment, else its start
//! there: the newest segment is never deleted, so offsets never go back.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use footfall_event::{Micros, Offset, Partition};

use crate::{Kind, Record};

pub const META: &str = "meta";
pub const SEGMENT_PREFIX: &str = "segment-";
pub const KEY_FORMAT: &[u8] = b"format";
pub const KEY_RELEASED: &[u8] = b"released";
pub const KEY_SEGMENT: &[u8] = b"segment";
const KEY_REWRITTEN: &[u8] = b"rewritten";
const VERSION: u8 = 1;
/// Of a chunk whose frames are packed.
const VERSION_PACKED: u8 = 2;
const CHUNK_HEADER_BYTES: usize = 1 + 8 + 4;
pub const FRAME_HEADER_BYTES: usize = 1 + 4;
const FRAMES_LENGTH_BYTES: usize = 4;
/// Smaller ones would hardly become smaller still.
const PACKED_BYTES_MIN: usize = 256;
/// LZ4 makes at most so many bytes of one.
const UNPACKED_MAX: usize = 256;

/// Something that was read is not what this version writes.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// What is fixed when a log is made.
#[derive(Debug, PartialEq, Eq)]
pub struct Format {
    pub partitions: u32,
    pub topic: String,
}

impl Format {
    pub fn encode(&self) -> Vec<u8> {
        let mut value = vec![VERSION];
        value.put_u32(self.partitions);
        value.extend_from_slice(self.topic.as_bytes());
        value
    }

    pub fn decode(mut value: &[u8]) -> Result<Self, Malformed> {
        expect_version(&mut value)?;
        let partitions = value.try_get_u32().map_err(|_| Malformed("format is cut"))?;
        let topic = String::from_utf8(value.to_vec());
        Ok(Self { partitions, topic: topic.map_err(|_| Malformed("topic is not UTF-8"))? })
    }
}

/// A sequence of records with offsets of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    Partition(Partition),
    Side(String),
}

/// Longest name of a side topic, bytes (Kafka's bound).
pub const SIDE_NAME_BYTES_MAX: usize = 249;

impl Lane {
    fn encode(&self, key: &mut Vec<u8>) {
        match self {
            Self::Partition(partition) => {
                key.put_u8(0);
                key.put_i32(partition.0);
            }
            Self::Side(name) => {
                key.put_u8(1);
                key.put_u8(name.len() as u8);
                key.extend_from_slice(name.as_bytes());
            }
        }
    }

    fn decode(key: &mut &[u8]) -> Result<Self, Malformed> {
        let cut = |_| Malformed("lane is cut");
        match key.try_get_u8().map_err(cut)? {
            0 => Ok(Self::Partition(Partition(key.try_get_i32().map_err(cut)?))),
            1 => {
                let bytes = usize::from(key.try_get_u8().map_err(cut)?);
                let name = key.split_off(..bytes).ok_or(Malformed("lane is cut"))?;
                let name = std::str::from_utf8(name);
                Ok(Self::Side(name.map_err(|_| Malformed("side topic is not UTF-8"))?.to_owned()))
            }
            _ => Err(Malformed("lane of unknown sort")),
        }
    }

    /// The key of the chunk of this lane that begins at `first`. Ascends with `first`.
    pub fn chunk_key(&self, first: Offset) -> Vec<u8> {
        let mut key = Vec::with_capacity(16);
        self.encode(&mut key);
        key.put_i64(first.0);
        key
    }
}

/// The first offset of the chunk with this key.
pub fn chunk_first(key: &[u8]) -> Result<Offset, Malformed> {
    let (_, mut offset) = key.split_at_checked(key.len().wrapping_sub(8)).ok_or(CUT_KEY)?;
    Ok(Offset(offset.get_i64()))
}
const CUT_KEY: Malformed = Malformed("chunk key is cut");

/// Whose chunk has this key.
pub fn chunk_lane(mut key: &[u8]) -> Result<Lane, Malformed> {
    Lane::decode(&mut key)
}

/// The side topic of a chunk's key; `None` if the key is a partition's or malformed.
pub fn chunk_side_topic(key: &[u8]) -> Option<String> {
    match chunk_lane(key) {
        Ok(Lane::Side(topic)) => Some(topic),
        _ => None,
    }
}

pub fn segment_key(number: u64) -> Vec<u8> {
    [KEY_SEGMENT, &number.to_be_bytes()].concat()
}

/// The keyspace of a segment of which records were erased `rewritten` times.
pub fn segment_name(number: u64, rewritten: u64) -> String {
    match rewritten {
        0 => format!("{SEGMENT_PREFIX}{number}"),
        times => format!("{SEGMENT_PREFIX}{number}-{times}"),
    }
}

/// Where it is kept how often records of a segment were erased.
pub fn rewritten_key(number: u64) -> Vec<u8> {
    [KEY_REWRITTEN, &number.to_be_bytes()].concat()
}

pub fn decode_rewritten(value: &[u8]) -> Result<u64, Malformed> {
    let bytes = value.try_into().map_err(|_| Malformed("count of erasures is cut"))?;
    Ok(u64::from_be_bytes(bytes))
}

/// How far a lane has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    pub next: Offset,
    /// The last append time given out.
    pub append_time: Micros,
}

impl Default for Tail {
    fn default() -> Self {
        Self { next: Offset(0), append_time: Micros(0) }
    }
}

/// When a segment began, and where each lane stood. A side topic that is absent stood at 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Starts {
    pub opened_at: Micros,
    pub tails: BTreeMap<Lane, Tail>,
}

impl Starts {
    pub fn of(&self, lane: &Lane) -> Tail {
        self.tails.get(lane).copied().unwrap_or_default()
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut value = vec![VERSION];
        value.put_i64(self.opened_at.0);
        for (lane, tail) in &self.tails {
            lane.encode(&mut value);
            value.put_i64(tail.next.0);
            value.put_i64(tail.append_time.0);
        }
        value
    }

    pub fn decode(mut value: &[u8]) -> Result<Self, Malformed> {
        let cut = |_| Malformed("segment record is cut");
        expect_version(&mut value)?;
        let opened_at = Micros(value.try_get_i64().map_err(cut)?);
        let mut tails = BTreeMap::new();
        while value.has_remaining() {
            let lane = Lane::decode(&mut value)?;
            let next = Offset(value.try_get_i64().map_err(cut)?);
            let append_time = Micros(value.try_get_i64().map_err(cut)?);
            tails.insert(lane, Tail { next, append_time });
        }
        Ok(Self { opened_at, tails })
    }
}

pub fn encode_released(released: &[Offset]) -> Vec<u8> {
    released.iter().flat_map(|offset| offset.0.to_be_bytes()).collect()
}

pub fn decode_released(value: &[u8], partitions: u32) -> Result<Vec<Offset>, Malformed> {
    let (offsets, rest) = value.as_chunks();
    if offsets.len() != partitions as usize || !rest.is_empty() {
        return Err(Malformed("released offsets are cut"));
    }
    Ok(offsets.iter().map(|bytes| Offset(i64::from_be_bytes(*bytes))).collect())
}

/// A chunk in the making.
pub struct ChunkBuilder {
    value: BytesMut,
    count: u32,
}

impl ChunkBuilder {
    pub fn new(append_time: Micros, frame_bytes: usize) -> Self {
        let mut value = BytesMut::with_capacity(CHUNK_HEADER_BYTES + frame_bytes);
        value.put_u8(VERSION);
        value.put_i64(append_time.0);
        value.put_u32(0);
        Self { value, count: 0 }
    }

    pub fn push(&mut self, kind: Kind, payload: &[u8]) {
        self.value.put_u8(kind.code());
        self.value.put_u32(payload.len() as u32);
        self.value.put_slice(payload);
        self.count += 1;
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    pub fn bytes(&self) -> usize {
        self.value.len()
    }

    /// The chunk as it is kept: packed where that makes it smaller. Events are much alike, and what is written costs by its
    /// bytes: in the journal, its sync and the tables.
    pub fn finish(mut self, packer: &mut Packer) -> Bytes {
        self.value[9..CHUNK_HEADER_BYTES].copy_from_slice(&self.count.to_be_bytes());
        packer.pack(&self.value).unwrap_or_else(|| self.value.freeze())
    }
}

/// Packs chunks, each in the room of the one before.
#[derive(Default)]
pub struct Packer {
    room: Vec<u8>,
}

impl Packer {
    /// A chunk as an older version kept it, packed where that makes it smaller; any other as it is.
    pub fn pack_again(&mut self, chunk: Bytes) -> Bytes {
        let packed = chunk.first().filter(|version| **version == VERSION);
        packed.and_then(|_| self.pack(&chunk)).unwrap_or(chunk)
    }

    fn pack(&mut self, chunk: &[u8]) -> Option<Bytes> {
        let (header, frames) = chunk.split_at(CHUNK_HEADER_BYTES);
        let length =
            u32::try_from(frames.len()).ok().filter(|_| frames.len() >= PACKED_BYTES_MIN)?;
        let begin = CHUNK_HEADER_BYTES + FRAMES_LENGTH_BYTES;
        let needed = begin + lz4_flex::block::get_maximum_output_size(frames.len());
        self.room.resize(self.room.len().max(needed), 0);
        let end = begin + lz4_flex::block::compress_into(frames, &mut self.room[begin..]).ok()?;
        self.room[..CHUNK_HEADER_BYTES].copy_from_slice(header);
        self.room[0] = VERSION_PACKED;
        self.room[CHUNK_HEADER_BYTES..begin].copy_from_slice(&length.to_be_bytes());
        (end < chunk.len()).then(|| Bytes::copy_from_slice(&self.room[..end]))
    }
}

/// What is known of a chunk before it is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    pub append_time: Micros,
    /// How many records it has.
    pub count: u32,
    /// Of its frames.
    pub bytes: usize,
}

pub fn chunk_header(value: &[u8]) -> Result<ChunkHeader, Malformed> {
    let (mut header, frames) = value.split_at_checked(CHUNK_HEADER_BYTES).ok_or(CUT_CHUNK)?;
    let bytes = match header.get_u8() {
        VERSION => frames.len(),
        VERSION_PACKED => unpacked_bytes(frames)?,
        _ => return Err(OTHER_VERSION),
    };
    Ok(ChunkHeader { append_time: Micros(header.get_i64()), count: header.get_u32(), bytes })
}
const CUT_CHUNK: Malformed = Malformed("chunk is cut");

/// Of frames that are packed, with their length before them. No more memory is asked for than they can fill.
fn unpacked_bytes(packed: &[u8]) -> Result<usize, Malformed> {
    let (length, block) = packed.split_first_chunk().ok_or(CUT_CHUNK)?;
    let bytes = u32::from_be_bytes(*length) as usize;
    let fits = bytes <= block.len().saturating_mul(UNPACKED_MAX);
    if fits { Ok(bytes) } else { Err(LARGER_THAN_ITS_BYTES) }
}
const LARGER_THAN_ITS_BYTES: Malformed = Malformed("chunk is larger than its bytes can hold");

fn frames(mut value: Bytes, header: ChunkHeader) -> Result<Bytes, Malformed> {
    let is_packed = value[0] == VERSION_PACKED;
    value.advance(CHUNK_HEADER_BYTES);
    if !is_packed {
        return Ok(value);
    }
    let unpacked = lz4_flex::block::decompress(&value[FRAMES_LENGTH_BYTES..], header.bytes);
    match unpacked {
        Ok(frames) if frames.len() == header.bytes => Ok(frames.into()),
        _ => Err(Malformed("chunk cannot be unpacked")),
    }
}

/// Adds the chunk's records from offset `from` on to `records`; their payloads share memory.
pub fn decode_chunk(
    first: Offset,
    value: Bytes,
    from: Offset,
    records: &mut Vec<Record>,
) -> Result<(), Malformed> {
    let header = chunk_header(&value)?;
    let ChunkHeader { append_time, count, .. } = header;
    let mut value = frames(value, header)?;
    for index in 0..i64::from(count) {
        let cut = |_| Malformed("record is cut");
        let kind = Kind::from_code(value.try_get_u8().map_err(cut)?).ok_or(UNKNOWN_KIND)?;
        let bytes = value.try_get_u32().map_err(cut)? as usize;
        if value.len() < bytes {
            return Err(Malformed("payload is cut"));
        }
        let payload = value.split_to(bytes);
        let offset = Offset(first.0 + index);
        if offset >= from {
            records.push(Record { offset, append_time, kind, payload });
        }
    }
    if value.is_empty() { Ok(()) } else { Err(Malformed("chunk has more than its records")) }
}
const UNKNOWN_KIND: Malformed = Malformed("record of unknown kind");

fn expect_version(value: &mut &[u8]) -> Result<(), Malformed> {
    match value.try_get_u8() {
        Ok(VERSION) => Ok(()),
        _ => Err(OTHER_VERSION),
    }
}
const OTHER_VERSION: Malformed = Malformed("written by another version of footfall");

#[cfg(test)]
mod tests;
