//! Snapshots: a partition's fold at a barrier, beside the tables. The newest is always usable, as all
//! tables were committed at its offset before it was written.
//!
//! Layout: `_footfall/snapshots/<topic>/<partition>/<offset, 20 digits>`, zstd over postcard over
//! ([`Header`], the fold's state).

mod layout_3;

use std::io::Read;

use bytes::Bytes;
use footfall_event::{Micros, Offset, Partition};
use footfall_lake::Lake;
use footfall_sessionizer::{Fold, FoldState, RulesId};
use serde::{Deserialize, Serialize};

use crate::PipelineError;

/// Raised when the layout changes; the one before is read too, any other refused.
const VERSION: u32 = 4;
/// How many are kept of each partition.
const KEPT: usize = 2;

/// Largest state of a partition: far beyond a million open sessions and all ids that are remembered.
const BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;

/// What a restart must know besides the fold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    version: u32,
    /// The next record to fold.
    pub offset: Offset,
    /// The append time of the record before `offset`.
    pub last_append_time: Micros,
    /// The lowest record whose row was not written; `offset` if there is none.
    pub resume_from: Offset,
    /// Which rules were in force from which record on, as far back as `resume_from`.
    pub rules: Vec<(Offset, RulesId)>,
}

impl Header {
    pub fn new(
        offset: Offset,
        last_append_time: Micros,
        resume_from: Offset,
        rules: Vec<(Offset, RulesId)>,
    ) -> Header {
        Header { version: VERSION, offset, last_append_time, resume_from, rules }
    }
}

fn folder(topic: &str, partition: Partition) -> String {
    format!("_footfall/snapshots/{topic}/{partition}")
}

/// The snapshot's bytes.
///
/// # Errors
/// `Snapshot` when they cannot be formed.
pub fn encode(header: &Header, fold: &Fold) -> Result<Vec<u8>, PipelineError> {
    let failed =
        |reason: String| PipelineError::Snapshot { name: "(in memory)".to_owned(), reason };
    let level = zstd::DEFAULT_COMPRESSION_LEVEL.min(1);
    let mut out = zstd::Encoder::new(Vec::new(), level).map_err(|e| failed(e.to_string()))?;
    // A byte that changed on the disk is found here, not by what the fold would make of it.
    out.include_checksum(true).map_err(|error| failed(error.to_string()))?;
    let content = (header, fold.view());
    postcard::to_io(&content, &mut out).map_err(|error| failed(error.to_string()))?;
    out.finish().map_err(|error| failed(error.to_string()))
}

/// Publishes a snapshot, and deletes all but the newest two. One that cannot be deleted is left to the
/// next time.
///
/// # Errors
/// `Lake` when it was not written.
pub async fn publish(
    lake: &Lake,
    topic: &str,
    partition: Partition,
    offset: Offset,
    bytes: Bytes,
) -> Result<(), PipelineError> {
    let folder = folder(topic, partition);
    lake.write(&format!("{folder}/{:020}", offset.0), bytes).await?;
    if let Err(error) = delete_old(lake, &folder).await {
        tracing::warn!(%error, folder, "old snapshots were not deleted");
    }
    Ok(())
}

async fn delete_old(lake: &Lake, folder: &str) -> Result<(), PipelineError> {
    let names = lake.list(folder).await?;
    for name in names.iter().rev().skip(KEPT) {
        lake.delete(&format!("{folder}/{name}")).await?;
    }
    Ok(())
}

/// The offsets of a partition's snapshots, ascending.
///
/// # Errors
/// `Lake`.
pub async fn offsets(
    lake: &Lake,
    topic: &str,
    partition: Partition,
) -> Result<Vec<Offset>, PipelineError> {
    let names = lake.list(&folder(topic, partition)).await?;
    Ok(names.iter().filter_map(|name| name.parse().ok().map(Offset)).collect())
}

/// Deletes a partition's snapshots at offsets up to `offset`; how many. One behind it must be there.
///
/// # Errors
/// `Lake`.
pub async fn delete_up_to(
    lake: &Lake,
    topic: &str,
    partition: Partition,
    offset: Offset,
) -> Result<usize, PipelineError> {
    let mut deleted = 0;
    for old in offsets(lake, topic, partition).await?.into_iter().filter(|at| *at <= offset) {
        lake.delete(&format!("{}/{:020}", folder(topic, partition), old.0)).await?;
        deleted += 1;
    }
    Ok(deleted)
}

/// A snapshot's content, as it was before it was packed.
///
/// # Errors
/// `Lake`; `Snapshot` where it is cut.
pub async fn unpacked(
    lake: &Lake,
    topic: &str,
    partition: Partition,
    offset: Offset,
) -> Result<Vec<u8>, PipelineError> {
    let name = format!("{}/{:020}", folder(topic, partition), offset.0);
    let Some(bytes) = lake.read(&name).await? else { return Ok(Vec::new()) };
    zstd::decode_all(&bytes[..])
        .map_err(|error| PipelineError::Snapshot { name, reason: error.to_string() })
}

