//! An erasure's file in the lake: the request while it waits, `_footfall/erasures/waiting/<id>.json`, and
//! the proof when it is done, `_footfall/erasures/done/<id>.json`.

use std::collections::BTreeMap;

use bytes::Bytes;
use footfall_event::{Micros, Offset, Partition, partition_of};
use footfall_lake::{Lake, LakeError, delete_broken_writes_of};
use futures::stream::iter;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Mark;
use crate::PipelineError;

const WAITING: &str = "_footfall/erasures/waiting";
const DONE: &str = "_footfall/erasures/done";
/// Files that are read at once.
const READS_AT_ONCE: usize = 16;

/// A request, and what became of it so far. Times are RFC 3339 texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    pub id: String,
    /// How often it was kept: of two processes that carry it out, as one was taken its partition, the
    /// second to keep is refused.
    #[serde(default)]
    pub revision: u64,
    pub site: String,
    /// Whom it means, to who knows the id: as [`Mark`] has it.
    pub salt: String,
    pub sha256: String,
    pub requested_at: String,
    /// Until it is done, as the tables are searched for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visitor: Option<String>,
    /// The event log, and in each of its partitions the control record: what lies before is erased.
    pub log: String,
    pub control_offsets: BTreeMap<i32, i64>,
    /// The ends of the partitions before the control records were appended: one that died in between finds
    /// them behind it.
    #[serde(default)]
    pub marked_from: BTreeMap<i32, i64>,
    /// Rows that went, by what the receipts count them as.
    pub ranges: Vec<ErasedRange>,
    /// Whether any had been repaired: it may have moved rows to `duplicates` or beyond a cap.
    pub has_repaired: bool,
    /// Sessions of the rows that went, until it is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<String>,
    /// Whether the rows were counted, after which tables are changed.
    pub is_counted: bool,
    pub tables: BTreeMap<String, ErasedRows>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewritten_at: Option<String>,
    pub snapshots_deleted: usize,
    /// Records of the log that went. Of a log that cannot change a record, `None`: they go when its
    /// retention takes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_records: Option<u64>,
    pub is_log_left_to_retention: bool,
    /// When the snapshots were deleted and the log was asked, or, where a clock that was ahead told it, when that was seen: a
    /// signal that was published later is a stranger's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_erased_at: Option<String>,
    pub files_deleted: usize,
    pub versions_deleted: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_at: Option<String>,
}

/// What an erasure did to a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasedRows {
    /// Rows that went, or in `rejected` and `duplicates` lost what names the person.
    pub rows: u64,
    /// Older versions are gone.
    pub first_version: u64,
}

/// Rows of `events` that went, by the range of a receipt that counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasedRange {
    pub log: String,
    pub log_partition: i32,
    pub from_offset: i64,
    pub on_time: i64,
    pub late: i64,
    /// Of those on time, also of earlier ranges, the ones whose row a record of this range let be written.
    pub written: i64,
    pub overflow: i64,
}

impl Erasure {
    pub fn new(site: &str, visitor_id: &str, log: &str) -> Erasure {
        let (id, salt) = (Uuid::now_v7().to_string(), Uuid::new_v4().simple().to_string());
        let Mark { id, salt, sha256 } = Mark::new(id, salt, site, visitor_id);
        Erasure {
            id,
            site: site.to_owned(),
            salt,
            sha256,
            requested_at: Micros::clock().to_string(),
            visitor: Some(visitor_id.to_owned()),
            log: log.to_owned(),
            ..Erasure::default()
        }
    }

    pub fn mark(&self) -> Mark {
        Mark { id: self.id.clone(), salt: self.salt.clone(), sha256: self.sha256.clone() }
    }

    pub fn is_done(&self) -> bool {
        self.done_at.is_some()
    }

    /// Whether control records may stand in the log: what comes is a stranger's then.
    pub fn has_begun(&self) -> bool {
        !self.marked_from.is_empty() || !self.control_offsets.is_empty()
    }

    pub fn offsets(&self) -> BTreeMap<Partition, Offset> {
        let offsets = self.control_offsets.iter();
        offsets.map(|(partition, offset)| (Partition(*partition), Offset(*offset))).collect()
    }

    /// The partition of the person's events.
    pub fn home(&self, visitor_id: &str) -> Partition {
        partition_of(&self.site, visitor_id, self.control_offsets.len() as u32)
    }

