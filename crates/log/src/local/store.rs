//! The database of a local log: opening it, its segments, and how far each partition has come.
//! Writing is left to the writer, reading to the reader, deleting to retention.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode,
};
use footfall_event::{Micros, Offset, Partition};
use tokio::sync::watch;

use super::LocalSettings;
use super::layout::{self, Format, Lane, Malformed, Starts, Tail};
use crate::LogError;

const CACHE_BYTES: u64 = 16 * 1024 * 1024;
const MEMTABLE_BYTES: u64 = 16 * 1024 * 1024;
const JOURNAL_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// It flushes and compacts. Of two, fjall's first hands what is to be compacted back to the queue, and takes it out again,
/// until the other is free: a tenth of what collecting costs.
const WORKER_THREADS: usize = 1;
/// The folder in which fjall keeps a folder for each keyspace.
const KEYSPACES: &str = "keyspaces";
/// The folders in which it keeps a keyspace's files.
const FOLDERS_OF_FILES: [&str; 2] = ["tables", "blobs"];
/// Chunks of at least this size are kept apart from their keys, so that they are written once and
/// not again at each compaction.
const SEPARATION_BYTES: u32 = 1024;

/// A span of time, deleted as a whole.
pub struct Segment {
    pub number: u64,
    /// How often records of it were erased.
    pub rewritten: u64,
    pub starts: Starts,
    pub keyspace: Keyspace,
}

pub type Tails = BTreeMap<Lane, Tail>;

pub struct Store {
    pub settings: LocalSettings,
    pub db: Database,
    pub meta: Keyspace,
    /// From the oldest to the one that is written. Never empty.
    segments: RwLock<Arc<Vec<Arc<Segment>>>>,
    /// Of each partition: the next offset. What lies below is durable.
    ends: Vec<AtomicI64>,
    /// Changes whenever `ends` does.
    pub grown: watch::Sender<()>,
    /// More than `bytes_max` is kept.
    pub full: AtomicBool,
    pub subscribed: AtomicBool,
}

impl Store {
    /// Opens or makes the database, and tells where each lane stands.
    pub fn open(settings: LocalSettings) -> Result<(Self, Tails), LogError> {
        let directory = &settings.directory;
        let db = Database::builder(directory)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .journal_compression(CompressionType::None)
            .worker_threads(WORKER_THREADS)
            .open()
            .map_err(|error| match error {
                fjall::Error::Locked => LogError::Locked(directory.clone()),
                error => at_directory(&settings, &error),
            })?;
        let meta = db.keyspace(layout::META, KeyspaceCreateOptions::default);
        let meta = meta.map_err(|error| at_directory(&settings, &error))?;
        let mut store = Self {
            ends: (0..settings.partitions).map(|_| AtomicI64::new(0)).collect(),
            settings,
            db,
            meta,
            segments: RwLock::default(),
            grown: watch::Sender::new(()),
            full: AtomicBool::new(false),
            subscribed: AtomicBool::new(false),
        };
        store.expect_format()?;
        store.sync_folders(None)?;
        let tails = store.recover()?;
        store.set_ends(&tails);
        Ok((store, tails))
    }

    /// Writes the format where there is none, else compares it.
    fn expect_format(&self) -> Result<(), LogError> {
        let (partitions, topic) = (self.settings.partitions, self.settings.topic.clone());
        let wanted = Format { partitions, topic };
        let Some(value) = self.read_meta(layout::KEY_FORMAT)? else {
            return self.commit(|batch, store| {
                batch.insert(&store.meta, layout::KEY_FORMAT, wanted.encode());
            });
        };
        let found = Format::decode(&value).map_err(|error| self.malformed(&error))?;
        let unfit = |setting, found: &str, wanted: &str| LogError::Unfit {
            thing: self.at(),
            setting,
            value: found.to_owned(),
            need: format!(
                "the configuration says {wanted}: this is fixed when a log is made, so set it \
                 back or name another directory"
            ),
        };
        if found.partitions != wanted.partitions {
            let (found, wanted) = (found.partitions.to_string(), wanted.partitions.to_string());
            return Err(unfit("partitions", &found, &wanted));
        }
        if found.topic != wanted.topic {
            return Err(unfit("topic", &found.topic, &wanted.topic));
        }
        Ok(())
    }

