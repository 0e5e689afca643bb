//! Erased records leave no byte, everybody else's stay where they are, whatever dies in between.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::BufMut;
use fjall::{CompressionType, KvSeparationOptions};
use footfall_event::Partition;
use rand::distr::{Alphanumeric, SampleString};
use tempfile::TempDir;

use super::super::testing::{fail_commits, fail_deletions};
use super::*;
use crate::{EventLog, LocalLog, LocalSettings, NewRecord};

const P0: Partition = Partition(0);
const P1: Partition = Partition(1);
const EVER: Micros = Micros(i64::MAX);
/// As no compression writes it shorter: what is on disk must show it.
const PERSON: &str = "person-Zk3vQ9xW2bTf7LmR";

struct Shop {
    directory: TempDir,
    log: Option<LocalLog>,
}

impl Shop {
    fn new() -> Shop {
        let directory = tempfile::tempdir().unwrap();
        let log = Some(LocalLog::open(settings(directory.path())).unwrap());
        Shop { directory, log }
    }

    fn log(&self) -> &LocalLog {
        self.log.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        self.log = None;
        self.log = Some(LocalLog::open(settings(self.directory.path())).unwrap());
    }

    async fn append(&self, partition: Partition, payloads: &[&str]) {
        let record = |payload: &&str| NewRecord {
            partition,
            kind: Kind::Event,
            payload: Bytes::copy_from_slice(payload.as_bytes()),
        };
        self.log().append(payloads.iter().map(record).collect()).await.unwrap();
    }

    async fn redact(&self, below: &[(Partition, i64)]) -> Redacted {
        self.log().redact(redaction(below)).await.unwrap()
    }

    /// All records of a partition, a tick as `.`.
    async fn records(&self, partition: Partition) -> Vec<String> {
        let bounds = self.log().bounds(partition).await.unwrap();
        let mut records = Vec::new();
        for offset in bounds.start.0..bounds.end.0 {
            let record = self.log().read_one(partition, Offset(offset)).await.unwrap().unwrap();
            assert_eq!(record.offset, Offset(offset));
            records.push(match record.kind {
                Kind::Tick => ".".to_owned(),
                _ => String::from_utf8_lossy(&record.payload).into_owned(),
            });
        }
        records
    }

    /// When each record of a partition was appended.
    async fn append_times(&self, partition: Partition) -> Vec<Micros> {
        let bounds = self.log().bounds(partition).await.unwrap();
        let mut times = Vec::new();
        for offset in bounds.start.0..bounds.end.0 {
            let record = self.log().read_one(partition, Offset(offset)).await.unwrap().unwrap();
            times.push(record.append_time);
        }
        times
    }

    fn holds_the_person(&self) -> bool {
        holds(self.directory.path(), PERSON.as_bytes())
    }
}

fn settings(directory: &Path) -> LocalSettings {
    LocalSettings::new(directory, "events", 2)
}

fn redaction(below: &[(Partition, i64)]) -> Redaction {
    let below: BTreeMap<_, _> =
        below.iter().map(|(partition, offset)| (*partition, Offset(*offset))).collect();
    let is_meant = |_: Kind, payload: &[u8]| {
        payload.windows(PERSON.len()).any(|window| window == PERSON.as_bytes())
    };
    Redaction { below, is_meant: Arc::new(is_meant) }
}

/// Whether any file below `folder` has these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => holds(&path, bytes),
            false => {
                let content = std::fs::read(&path).unwrap();
                content.windows(bytes.len()).any(|window| window == bytes)
            }
        }
    })
}

#[tokio::test]
async fn no_byte_is_left_and_all_others_keep_their_offsets() {
    let mut shop = Shop::new();
    // As packing makes it no smaller, it stands apart from its key.
    let large = format!("{PERSON} {}", Alphanumeric.sample_string(&mut rand::rng(), 3_000));
    shop.append(P0, &["a", PERSON, "b", &large]).await;
    shop.append(P1, &["c", PERSON]).await;
    shop.log()
        .publish("signals", PERSON, vec![Bytes::from_static(PERSON.as_bytes())])
        .await
        .unwrap();
    shop.log().publish("signals", "other", vec![Bytes::from_static(b"other")]).await.unwrap();
    assert!(shop.holds_the_person());
    let below = [(P0, 4), (P1, 2)];
    let counted = shop.log().count_meant(redaction(&below), EVER).await.unwrap();
    assert_eq!(counted, Redacted::Records(4));
    assert_eq!(shop.redact(&below).await, Redacted::Records(4));
    assert!(!shop.holds_the_person());
    for _ in 0..2 {
        assert_eq!(shop.records(P0).await, ["a", ".", "b", "."]);
        assert_eq!(shop.records(P1).await, ["c", "."]);
        let published = shop.log().published("signals").unwrap();
        let published: Vec<_> = published.iter().map(|(key, _)| &key[..]).collect();
        assert_eq!(published, [&b""[..], b"other"]);
        shop.reopen();
    }
    assert_eq!(shop.redact(&below).await, Redacted::Records(0));
    shop.append(P0, &["d"]).await;
    assert_eq!(shop.records(P0).await, ["a", ".", "b", ".", "d"]);
}