    /// Whether a row of a log goes: the live ones before the control record, and all that were loaded.
    pub fn reaches(&self, log: &str, partition: Partition, offset: Offset) -> bool {
        match log == self.log {
            true => {
                let control = self.control_offsets.get(&partition.0);
                control.is_some_and(|control| offset.0 < *control)
            }
            false => true,
        }
    }
}

/// Keeps a request durably, before anything was done of it.
///
/// # Errors
/// `Lake`.
pub async fn ask(lake: &Lake, erasure: &Erasure) -> Result<(), PipelineError> {
    Ok(lake.write(&path(WAITING, &erasure.id), json(erasure)).await?)
}

/// Keeps how far a request is, over what it was read as.
///
/// # Errors
/// `ErasureOvertaken` where another process took it further meanwhile; `Lake`.
pub async fn keep(lake: &Lake, erasure: &mut Erasure) -> Result<(), PipelineError> {
    require_unchanged(lake, erasure).await?;
    erasure.revision += 1;
    ask(lake, erasure).await
}

/// Puts the proof in the place of the request.
///
/// # Errors
/// As [`keep`].
pub async fn finish(lake: &Lake, proof: &Erasure) -> Result<(), PipelineError> {
    require_unchanged(lake, proof).await?;
    lake.write(&path(DONE, &proof.id), json(proof)).await?;
    forget(lake, &proof.id).await
}

/// Deletes a request whose proof stands, and what crashes left of writing it, which has the id too.
///
/// # Errors
/// `Lake`.
pub async fn forget(lake: &Lake, id: &str) -> Result<(), PipelineError> {
    let path = path(WAITING, id);
    // First: one that dies in between finds the request, and does this again.
    delete_broken_writes_of(lake, &path).await?;
    Ok(lake.delete(&path).await?)
}

async fn require_unchanged(lake: &Lake, erasure: &Erasure) -> Result<(), PipelineError> {
    let standing = read(lake, &path(WAITING, &erasure.id)).await?;
    match standing.is_some_and(|standing| standing.revision == erasure.revision) {
        true => Ok(()),
        false => Err(PipelineError::ErasureOvertaken { id: erasure.id.clone() }),
    }
}

/// An erasure that waits or is done.
///
/// # Errors
/// `Lake`; `Unreadable` for a file that holds none.
pub async fn find(lake: &Lake, id: &str) -> Result<Option<Erasure>, PipelineError> {
    // It becomes part of a path.
    if Uuid::parse_str(id).is_err() {
        return Ok(None);
    }
    match read(lake, &path(DONE, id)).await? {
        Some(done) => Ok(Some(done)),
        None => read(lake, &path(WAITING, id)).await,
    }
}

/// The erasures that wait, oldest first.
///
/// # Errors
/// As [`find`].
pub async fn waiting(lake: &Lake) -> Result<Vec<Erasure>, PipelineError> {
    all(lake, WAITING).await
}

/// The proofs, oldest first.
///
/// # Errors
/// As [`find`].
pub async fn done(lake: &Lake) -> Result<Vec<Erasure>, PipelineError> {
    all(lake, DONE).await
}

async fn all(lake: &Lake, folder: &str) -> Result<Vec<Erasure>, PipelineError> {
    let names = lake.list(folder).await?;
    let read = |name: String| {
        let (lake, path) = (lake.clone(), format!("{folder}/{name}"));
        async move { read(&lake, &path).await }
    };
    let all: Vec<_> = iter(names).map(read).buffered(READS_AT_ONCE).try_collect().await?;
    Ok(all.into_iter().flatten().collect())
}

async fn read(lake: &Lake, path: &str) -> Result<Option<Erasure>, PipelineError> {
    let Some(bytes) = lake.read(path).await? else { return Ok(None) };
    let erasure = serde_json::from_slice(&bytes).map_err(|error| LakeError::Unreadable {
        path: path.to_owned(),
        // Its text may quote the id.
        reason: format!("line {}, column {} is no erasure's", error.line(), error.column()),
    })?;
    Ok(Some(erasure))
}

fn path(folder: &str, id: &str) -> String {
    format!("{folder}/{id}.json")
}

fn json(erasure: &Erasure) -> Bytes {
    serde_json::to_vec_pretty(erasure).unwrap_or_default().into()
}