    /// Finds the segments, drops what a crash left over, and makes the first one of a log.
    fn recover(&mut self) -> Result<Tails, LogError> {
        let mut segments = Vec::new();
        for entry in self.meta.prefix(layout::KEY_SEGMENT) {
            let (key, value) = entry.into_inner().map_err(|error| self.io_error(&error))?;
            let number = key.last_chunk().ok_or_else(|| self.corrupt("segment key is cut"))?;
            let number = u64::from_be_bytes(*number);
            let starts = Starts::decode(&value).map_err(|error| self.malformed(&error))?;
            let rewritten = match self.read_meta(&layout::rewritten_key(number))? {
                Some(value) => {
                    layout::decode_rewritten(&value).map_err(|error| self.malformed(&error))?
                }
                None => 0,
            };
            let name = layout::segment_name(number, rewritten);
            if !self.db.keyspace_exists(&name) {
                return Err(self.corrupt(&format!("segment {number} is missing")));
            }
            let keyspace = self.segment_keyspace(&name)?;
            segments.push(Arc::new(Segment { number, rewritten, starts, keyspace }));
        }
        self.drop_orphans(&segments)?;
        if segments.is_empty() {
            segments.push(Arc::new(self.make_segment(0, &Tails::new(), Micros::clock())?));
        }
        let tails = self.read_tails(&segments[segments.len() - 1])?;
        self.set_segments(segments);
        Ok(tails)
    }

    fn drop_orphans(&self, segments: &[Arc<Segment>]) -> Result<(), LogError> {
        for name in self.db.list_keyspace_names() {
            let kept = segments.iter().any(|segment| **segment.keyspace.name() == *name);
            if name.starts_with(layout::SEGMENT_PREFIX) && !kept {
                tracing::info!(segment = %&*name, "deleting a segment left over by a crash");
                let orphan = self.db.keyspace(&name, segment_options);
                orphan
                    .and_then(|orphan| self.db.delete_keyspace(orphan))
                    .map_err(|error| self.io_error(&error))?;
            }
        }
        Ok(())
    }

    fn read_tails(&self, segment: &Segment) -> Result<Tails, LogError> {
        let mut tails = segment.starts.tails.clone();
        let partitions = 0..self.settings.partitions as i32;
        let mut lanes: Vec<Lane> = partitions.map(|p| Lane::Partition(Partition(p))).collect();
        lanes.extend(super::reader::side_topics(self, segment)?.into_iter().map(Lane::Side));
        for lane in lanes {
            if let Some(tail) = super::reader::read_tail(self, segment, &lane)? {
                tails.insert(lane, tail);
            } else {
                tails.entry(lane).or_default();
            }
        }
        Ok(tails)
    }

    /// Makes the segment that begins where `tails` stand, durably.
    pub fn make_segment(
        &self,
        number: u64,
        tails: &Tails,
        opened_at: Micros,
    ) -> Result<Segment, LogError> {
        let keyspace = self.segment_keyspace(&layout::segment_name(number, 0))?;
        let starts = Starts { opened_at, tails: tails.clone() };
        self.commit(|batch, store| {
            batch.insert(&store.meta, layout::segment_key(number), starts.encode());
        })?;
        Ok(Segment { number, rewritten: 0, starts, keyspace })
    }

    /// Syncs the folders that name what the database has made: it syncs its files, and not all of these, and what
    /// has no name after a power failure is gone. The folder in which the log's own lies was perhaps made with it.
    fn sync_folders(&self, keyspace: Option<&Path>) -> Result<(), LogError> {
        let directory = &self.settings.directory;
        let whole = directory.canonicalize().map_err(|error| self.io_error(&error))?;
        let above = whole.ancestors().skip(1).take(2).map(Path::to_owned);
        let (keyspace, keyspaces) = (keyspace.map(Path::to_owned), directory.join(KEYSPACES));
        let own = [keyspace, Some(keyspaces), Some(directory.clone())];
        self.sync(own.into_iter().flatten().chain(above))
    }