#[tokio::test]
async fn only_what_lies_below_the_offset_is_erased() {
    let shop = Shop::new();
    shop.append(P0, &[PERSON, "a", PERSON]).await;
    shop.append(P1, &[PERSON]).await;
    let appended = shop.append_times(P0).await;
    assert_eq!(shop.redact(&[(P0, 2)]).await, Redacted::Records(1));
    assert_eq!(shop.append_times(P0).await, appended);
    assert_eq!(shop.records(P0).await, [".", "a", PERSON]);
    assert_eq!(shop.records(P1).await, [PERSON]);
    // Later, in the segment that was rewritten once.
    assert_eq!(shop.redact(&[(P0, 3)]).await, Redacted::Records(1));
    assert_eq!(shop.records(P0).await, [".", "a", "."]);
}

async fn publish(shop: &Shop) {
    let payload = Bytes::from_static(PERSON.as_bytes());
    shop.log().publish("signals", PERSON, vec![payload]).await.unwrap();
}

/// Nor is a time asked for: a clock that was set back leaves what is ahead of it.
#[tokio::test]
async fn all_that_is_published_by_then_is_erased() {
    let shop = Shop::new();
    publish(&shop).await;
    assert_eq!(shop.redact(&[]).await, Redacted::Records(1));
    assert!(!shop.holds_the_person());
    publish(&shop).await;
    assert!(shop.holds_the_person());
}

#[tokio::test]
async fn what_is_published_later_is_not_counted() {
    let shop = Shop::new();
    publish(&shop).await;
    for (until, records) in [(Micros(0), 0), (EVER, 1)] {
        let counted = shop.log().count_meant(redaction(&[]), until).await.unwrap();
        assert_eq!(counted, Redacted::Records(records), "{until}");
    }
}

/// A journal that cannot be written ends the process; the disk is looked at before one is filled.
#[tokio::test]
async fn a_disk_without_room_is_told_and_changes_nothing() {
    let shop = Shop::new();
    shop.append(P0, &["{}", PERSON]).await;
    let LocalLog { store, queue, .. } = shop.log();
    let before = (shop.records(P0).await, store.segments().len());
    let refused = redact_with(store, queue, redaction(&[(P0, 2)]), u64::MAX).await.unwrap_err();
    assert_eq!((shop.records(P0).await, store.segments().len()), before);
    assert!(matches!(refused, LogError::Unavailable { .. }), "{refused}");
    let told = refused.to_string();
    assert!(told.contains("18446744073710 MB must be free on its disk"), "{told}");
}

/// A chunk as it was written before chunks were packed, in a keyspace that packs them itself.
fn of_older_version(store: &Store, payloads: &[String]) -> Segment {
    let mut chunk = vec![1];
    chunk.put_i64(77);
    chunk.put_u32(payloads.len() as u32);
    for payload in payloads {
        chunk.put_u8(Kind::Event.code());
        chunk.put_u32(payload.len() as u32);
        chunk.put_slice(payload.as_bytes());
    }
    let apart =
        KvSeparationOptions::default().separation_threshold(1024).compression(CompressionType::Lz4);
    let options = || KeyspaceCreateOptions::default().with_kv_separation(Some(apart.clone()));
    let keyspace = store.db.keyspace(&layout::segment_name(0, 1), options).unwrap();
    keyspace.insert(Lane::Partition(P0).chunk_key(Offset(0)), chunk).unwrap();
    keyspace.rotate_memtable_and_wait().unwrap();
    let starts = store.segments()[0].starts.clone();
    Segment { number: 0, rewritten: 1, starts, keyspace }
}

#[tokio::test]
async fn a_log_of_an_older_version_is_read_and_packed_when_it_is_copied() {
    let mut shop = Shop::new();
    let payloads: Vec<_> = (0..100).map(|number| format!("{number} is like the others")).collect();
    let older = of_older_version(&shop.log().store, &payloads);
    replace(&shop.log().store, Arc::new(older)).unwrap();
    shop.reopen();
    assert_eq!(shop.records(P0).await, payloads);
    shop.append(P1, &[PERSON]).await;
    shop.append(P0, &["new"]).await;
    assert_eq!(shop.redact(&[(P1, 1)]).await, Redacted::Records(1));
    let expected: Vec<_> = payloads.iter().cloned().chain(["new".to_owned()]).collect();
    assert_eq!(shop.records(P0).await, expected);
    let segments = shop.log().store.segments();
    let key = Lane::Partition(P0).chunk_key(Offset(0));
    let copied = segments[0].keyspace.get(key).unwrap().unwrap();
    let bytes: usize = payloads.iter().map(String::len).sum();
    assert!(copied.len() < bytes / 3, "{} of {bytes} bytes", copied.len());
}

