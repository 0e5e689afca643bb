//! When a segment is closed, and when it is deleted: old enough, and released by the pipeline.
//! Writing records is left to the writer.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use footfall_event::{Micros, Offset, Partition};

use super::AHEAD_MAX;
use super::layout::{self, Lane};
use super::store::{Segment, Store, Tails};
use crate::LogError;

const INTERVAL_MAX: Duration = Duration::from_secs(10);
/// With `bytes_max` set, a segment is closed at this share of it, so that there are some to delete.
const SEGMENTS_IN_BYTES_MAX: u64 = 16;
const SEGMENT_BYTES_MIN: u64 = 1024 * 1024;

pub struct Retention {
    /// Of each partition: below it nothing is needed.
    released: Vec<Offset>,
    /// Appended to the newest segment since it or the process began.
    segment_bytes: u64,
    interval: Duration,
    stepped_at: Option<Instant>,
}

impl Retention {
    /// Reads back what was released.
    pub fn new(store: &Store) -> Result<Self, LogError> {
        let partitions = store.settings.partitions;
        let released = match store.read_meta(layout::KEY_RELEASED)? {
            None => vec![Offset(0); partitions as usize],
            Some(value) => layout::decode_released(&value, partitions)
                .map_err(|error| store.malformed(&error))?,
        };
        let quarter = Duration::from_millis(store.settings.segment_ms.unsigned_abs() / 4);
        let interval = quarter.clamp(Duration::from_millis(10), INTERVAL_MAX);
        Ok(Self { released, segment_bytes: 0, interval, stepped_at: None })
    }

    /// How often to step.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Takes in released offsets; the value to store when that changed any. None ever goes back.
    pub fn release(&mut self, positions: &[(Partition, Offset)]) -> Option<Vec<u8>> {
        let mut changed = false;
        for (partition, offset) in positions {
            let released = &mut self.released[partition.0 as usize];
            changed |= *offset > *released;
            *released = (*released).max(*offset);
        }
        changed.then(|| layout::encode_released(&self.released))
    }

    /// Counts appended bytes.
    pub fn count(&mut self, bytes: usize) {
        self.segment_bytes += bytes as u64;
    }

    /// Closes and deletes what is due, if the last step lies an interval back.
    pub fn step(&mut self, store: &Store, tails: &Tails, at: Instant) -> Result<(), LogError> {
        if self.stepped_at.is_some_and(|last| at.duration_since(last) < self.interval) {
            return Ok(());
        }
        self.stepped_at = Some(at);
        self.step_at(store, tails, Micros::clock())
    }

    fn step_at(&mut self, store: &Store, tails: &Tails, now: Micros) -> Result<(), LogError> {
        if self.closes(store, tails, now) {
            self.close_segment(store, tails, now)?;
        }
        self.delete_segments(store, now)
    }

    fn closes(&self, store: &Store, tails: &Tails, now: Micros) -> bool {
        let segments = store.segments();
        let starts = &segments[segments.len() - 1].starts;
        let due = now - starts.opened_at >= Micros::from_ms(store.settings.segment_ms)
            || is_ahead(starts.opened_at, now);
        let large = store.settings.bytes_max.is_some_and(|bytes_max| {
            self.segment_bytes > (bytes_max / SEGMENTS_IN_BYTES_MAX).max(SEGMENT_BYTES_MIN)
        });
        has_grown(store, tails) && (due || large)
    }

    /// Closes the newest segment before its time, if it has any record.
    pub fn close(&mut self, store: &Store, tails: &Tails) -> Result<(), LogError> {
        match has_grown(store, tails) {
            true => self.close_segment(store, tails, Micros::clock()),
            false => Ok(()),
        }
    }

    fn close_segment(&mut self, store: &Store, tails: &Tails, now: Micros) -> Result<(), LogError> {
        let mut segments = store.segments().to_vec();
        let closed = Arc::clone(&segments[segments.len() - 1]);
        segments.push(Arc::new(store.make_segment(closed.number + 1, tails, now)?));
        store.set_segments(segments);
        self.segment_bytes = 0;
        // Its memory is given back; its journal can go.
        closed.keyspace.rotate_memtable().map(drop).map_err(|error| store.io_error(&error))
    }

    fn delete_segments(&self, store: &Store, now: Micros) -> Result<(), LogError> {
        let mut bytes = disk_bytes(store);
        loop {
            let segments = store.segments();
            let [oldest, next, ..] = &segments[..] else { break };
            let retention = Micros::from_ms(store.settings.retention_ms);
            let old = newest_time(&segments[1..], now).is_some_and(|time| time + retention <= now);
            let large = store.settings.bytes_max.is_some_and(|max| bytes > max / 10 * 9);
            if !self.is_released(next) || !(old || large) {
                break;
            }
            bytes = bytes.saturating_sub(oldest.keyspace.disk_space());
            delete(store, oldest, segments[1..].to_vec())?;
        }
        store.full.store(store.settings.bytes_max.is_some_and(|max| bytes > max), Relaxed);
        Ok(())
    }

    /// Is nothing before this segment needed?
    fn is_released(&self, next: &Segment) -> bool {
        let partitions = self.released.iter().enumerate();
        partitions.into_iter().all(|(index, released)| {
            let lane = Lane::Partition(Partition(index as i32));
            *released >= next.starts.of(&lane).next
        })
    }
}

fn has_grown(store: &Store, tails: &Tails) -> bool {
    let segments = store.segments();
    let starts = &segments[segments.len() - 1].starts;
    tails.iter().any(|(lane, tail)| tail.next > starts.of(lane).next)
}

/// A time that no record before the first of `segments` is younger than. Where that one was opened by
/// a clock that was wrong the next tells it, as it was opened later; `None` if none can.
fn newest_time(segments: &[Arc<Segment>], now: Micros) -> Option<Micros> {
    let opened = segments.iter().find(|segment| !is_ahead(segment.starts.opened_at, now))?;
    let times = opened.starts.tails.values().map(|tail| tail.append_time);
    times.filter(|time| !is_ahead(*time, now)).chain([opened.starts.opened_at]).max()
}

fn is_ahead(time: Micros, now: Micros) -> bool {
    time > now + AHEAD_MAX
}

fn disk_bytes(store: &Store) -> u64 {
    store.segments().iter().map(|segment| segment.keyspace.disk_space()).sum()
}

/// First it is forgotten, then deleted: a crash in between leaves an orphan, never a hole.
fn delete(store: &Store, oldest: &Segment, rest: Vec<Arc<Segment>>) -> Result<(), LogError> {
    store.commit(|batch, store| {
        batch.remove(&store.meta, layout::segment_key(oldest.number));
        batch.remove(&store.meta, layout::rewritten_key(oldest.number));
    })?;
    store.set_segments(rest);
    let deleted = store.db.delete_keyspace(oldest.keyspace.clone());
    tracing::debug!(segment = oldest.number, "segment deleted");
    deleted.map_err(|error| store.io_error(&error))
}

#[cfg(test)]
mod tests;