    /// As `sync_folders`, of the folders that name a keyspace's tables and blobs.
    pub fn sync_files(&self, keyspace: &Keyspace) -> Result<(), LogError> {
        self.sync(FOLDERS_OF_FILES.map(|folder| keyspace.path().join(folder)))
    }

    fn sync(&self, folders: impl IntoIterator<Item = PathBuf>) -> Result<(), LogError> {
        for folder in folders {
            match File::open(&folder).and_then(|folder| folder.sync_all()) {
                // One above that others made.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
                synced => synced.map_err(|error| self.io_error(&error))?,
            }
        }
        Ok(())
    }

    /// A segment's keyspace, made where there is none.
    pub fn segment_keyspace(&self, name: &str) -> Result<Keyspace, LogError> {
        let is_new = !self.db.keyspace_exists(name);
        let keyspace = self.db.keyspace(name, segment_options);
        let keyspace = keyspace.map_err(|error| self.io_error(&error))?;
        if is_new {
            self.sync_folders(Some(keyspace.path()))?;
        }
        Ok(keyspace)
    }

    /// Commits a batch; when this returns it is on fsynced storage, and readable only from then.
    pub fn commit(
        &self,
        fill: impl FnOnce(&mut fjall::OwnedWriteBatch, &Self),
    ) -> Result<(), LogError> {
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncAll));
        fill(&mut batch, self);
        batch.commit().map_err(|error| self.io_error(&error))
    }

    pub fn read_meta(&self, key: &[u8]) -> Result<Option<fjall::Slice>, LogError> {
        self.meta.get(key).map_err(|error| self.io_error(&error))
    }

    pub fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        Arc::clone(&self.segments.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn set_segments(&self, segments: Vec<Arc<Segment>>) {
        *self.segments.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(segments);
    }

    /// Makes what was written up to `tails` known to readers.
    pub fn set_ends(&self, tails: &Tails) {
        for (lane, tail) in tails {
            if let Lane::Partition(partition) = lane {
                self.ends[partition.0 as usize].store(tail.next.0, Ordering::Release);
            }
        }
        self.grown.send_replace(());
    }

    pub fn end(&self, partition: Partition) -> Offset {
        Offset(self.ends[partition.0 as usize].load(Ordering::Acquire))
    }

    pub fn bounds(&self, partition: Partition) -> Range<Offset> {
        let start = self.segments()[0].starts.of(&Lane::Partition(partition)).next;
        start..self.end(partition)
    }

    pub fn expect_partition(&self, partition: Partition) -> Result<(), LogError> {
        let partitions = self.settings.partitions;
        if u32::try_from(partition.0).is_ok_and(|number| number < partitions) {
            return Ok(());
        }
        Err(LogError::NoPartition { topic: self.settings.topic.clone(), partition, partitions })
    }

    pub fn at(&self) -> String {
        format!("event log {}", self.settings.directory.display())
    }

    pub fn corrupt(&self, what: &str) -> LogError {
        LogError::Corrupt { at: self.at(), what: what.to_owned() }
    }

    pub fn malformed(&self, error: &Malformed) -> LogError {
        self.corrupt(error.0)
    }

    pub fn io_error(&self, error: &impl ToString) -> LogError {
        at_directory(&self.settings, error)
    }

    pub fn full_error(&self) -> LogError {
        let bytes_max = self.settings.bytes_max.unwrap_or_default();
        let waiting = format!(
            "more than bytes_max = {bytes_max} bytes are kept, of which the pipeline needs all"
        );
        LogError::Overloaded { waiting }
    }
}

fn at_directory(settings: &LocalSettings, error: &impl ToString) -> LogError {
    LogError::Io { at: settings.directory.display().to_string(), why: error.to_string() }
}

fn segment_options() -> KeyspaceCreateOptions {
    let apart = KvSeparationOptions::default()
        .separation_threshold(SEPARATION_BYTES)
        .compression(CompressionType::None);
    KeyspaceCreateOptions::default()
        .max_memtable_size(MEMTABLE_BYTES)
        .with_kv_separation(Some(apart))
}
