//! How a version that is kept becomes the newest one: commit by commit, straight from the log's files.
//! What changes the table itself, and not only its files, is left to opening it again.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use deltalake_core::kernel::Action;
use deltalake_core::logstore::get_actions;
use futures::future::join_all;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};

use super::TableVersion;
use crate::LakeError;

/// Beyond so many commits the last checkpoint is nearer.
const COMMITS_MAX: u64 = 512;
/// Commits that are asked for at once: each time twice as many as the time before, up to so many.
const REQUESTS_AT_ONCE_MAX: u64 = 16;

/// What a commit's file looks like from outside. A table that was made anew has others of the same names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    bytes: u64,
    modified: DateTime<Utc>,
    tag: Option<String>,
}

impl Identity {
    fn of(found: ObjectMeta) -> Identity {
        Identity { bytes: found.size, modified: found.last_modified, tag: found.e_tag }
    }
}

/// Whether a version could follow its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// It is the newest one.
    Newest,
    /// The table has to be opened again: its columns changed, or what led from the version to the newest
    /// is gone or too much.
    Lost,
}

impl TableVersion {
    /// Takes up every commit that ended before this call.
    ///
    /// # Errors
    /// `Store`, `Delta`; `Unfit` for files that this program does not read.
    pub async fn follow(&mut self) -> Result<Followed, LakeError> {
        let mut followed = self.clone();
        let mut at_once = 1;
        while followed.version < self.version + COMMITS_MAX {
            let next = followed.version + 1;
            let commits =
                join_all((next..next + at_once).map(|version| self.commit(version))).await;
            for commit in commits {
                let Some((actions, identity)) = commit? else {
                    return self.become_newest(followed).await;
                };
                if !followed.apply(&actions)? {
                    return Ok(Followed::Lost);
                }
                followed.identity = Some(identity);
            }
            at_once = REQUESTS_AT_ONCE_MAX.min(2 * at_once);
        }
        Ok(Followed::Lost)
    }

    /// A log is cleaned up from its oldest version on: as long as the one held is there, none behind it was
    /// cleaned up before it was looked for.
    async fn become_newest(&mut self, followed: TableVersion) -> Result<Followed, LakeError> {
        if self.identity.is_none() || self.seen_identity().await? != self.identity {
            return Ok(Followed::Lost);
        }
        *self = followed;
        Ok(Followed::Newest)
    }

    /// How the newest commit's file looks at this moment; `None` where it is gone.
    pub(super) async fn seen_identity(&self) -> Result<Option<Identity>, LakeError> {
        match self.store.head(&self.commit_path(self.version)).await {
            Ok(found) => Ok(Some(Identity::of(found))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The text of a commit; `None` where it is not there.
    async fn commit(&self, version: u64) -> Result<Option<(Bytes, Identity)>, LakeError> {
        match self.store.get(&self.commit_path(version)).await {
            Ok(found) => {
                let identity = Identity::of(found.meta.clone());
                Ok(Some((found.bytes().await?, identity)))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn commit_path(&self, version: u64) -> Path {
        self.folder.clone().join("_delta_log").join(format!("{version:020}.json"))
    }

    /// Takes up the next commit; false where it is not about files alone, and `self` is of no use then.
    fn apply(&mut self, commit: &Bytes) -> Result<bool, LakeError> {
        let failed = |source| LakeError::Delta { table: self.table, source };
        let actions = get_actions(self.version + 1, commit).map_err(failed)?;
        for action in &actions {
            match action {
                // The files are copied once, for the first change since the version that is kept.
                Action::Add(add) => {
                    let file = Arc::new(self.data_file(add)?);
                    Arc::make_mut(&mut self.files).insert(Arc::from(file.path()), file);
                }
                Action::Remove(remove) => {
                    Arc::make_mut(&mut self.files).remove(remove.path.as_str());
                }
                Action::Protocol(_) | Action::Metadata(_) => return Ok(false),
                _ => {}
            }
        }
        self.version += 1;
        Ok(true)
    }
}
