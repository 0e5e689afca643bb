//! Erasing records of a local log: a segment that holds any is copied without them, the copy takes its
//! place, and the disk lets go of the old one and of the journals that wrote it. Which records are meant
//! is left to the caller.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fjall::{Keyspace, KeyspaceCreateOptions};
use footfall_event::{Micros, Offset};

use super::layout::{self, ChunkBuilder, Lane, Packer};
use super::queue::{Queue, Work};
use super::store::{Segment, Store};
use crate::{Kind, LogError, Record, Redacted, Redaction, blocking};

/// A journal is sealed behind so many bytes, which the database fixes; what is written to reach them.
const JOURNAL_BYTES: usize = 64_000_000;
const FILLER_BYTES: usize = 1024 * 1024;
/// Free bytes that the disk must have besides a segment's copy: where a journal cannot be written the process ends, and
/// would end again at each attempt.
const FREE_BYTES_MIN: u64 = 2 * JOURNAL_BYTES as u64;
/// Named like a segment that none knows, so that a start sweeps it where a crash left it.
const FILLER: &str = "segment-filler";
/// Memory that the filler takes at most.
const FILLER_MEMTABLE_BYTES: u64 = 8 * 1024 * 1024;
/// Where the database keeps the folders of its keyspaces, and the one that is its own.
const KEYSPACES: &str = "keyspaces";
const DATABASES_OWN: &str = "0";
/// How long the disk may take to let go of the old files.
const PURGE_MAX: Duration = Duration::from_secs(60);
const PURGE_PAUSE: Duration = Duration::from_millis(50);

/// As [`EventLog::redact`](crate::EventLog::redact).
pub async fn redact(
    store: &Arc<Store>,
    queue: &Queue,
    redaction: Redaction,
) -> Result<Redacted, LogError> {
    redact_with(store, queue, redaction, FREE_BYTES_MIN).await
}

async fn redact_with(
    store: &Arc<Store>,
    queue: &Queue,
    redaction: Redaction,
    free_bytes_min: u64,
) -> Result<Redacted, LogError> {
    // Looked at before anything is closed: each attempt would leave a segment.
    let of = Arc::clone(store);
    blocking(move || require_room(&of, free_bytes_min)).await?;
    queue.submit(Work::Close, 0).await?;
    let mut records = 0;
    for number in closed(store) {
        let (of, redaction) = (Arc::clone(store), redaction.clone());
        let copied = blocking(move || copy_without(&of, number, &redaction)).await?;
        let Some(Copied { copy, erased }) = copied else { continue };
        queue.submit(Work::Replace(Arc::new(copy)), 0).await?;
        records += erased;
    }
    let of = Arc::clone(store);
    blocking(move || purge(&of)).await?;
    Ok(Redacted::Records(records))
}

/// As [`EventLog::count_meant`](crate::EventLog::count_meant). Blocks on the disk.
pub fn count(
    store: &Store,
    redaction: &Redaction,
    published_until: Micros,
) -> Result<Redacted, LogError> {
    let is_later = |lane: &Lane, record: &Record| {
        matches!(lane, Lane::Side(_)) && record.append_time > published_until
    };
    let counts =
        |lane: &Lane, record: &Record| !is_later(lane, record) && is_meant(lane, record, redaction);
    let mut records = 0;
    for segment in store.segments().iter() {
        records += count_in(store, segment, counts)?;
    }
    Ok(Redacted::Records(records))
}

/// Puts a copy in the place of its segment, and deletes the other; the copy where retention was first.
pub fn replace(store: &Store, copy: Arc<Segment>) -> Result<(), LogError> {
    let mut segments = store.segments().to_vec();
    let place = segments.iter_mut().find(|segment| segment.number == copy.number);
    let old = match place {
        None => copy,
        Some(place) => {
            store.sync_files(&copy.keyspace)?;
            store.commit(|batch, store| {
                let times = copy.rewritten.to_be_bytes();
                batch.insert(&store.meta, layout::rewritten_key(copy.number), times);
            })?;
            std::mem::replace(place, copy)
        }
    };
    store.set_segments(segments);
    let deleted = store.db.delete_keyspace(old.keyspace.clone());
    deleted.map_err(|error| store.io_error(&error))
}