/// The newest snapshot of a partition; `None` before the first barrier.
///
/// # Errors
/// `Lake`, `Snapshot`.
pub async fn newest(
    lake: &Lake,
    topic: &str,
    partition: Partition,
) -> Result<Option<(Header, FoldState)>, PipelineError> {
    let folder = folder(topic, partition);
    // Another pipeline may delete the one just listed, behind newer ones.
    loop {
        let names = lake.list(&folder).await?;
        let Some(name) = names.last() else { return Ok(None) };
        let name = format!("{folder}/{name}");
        if let Some(bytes) = lake.read(&name).await? {
            return decode(&name, &bytes).map(Some);
        }
    }
}

fn decode(name: &str, bytes: &[u8]) -> Result<(Header, FoldState), PipelineError> {
    let failed = |reason: String| PipelineError::Snapshot { name: name.to_owned(), reason };
    let bytes = inflate(bytes).map_err(failed)?;
    // The version is what comes first in every layout.
    let (version, _) =
        postcard::take_from_bytes::<u32>(&bytes).map_err(|error| failed(error.to_string()))?;
    let content = match version {
        VERSION => postcard::from_bytes(&bytes),
        layout_3::VERSION => {
            layout_3::raised(&bytes).and_then(|raised| postcard::from_bytes(&raised))
        }
        _ => {
            let name = name.to_owned();
            return Err(PipelineError::SnapshotVersion { name, version, known: VERSION });
        }
    };
    content.map_err(|error| failed(error.to_string()))
}

fn inflate(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut inflated = Vec::new();
    let decoder = zstd::Decoder::new(bytes).map_err(|error| error.to_string())?;
    let taken = decoder.take(BYTES_MAX + 1).read_to_end(&mut inflated);
    taken.map_err(|error| error.to_string())?;
    match inflated.len() as u64 <= BYTES_MAX {
        true => Ok(inflated),
        false => Err(format!("it holds more than {BYTES_MAX} bytes, which no partition has")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use footfall_tests::for_mutants;

    use super::*;
    use crate::testing::rules;

    /// The newest may turn out to be broken, and the log is kept for the one before.
    #[tokio::test]
    async fn the_newest_two_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::at(&folder.path().to_string_lossy(), Vec::new()).unwrap();
        let place = ("events", Partition(0));
        let mut kept = Vec::new();
        for offset in [Offset(3), Offset(7), Offset(7), Offset(12)] {
            publish(&lake, place.0, place.1, offset, snapshot().into()).await.unwrap();
            kept.push(offsets(&lake, place.0, place.1).await.unwrap());
        }
        let of = |offsets: [i64; 2]| offsets.map(Offset).to_vec();
        assert_eq!(kept, [vec![Offset(3)], of([3, 7]), of([3, 7]), of([7, 12])]);
    }

    #[test]
    fn a_snapshot_of_another_layout_is_refused() {
        for version in [layout_3::VERSION - 1, VERSION + 1] {
            let written = postcard::to_stdvec(&(version, "of another layout")).unwrap();
            let bytes = zstd::encode_all(&written[..], 1).unwrap();
            let refused = decode("events/0/7", &bytes).err().map(|error| error.to_string());
            let told = format!(
                "snapshot `events/0/7` has layout {version}, and this program knows {VERSION}"
            );
            assert!(refused.as_ref().is_some_and(|refused| refused.contains(&told)), "{refused:?}");
        }
    }

    fn snapshot() -> Vec<u8> {
        let fold = Fold::new(Arc::new(rules()), Offset(5));
        let header = Header::new(Offset(7), Micros(3), Offset(5), Vec::new());
        encode(&header, &fold).unwrap()
    }

    #[test]
    fn a_snapshot_is_read_as_it_was_written_and_refused_when_a_byte_changed() {
        let written = snapshot();
        let (header, state) = decode("s", &written).unwrap();
        assert_eq!((header.offset, header.resume_from), (Offset(7), Offset(5)));
        assert_eq!(encode(&header, &Fold::restore(state, Offset(5))).unwrap(), written);
        for_mutants(&[&written], |bytes| {
            // Some bits of the frame mean nothing.
            if let Ok((header, state)) = decode("s", bytes) {
                let again = encode(&header, &Fold::restore(state, Offset(5))).unwrap();
                assert_eq!(again, written, "a changed snapshot is read as another");
            }
        });
    }

    /// Its checksum is right, as that of one which another program wrote.
    #[test]
    fn a_snapshot_of_any_content_is_read_or_refused() {
        let content = zstd::decode_all(&snapshot()[..]).unwrap();
        for_mutants(&[&content], |bytes| {
            drop(decode("s", &zstd::encode_all(bytes, 1).unwrap()));
        });
    }
}
