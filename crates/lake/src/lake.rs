//! A lake at a location: its fixed settings, its tables, and the blobs beside them.

use std::path::{Component, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use deltalake_core::{DeltaTable, DeltaTableBuilder};
use footfall_event::Micros;
use footfall_event::schema::Table;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::LakeError;
use crate::delta_log::{DeltaLogs, StoredLogs};
use crate::durable::DurableFolder;

/// Beside the tables, in no table.
const SETTINGS: &str = "_footfall/lake.json";

/// Where all the tables are.
#[derive(Clone, Debug)]
pub struct Lake {
    url: Url,
    store: Arc<dyn ObjectStore>,
    root: Path,
    logs: Arc<dyn DeltaLogs>,
}

/// What is fixed when a lake is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LakeSettings {
    /// Topic of the event log that is written here, and its number of partitions.
    pub topic: String,
    pub partitions: u32,
    pub session_gap: Micros,
    pub session_cap: Micros,
}

impl Lake {
    /// The lake at a path or URL. `options` are those of its object store, such as credentials, by the
    /// names of their usual environment variables in either case; others are passed over. Nothing of the
    /// lake is read or written yet.
    ///
    /// # Errors
    /// `Location` when there can be no lake.
    pub fn at(location: &str, options: Vec<(String, String)>) -> Result<Lake, LakeError> {
        let bad = |reason: String| LakeError::Location { location: location.to_owned(), reason };
        let url = match Url::parse(location) {
            Ok(url) if url.scheme().len() > 1 => url,
            _ => {
                let path = absolute(location).map_err(bad)?;
                Url::from_directory_path(path).map_err(|()| bad("no absolute path".to_owned()))?
            }
        };
        let store: Arc<dyn ObjectStore> = if url.scheme() == "file" {
            Arc::new(DurableFolder::new())
        } else {
            let options = options.into_iter().map(|(key, value)| (key.to_lowercase(), value));
            let (store, _) =
                object_store::parse_url_opts(&url, options).map_err(|e| bad(e.to_string()))?;
            Arc::from(store)
        };
        let root = if url.scheme() == "file" {
            let path = url.to_file_path().map_err(|()| bad("no absolute path".to_owned()))?;
            Path::from_absolute_path(&path).map_err(|e| bad(e.to_string()))?
        } else {
            Path::from_url_path(url.path()).map_err(|e| bad(e.to_string()))?
        };
        Ok(Lake { url, store, root, logs: Arc::new(StoredLogs) })
    }

