//! A local folder as an object store that holds what it says it holds: `object_store`'s own does not
//! fsync. A file is synced before it gets its name, and its folder before the call returns.

mod staged;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path as OsPath, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result, UploadPart,
};
use staged::staging_path;
pub use staged::{delete_staged, delete_staged_of};

const STORE: &str = "DurableFolder";
/// A disk's failure.
const EIO: i32 = 5;

/// The local file system, with writes that are on disk when they are answered.
#[derive(Clone, Debug, Default)]
pub struct DurableFolder {
    files: LocalFileSystem,
    folders: Arc<Folders>,
}

impl std::fmt::Display for DurableFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(STORE)
    }
}

impl DurableFolder {
    /// The whole file system: paths are absolute.
    pub fn new() -> DurableFolder {
        DurableFolder::default()
    }
}

#[async_trait]
impl ObjectStore for DurableFolder {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let is_create = match options.mode {
            PutMode::Overwrite => false,
            PutMode::Create => true,
            PutMode::Update(_) => return Err(not_implemented("put_opts with PutMode::Update")),
        };
        let target = self.files.path_to_filesystem(location)?;
        let (staging, folders) = (staging_path(&target), Arc::clone(&self.folders));
        let written = tokio::task::spawn_blocking(move || {
            let written = write(&folders, &staging, &target, &payload, is_create);
            if written.is_err() || is_create {
                // One that stays, as after a crash, is in no listing and in nobody's way.
                let _ = std::fs::remove_file(&staging);
            }
            written.map_err(|source| failed_at(&target, source))
        });
        written.await.map_err(|source| Error::JoinError { source })??;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let (folder, location) = (self.clone(), location.clone());
        Ok(Box::new(Upload { folder, location, parts: Vec::new() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    /// Nobody copies a lake's files.
    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(not_implemented("copy_opts"))
    }
}

fn write(
    folders: &Folders,
    staging: &OsPath,
    target: &OsPath,
    payload: &PutPayload,
    is_create: bool,
) -> std::io::Result<()> {
    let folder = target.parent().unwrap_or(OsPath::new("/"));
    folders.require(folder)?;
    let mut file = File::create_new(staging)?;
    for part in payload {
        file.write_all(part)?;
    }
    file.sync_all()?;
    // Opened before: what fails from here on is told by the sync.
    let folder = File::open(folder)?;
    if is_create {
        std::fs::hard_link(staging, target)?;
    } else {
        std::fs::rename(staging, target)?;
    }
    folder.sync_all().unwrap_or_else(|error| abort(target, &error));
    Ok(())
}

/// Ends the process: a name that everybody sees may not be on the disk, and a later sync may succeed and have dropped it.
/// Nothing more shall be built on it.
fn abort(path: &OsPath, error: &std::io::Error) {
    let path = path.display();
    tracing::error!(%error, %path, "its name cannot be synced: the process ends");
    eprintln!("{path}: {error}: its name cannot be synced: the process ends");
    std::process::abort()
}

/// The folders that are known to be named durably in those above them. One that is there was perhaps made by a process that
/// died before it synced the folder above: each process does so once.
#[derive(Debug, Default)]
struct Folders(Mutex<HashSet<PathBuf>>);

impl Folders {
    /// Makes the folder and those above it as far as they are missing, each named durably in the one above.
    fn require(&self, folder: &OsPath) -> std::io::Result<()> {
        let is_there = folder.is_dir();
        if is_there && self.known().contains(folder) {
            return Ok(());
        }
        if let Some(above) = folder.parent() {
            self.require(above)?;
            if is_there {
                sync_as_far_as_it_goes(above);
            } else {
                make(folder, above)?;
            }
        }
        self.known().insert(folder.to_owned());
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make(folder: &OsPath, above: &OsPath) -> std::io::Result<()> {
    let opened = File::open(above)?;
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => opened.sync_all().unwrap_or_else(|error| abort(folder, &error)),
    }
    Ok(())
}

/// A folder that this process may not read, or that is of no disk, was made by somebody else long ago.
fn sync_as_far_as_it_goes(folder: &OsPath) {
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if error.raw_os_error() == Some(EIO) => abort(folder, &error),
        Err(error) => {
            tracing::debug!(%error, folder = %folder.display(), "a folder above is not synced");
        }
        Ok(()) => {}
    }
}

fn not_implemented(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.to_owned(), implementer: STORE.to_owned() }
}

fn failed_at(path: &OsPath, source: std::io::Error) -> Error {
    let path = path.display().to_string();
    if source.kind() == std::io::ErrorKind::AlreadyExists {
        return Error::AlreadyExists { path, source: source.into() };
    }
    Error::Generic { store: STORE, source: format!("{path}: {source}").into() }
}

/// What comes in parts, a large checkpoint of a table's log, is written as all else once it is whole.
#[derive(Debug)]
struct Upload {
    folder: DurableFolder,
    location: Path,
    parts: Vec<PutPayload>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.push(data);
        Box::pin(std::future::ready(Ok(())))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        // Kept until they are written: who fails may complete it later.
        let whole: PutPayload = self.parts.iter().flat_map(|part| part.iter().cloned()).collect();
        self.folder.put(&self.location, whole).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}
