//! How a version that is kept becomes the newest one: commit by commit, straight from the log's files.
//! What changes the table itself, and not only its files, is left to opening it again.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use deltalake_core::kernel::Action;
use deltalake_core::logstore::get_actions;
use futures::StreamExt;
use futures::stream::iter;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};

use super::TableVersion;
use crate::LakeError;

/// Beyond so many commits the last checkpoint is nearer.
const COMMITS_MAX: u64 = 512;
/// Commits that are asked for at once, when there is one.
const REQUESTS_AT_ONCE: usize = 16;

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
        let Some(next) = self.commit(self.version + 1).await? else {
            // A log is cleaned up from its oldest version on: as long as this one is there, the next was
            // not cleaned up before it was looked for.
            return Ok(
                match self.identity.is_some() && self.seen_identity().await? == self.identity {
                    true => Followed::Newest,
                    false => Followed::Lost,
                },
            );
        };
        if self.seen_identity().await? != self.identity || self.identity.is_none() {
            return Ok(Followed::Lost);
        }
        let mut followed = self.clone();
        if !followed.apply(&next.0)? {
            return Ok(Followed::Lost);
        }
        followed.identity = Some(next.1);
        let wanted = followed.version + 1..=self.version + COMMITS_MAX;
        let last_wanted = *wanted.end();
        let requests = wanted.map(|version| self.commit(version));
        let mut commits = iter(requests).buffered(REQUESTS_AT_ONCE);
        while let Some(commit) = commits.next().await {
            let Some((actions, identity)) = commit? else { break };
            if !followed.apply(&actions)? || followed.version == last_wanted {
                return Ok(Followed::Lost);
            }
            followed.identity = Some(identity);
        }
        drop(commits);
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
        let mut files = None;
        for action in &actions {
            match action {
                Action::Add(add) => {
                    let file = Arc::new(self.data_file(add)?);
                    let files = files.get_or_insert_with(|| self.files.as_ref().clone());
                    files.insert(Arc::from(file.path()), file);
                }
                Action::Remove(remove) => {
                    let files = files.get_or_insert_with(|| self.files.as_ref().clone());
                    files.remove(remove.path.as_str());
                }
                Action::Protocol(_) | Action::Metadata(_) => return Ok(false),
                _ => {}
            }
        }
        if let Some(files) = files {
            self.files = Arc::new(files);
        }
        self.version += 1;
        Ok(true)
    }
}