    /// A lake in the root of `store`, whose tables' logs are kept by `logs`.
    ///
    /// # Errors
    /// Never: the location is a fixed one.
    pub fn in_store(
        store: Arc<dyn ObjectStore>,
        logs: Arc<dyn DeltaLogs>,
    ) -> Result<Lake, LakeError> {
        let location = "memory:///";
        let url = Url::parse(location).map_err(|error| LakeError::Location {
            location: location.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Lake { url, store, root: Path::default(), logs })
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The store that all tables lie in.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The settings the lake was made with; `None` where there is no lake.
    ///
    /// # Errors
    /// `Store`, and `Unreadable` when they are no settings of this program.
    pub async fn settings(&self) -> Result<Option<LakeSettings>, LakeError> {
        let Some(json) = self.read(SETTINGS).await? else { return Ok(None) };
        serde_json::from_slice(&json).map(Some).map_err(|error| LakeError::Unreadable {
            path: SETTINGS.to_owned(),
            reason: error.to_string(),
        })
    }

    /// Makes the lake with `wanted`, or holds `wanted` against what it was made with; then makes the
    /// tables that are missing.
    ///
    /// # Errors
    /// `Fixed` for the first setting that differs; `Store`, `Delta`.
    pub async fn make(&self, wanted: &LakeSettings) -> Result<(), LakeError> {
        let json = serde_json::to_vec_pretty(wanted).unwrap_or_default();
        if !self.create(SETTINGS, json.into()).await? {
            let made = self.settings().await?;
            made.map_or(Ok(()), |made| made.require(wanted))?;
        }
        for table in Table::ALL {
            self.logs.make(self, table).await?;
        }
        Ok(())
    }

    /// The table at its newest version; `None` until it was made.
    ///
    /// # Errors
    /// `Delta`.
    pub async fn table(&self, table: Table) -> Result<Option<DeltaTable>, LakeError> {
        let failed = |source| LakeError::Delta { table, source };
        let mut delta = self.unloaded(table)?;
        if !delta.verify_deltatable_existence().await.map_err(failed)? {
            return Ok(None);
        }
        delta.load().await.map_err(failed)?;
        Ok(Some(delta))
    }

    /// The table's location, without looking whether there is one.
    pub fn table_url(&self, table: Table) -> Url {
        let mut url = self.url.clone();
        let path = format!("{}/{}", url.path().trim_end_matches('/'), table.name());
        url.set_path(&path);
        url
    }

    pub(crate) fn logs(&self) -> &dyn DeltaLogs {
        self.logs.as_ref()
    }

    pub(crate) fn unloaded(&self, table: Table) -> Result<DeltaTable, LakeError> {
        let url = self.table_url(table);
        DeltaTableBuilder::from_url(url.clone())
            .and_then(|builder| builder.with_storage_backend(self.store.clone(), url).build())
            .map_err(|source| LakeError::Delta { table, source })
    }

    /// A blob beside the tables; `None` where there is none.
    ///
    /// # Errors
    /// `Store`.
    pub async fn read(&self, name: &str) -> Result<Option<Bytes>, LakeError> {
        match self.store.get(&self.path(name)).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a blob, over one of that name.
    ///
    /// # Errors
    /// `Store`.
    pub async fn write(&self, name: &str, bytes: Bytes) -> Result<(), LakeError> {
        self.store.put(&self.path(name), bytes.into()).await?;
        Ok(())
    }

    /// Writes a blob unless there is one of that name; whether it did.
    ///
    /// # Errors
    /// `Store`.
    pub async fn create(&self, name: &str, bytes: Bytes) -> Result<bool, LakeError> {
        let options = PutMode::Create.into();
        match self.store.put_opts(&self.path(name), bytes.into(), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Names of the blobs in a folder, ascending.
    ///
    /// # Errors
    /// `Store`.
    pub async fn list(&self, folder: &str) -> Result<Vec<String>, LakeError> {
        let path = self.path(folder);
        let listed = self.store.list_with_delimiter(Some(&path)).await?;
        let names = listed.objects.iter().filter_map(|object| object.location.filename());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// Deletes a blob; one that is gone already is no error.
    ///
    /// # Errors
    /// `Store`.
    pub async fn delete(&self, name: &str) -> Result<(), LakeError> {
        match self.store.delete(&self.path(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Of a file, by its path within the table's folder.
    pub(crate) fn path_in(&self, table: Table, path: &str) -> Path {
        self.path(&format!("{}/{path}", table.name()))
    }

    pub(crate) fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.root.clone(), |path, part| path.join(part))
    }
}

impl LakeSettings {
    fn require(&self, wanted: &LakeSettings) -> Result<(), LakeError> {
        let seconds = |time: Micros| format!("{} s", time.seconds());
        let settings = [
            ("topic", self.topic.clone(), wanted.topic.clone()),
            ("partitions", self.partitions.to_string(), wanted.partitions.to_string()),
            ("session_gap", seconds(self.session_gap), seconds(wanted.session_gap)),
            ("session_cap", seconds(self.session_cap), seconds(wanted.session_cap)),
        ];
        for (setting, made_with, wanted) in settings {
            if made_with != wanted {
                return Err(LakeError::Fixed { setting, made_with, wanted });
            }
        }
        Ok(())
    }
}

/// A path from the root and without `..`, which no object store's path may have. The folder that the last
/// `..` leads to must exist; what lies in it need not.
fn absolute(location: &str) -> Result<PathBuf, String> {
    let path = std::path::absolute(location).map_err(|e| e.to_string())?;
    let parts: Vec<Component<'_>> = path.components().collect();
    let Some(last) = parts.iter().rposition(|part| *part == Component::ParentDir) else {
        return Ok(path);
    };
    let (there, beyond) = parts.split_at(last + 1);
    let there: PathBuf = there.iter().collect();
    let found =
        there.canonicalize().map_err(|e| format!("there is no {}: {e}", there.display()))?;
    Ok(found.join(beyond.iter().collect::<PathBuf>()))
}

#[cfg(test)]
mod tests;