/// A copy that was made and never took its place.
#[tokio::test]
async fn a_copy_that_a_crash_left_is_swept_or_made_again() {
    let mut shop = Shop::new();
    shop.append(P0, &["a", PERSON]).await;
    let below = [(P0, 2)];
    for restarts in [true, false] {
        shop.log().queue.submit(Work::Close, 0).await.unwrap();
        let copied = copy_without(&shop.log().store, 0, &redaction(&below)).unwrap();
        assert_eq!(copied.map(|copied| copied.erased), Some(1));
        if restarts {
            shop.reopen();
            assert!(!shop.log().store.db.keyspace_exists(&layout::segment_name(0, 1)));
        }
        assert_eq!(shop.records(P0).await, ["a", PERSON]);
    }
    assert_eq!(shop.redact(&below).await, Redacted::Records(1));
    assert_eq!(shop.records(P0).await, ["a", "."]);
    assert!(!shop.holds_the_person());
}

/// Somebody reads the old segment when its copy takes its place, and the call gives up waiting: the next
/// one has nothing to copy, and must know that the bytes are there still.
#[tokio::test]
async fn a_segment_that_an_earlier_call_replaced_is_waited_for() {
    let shop = Shop::new();
    shop.append(P0, &["a", PERSON]).await;
    let below = [(P0, 2)];
    let store = Arc::clone(&shop.log().store);
    let reader = store.segments();
    shop.log().queue.submit(Work::Close, 0).await.unwrap();
    let copied = copy_without(&store, 0, &redaction(&below)).unwrap().unwrap();
    replace(&store, Arc::new(copied.copy)).unwrap();
    let old = reader[0].keyspace.path().to_owned();
    let filler = store.segment_keyspace(FILLER).unwrap();
    assert_eq!(stray_folder(&store, &filler).unwrap(), Some(old.clone()));
    drop(filler);
    drop(reader);
    assert_eq!(shop.redact(&below).await, Redacted::Records(0));
    assert!(!old.exists() && !shop.holds_the_person());
}

/// Retention deletes the segment while its copy is made.
#[tokio::test]
async fn a_copy_of_a_segment_that_is_gone_goes_too() {
    let shop = Shop::new();
    shop.append(P0, &["a", PERSON]).await;
    shop.log().queue.submit(Work::Close, 0).await.unwrap();
    let store = Arc::clone(&shop.log().store);
    let copied = copy_without(&store, 0, &redaction(&[(P0, 2)])).unwrap().unwrap();
    let gone = store.segments()[0].keyspace.clone();
    store.set_segments(store.segments()[1..].to_vec());
    replace(&store, Arc::new(copied.copy)).unwrap();
    assert!(!store.db.keyspace_exists(&layout::segment_name(0, 1)));
    assert!(store.db.keyspace_exists(gone.name()));
}

/// The end of a process between any two steps leaves the old records or the others, and all of them.
#[tokio::test]
async fn a_segment_whose_copy_does_not_take_its_place_stays() {
    let mut shop = Shop::new();
    shop.append(P0, &["a", PERSON]).await;
    let below = [(P0, 2)];
    replace_and_fail(&shop, |store, copy| {
        fail_commits(store);
        replace(store, copy)
    })
    .await;
    shop.reopen();
    assert_eq!(shop.records(P0).await, ["a", PERSON]);
    assert_eq!(shop.redact(&below).await, Redacted::Records(1));
    assert_eq!(shop.records(P0).await, ["a", "."]);
}

#[tokio::test]
async fn a_segment_that_was_replaced_and_not_deleted_is_swept() {
    let mut shop = Shop::new();
    shop.append(P0, &["a", PERSON]).await;
    replace_and_fail(&shop, |store, copy| fail_deletions(store, || replace(store, copy))).await;
    shop.reopen();
    assert_eq!(shop.records(P0).await, ["a", "."]);
    assert!(!shop.log().store.db.keyspace_exists(&layout::segment_name(0, 0)));
}

/// What has no name after a power failure is gone, so that no copy whose names are not synced takes a place.
#[tokio::test]
async fn a_copy_whose_files_cannot_be_synced_does_not_take_its_place() {
    for folder in ["tables", "blobs"] {
        let shop = Shop::new();
        shop.append(P0, &["a", PERSON]).await;
        replace_and_fail(&shop, |store, copy| {
            let folder = copy.keyspace.path().join(folder);
            std::fs::rename(&folder, folder.with_extension("away")).unwrap();
            replace(store, copy)
        })
        .await;
        assert_eq!(shop.log().store.read_meta(&layout::rewritten_key(0)).unwrap(), None);
    }
}

async fn replace_and_fail(
    shop: &Shop,
    fails: impl FnOnce(&Store, Arc<Segment>) -> Result<(), LogError>,
) {
    let LocalLog { store, queue, .. } = shop.log();
    queue.submit(Work::Close, 0).await.unwrap();
    let copied = copy_without(store, 0, &redaction(&[(P0, 2)])).unwrap().unwrap();
    fails(store, Arc::new(copied.copy)).unwrap_err();
}
