//! A local folder as an object store that holds what it says it holds: `object_store`'s own does not
//! fsync. A file is synced before it gets its name, and its folder before the call returns.

use std::collections::HashSet;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path as OsPath, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result, UploadPart,
};
use uuid::Uuid;

const STORE: &str = "DurableFolder";

/// The local file system, with writes that are on disk when they are answered.
#[derive(Clone, Debug)]
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
    /// What lies in `root`, or will; paths are absolute.
    pub fn new(root: PathBuf) -> DurableFolder {
        let folders = Arc::new(Folders { root, named: Mutex::default() });
        DurableFolder { files: LocalFileSystem::new(), folders }
    }
}

/// A name that no other write has, before a crash or after it. `object_store` leaves files of the form
/// `name#digits` out of its listings.
fn staging_path(target: &OsPath) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(format!("#{}", Uuid::new_v4().as_u128()));
    PathBuf::from(name)
}

/// Deletes what writes below `folder` that were broken off before `before` left behind; how many files.
pub fn delete_staged(folder: &OsPath, before: SystemTime) -> Result<usize> {
    let failed = |source| named(folder, source);
    let mut deleted = 0;
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if entry.file_type().map_err(failed)?.is_dir() {
            deleted += delete_staged(&path, before)?;
            continue;
        }
        let is_old =
            || entry.metadata().and_then(|facts| facts.modified()).is_ok_and(|at| at <= before);
        if is_staged(&path) && is_old() {
            // It may have got its name in between.
            deleted += usize::from(std::fs::remove_file(&path).is_ok());
        }
    }
    Ok(deleted)
}

/// Deletes what writes of `target` that were broken off left behind, however young; how many files.
pub fn delete_staged_of(target: &OsPath) -> Result<usize> {
    let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else { return Ok(0) };
    let prefix = format!("{}#", name.to_string_lossy());
    let mut deleted = 0;
    for entry in std::fs::read_dir(folder).map_err(|source| named(folder, source))? {
        let path = entry.map_err(|source| named(folder, source))?.path();
        let is_of = path.file_name().is_some_and(|of| of.to_string_lossy().starts_with(&prefix));
        if is_of && is_staged(&path) {
            std::fs::remove_file(&path).map_err(|source| named(&path, source))?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

/// Whether [`staging_path`] gave it its name.
fn is_staged(path: &OsPath) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let number = name.rsplit_once('#').map(|(_, number)| number);
    number.is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
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
            PutMode::Update(_) => {
                let operation = "`put_opts` with `PutMode::Update`".to_owned();
                return Err(Error::NotImplemented { operation, implementer: STORE.to_owned() });
            }
        };
        let target = self.files.path_to_filesystem(location)?;
        let (staging, folders) = (staging_path(&target), Arc::clone(&self.folders));
        let written = tokio::task::spawn_blocking(move || {
            let written = write(&folders, &staging, &target, &payload, is_create);
            if written.is_err() || is_create {
                // One that stays, as after a crash, is in no listing and in nobody's way.
                let _ = std::fs::remove_file(&staging);
            }
            written.map_err(|source| named(&target, source))
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

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let mode = match options.mode {
            CopyMode::Overwrite => PutMode::Overwrite,
            CopyMode::Create => PutMode::Create,
        };
        let whole = self.files.get(from).await?.bytes().await?;
        self.put_opts(to, whole.into(), mode.into()).await.map(drop)
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
    let named_in = File::open(folder)?;
    if is_create {
        std::fs::hard_link(staging, target)?;
    } else {
        std::fs::rename(staging, target)?;
    }
    sync_name(&named_in, target);
    Ok(())
}

/// Syncs the folder in which `path` got its name. Where that fails the process ends: nobody can say whether the disk holds a
/// name that everybody sees, and a later sync may succeed and have dropped it. A restart sees what the disk holds.
fn sync_name(folder: &File, path: &OsPath) {
    if let Err(error) = folder.sync_all() {
        let path = path.display();
        tracing::error!(%error, %path, "a new name cannot be synced: the process ends");
        eprintln!("{path}: {error}: a new name cannot be synced: the process ends");
        std::process::abort()
    }
}

/// The folders of a lake. One that is there was perhaps made by a process that died before it synced the folder above: each
/// process syncs that once.
#[derive(Debug)]
struct Folders {
    /// Those above it are no business of a lake's, once they are there.
    root: PathBuf,
    /// Known to be named durably in the folders above them.
    named: Mutex<HashSet<PathBuf>>,
}

impl Folders {
    /// Makes the folder and those above it as far as they are missing, each named durably in the one above.
    fn require(&self, folder: &OsPath) -> std::io::Result<()> {
        let is_there = folder.is_dir();
        let is_outside = !folder.starts_with(&self.root);
        if is_there && (is_outside || self.named().contains(folder)) {
            return Ok(());
        }
        let Some(above) = folder.parent() else { return Ok(()) };
        self.require(above)?;
        let named_in = File::open(above)?;
        match std::fs::create_dir(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => sync_name(&named_in, folder),
        }
        self.named().insert(folder.to_owned());
        Ok(())
    }

    fn named(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn named(path: &OsPath, source: std::io::Error) -> Error {
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
        let parts = std::mem::take(&mut self.parts);
        let whole: PutPayload = parts.into_iter().flatten().collect();
        self.folder.put(&self.location, whole).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