/// The segments that nothing is written to.
fn closed(store: &Store) -> Vec<u64> {
    let segments = store.segments();
    segments[..segments.len() - 1].iter().map(|segment| segment.number).collect()
}

struct Copied {
    copy: Segment,
    erased: u64,
}

/// `None` where nothing is meant, or retention took the segment.
fn copy_without(
    store: &Store,
    number: u64,
    redaction: &Redaction,
) -> Result<Option<Copied>, LogError> {
    let segments = store.segments();
    let Some(old) = segments.iter().find(|segment| segment.number == number) else {
        return Ok(None);
    };
    let erased = count_in(store, old, |lane, record| is_meant(lane, record, redaction))?;
    if erased == 0 {
        return Ok(None);
    }
    require_room(store, FREE_BYTES_MIN + old.keyspace.disk_space())?;
    let rewritten = old.rewritten + 1;
    let name = layout::segment_name(number, rewritten);
    delete(store, &name)?;
    let keyspace = store.segment_keyspace(&name)?;
    let failed = |error: fjall::Error| store.io_error(&error);
    // Not through the journal: tables are written at once, in the order of their keys.
    let mut copying = keyspace.start_ingestion().map_err(failed)?;
    let mut packer = Packer::default();
    for entry in old.keyspace.iter() {
        let (key, value) = entry.into_inner().map_err(failed)?;
        let (lane, records) = decode(store, &key, value.clone().into())?;
        let without = without(&lane, &records, redaction, &mut packer);
        let value = without.unwrap_or_else(|| packer.pack_again(value.into()));
        copying.write(key, fjall::Slice::from(value)).map_err(failed)?;
    }
    copying.finish().map_err(failed)?;
    let starts = old.starts.clone();
    let copy = Segment { number, rewritten, starts, keyspace };
    Ok(Some(Copied { copy, erased }))
}

fn count_in(
    store: &Store,
    segment: &Segment,
    counts: impl Fn(&Lane, &Record) -> bool,
) -> Result<u64, LogError> {
    let mut records = 0;
    for entry in segment.keyspace.iter() {
        let (key, value) = entry.into_inner().map_err(|error| store.io_error(&error))?;
        let (lane, of_chunk) = decode(store, &key, value.into())?;
        records += of_chunk.iter().filter(|record| counts(&lane, record)).count();
    }
    Ok(records as u64)
}

fn decode(store: &Store, key: &[u8], value: Bytes) -> Result<(Lane, Vec<Record>), LogError> {
    let malformed = |error| store.malformed(&error);
    let lane = layout::chunk_lane(key).map_err(malformed)?;
    let first = layout::chunk_first(key).map_err(malformed)?;
    let mut records = Vec::new();
    layout::decode_chunk(first, value, first, &mut records).map_err(malformed)?;
    Ok((lane, records))
}

fn is_meant(lane: &Lane, record: &Record, redaction: &Redaction) -> bool {
    match lane {
        Lane::Partition(partition) => {
            let below = redaction.below.get(partition).copied().unwrap_or(Offset(0));
            record.offset < below && (redaction.is_meant)(record.kind, &record.payload)
        }
        Lane::Side(_) => {
            let published = super::decode_published(record.payload.clone());
            published.is_some_and(|(_, payload)| (redaction.is_meant)(record.kind, &payload))
        }
    }
}

/// The chunk with other records in place of those that are meant; `None` where none is.
fn without(
    lane: &Lane,
    records: &[Record],
    redaction: &Redaction,
    packer: &mut Packer,
) -> Option<Bytes> {
    let meant: Vec<bool> = records.iter().map(|record| is_meant(lane, record, redaction)).collect();
    let first = records.first().filter(|_| meant.contains(&true))?;
    let bytes = records.iter().map(|record| record.payload.len()).sum();
    let mut chunk = ChunkBuilder::new(first.append_time, bytes);
    for (record, is_meant) in records.iter().zip(meant) {
        match (is_meant, lane) {
            (false, _) => chunk.push(record.kind, &record.payload),
            (true, Lane::Partition(_)) => chunk.push(Kind::Tick, &[]),
            // An empty key and nothing behind it.
            (true, Lane::Side(_)) => chunk.push(record.kind, &super::encode_published("", &[])),
        }
    }
    Some(chunk.finish(packer))
}

/// Waits until the folders of old segments, also those that an earlier call replaced, and all journals that
/// were there are gone. A journal that is
/// written to is sealed by its size alone, so it is filled up; one that is sealed goes when all that it
/// holds stands in tables.
fn purge(store: &Store) -> Result<(), LogError> {
    require_room(store, FREE_BYTES_MIN)?;
    let journals = journals(store)?;
    delete(store, FILLER)?;
    let options = || KeyspaceCreateOptions::default().max_memtable_size(FILLER_MEMTABLE_BYTES);
    let filler = store.db.keyspace(FILLER, options).map_err(|error| store.io_error(&error))?;
    let bytes = vec![0; FILLER_BYTES];
    for _ in 0..=JOURNAL_BYTES / FILLER_BYTES + 1 {
        filler.insert("filler", &*bytes).map_err(|error| store.io_error(&error))?;
    }
    let began = Instant::now();
    loop {
        flush(store, &filler)?;
        let stray = stray_folder(store, &filler)?;
        let Some(still) = stray.as_ref().or(journals.iter().find(|path| path.exists())) else {
            break;
        };
        if began.elapsed() > PURGE_MAX {
            let why = format!("{} is not deleted yet", still.display());
            return Err(LogError::Unavailable { at: store.at(), why });
        }
        thread::sleep(PURGE_PAUSE);
    }
    drop(filler);
    delete(store, FILLER)
}

/// Whether the disk has so many bytes free.
fn require_room(store: &Store, needed: u64) -> Result<(), LogError> {
    let disk = rustix::fs::statvfs(&store.settings.directory);
    let disk = disk.map_err(|error| store.io_error(&error))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free >= needed {
        return Ok(());
    }
    let mb = |bytes: u64| bytes.div_ceil(1_000_000);
    let why = format!(
        "to erase records {} MB must be free on its disk, and {} MB are: make room, and it is tried again",
        mb(needed),
        mb(free)
    );
    Err(LogError::Unavailable { at: store.at(), why })
}

/// A folder whose records no segment has any more: it goes when whoever reads it is done.
fn stray_folder(store: &Store, filler: &Keyspace) -> Result<Option<PathBuf>, LogError> {
    let keyspaces = store.settings.directory.join(KEYSPACES);
    let segments = store.segments();
    let standing = segments.iter().map(|segment| &segment.keyspace).chain([&store.meta, filler]);
    // By their names, as the database may know its place by another path.
    let mut known: BTreeSet<&OsStr> =
        standing.filter_map(|keyspace| keyspace.path().file_name()).collect();
    known.insert(OsStr::new(DATABASES_OWN));
    let folders = std::fs::read_dir(keyspaces).map_err(|error| store.io_error(&error))?;
    let mut folders = folders.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(folders.find(|folder| folder.file_name().is_some_and(|name| !known.contains(name))))
}

/// Begins to write all that is in memory to tables.
fn flush(store: &Store, filler: &Keyspace) -> Result<(), LogError> {
    let failed = |error: fjall::Error| store.io_error(&error);
    // Each flush looks which journals can go, so that there must be one.
    filler.insert("flush", "").map_err(failed)?;
    let segments = store.segments();
    let keyspaces = segments.iter().map(|segment| &segment.keyspace).chain([&store.meta, filler]);
    for keyspace in keyspaces {
        keyspace.rotate_memtable().map_err(failed)?;
    }
    Ok(())
}

fn journals(store: &Store) -> Result<BTreeSet<PathBuf>, LogError> {
    let directory = &store.settings.directory;
    let entries = std::fs::read_dir(directory).map_err(|error| store.io_error(&error))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(paths.filter(|path| path.extension().is_some_and(|ending| ending == "jnl")).collect())
}

/// Deletes a keyspace that may be there.
fn delete(store: &Store, name: &str) -> Result<(), LogError> {
    if !store.db.keyspace_exists(name) {
        return Ok(());
    }
    let deleted = store.segment_keyspace(name).map(|keyspace| store.db.delete_keyspace(keyspace));
    deleted?.map_err(|error| store.io_error(&error))
}

#[cfg(test)]
mod tests;
