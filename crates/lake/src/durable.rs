//! A local folder as an object store that holds what it says it holds: `object_store`'s own does not
//! fsync. A file is synced before it gets its name, and its folder before the call returns.

use std::fs::File;
use std::io::Write;
use std::path::{Path as OsPath, PathBuf};
use std::time::SystemTime;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart,
};
use uuid::Uuid;

const STORE: &str = "DurableFolder";

/// The local file system, with writes that are on disk when they are answered.
#[derive(Debug)]
pub struct DurableFolder {
    files: LocalFileSystem,
}

impl std::fmt::Display for DurableFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(STORE)
    }
}

impl DurableFolder {
    /// The whole file system: paths are absolute.
    pub fn new() -> DurableFolder {
        DurableFolder { files: LocalFileSystem::new() }
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
        let staging = staging_path(&target);
        let written = tokio::task::spawn_blocking(move || {
            let written = write(&staging, &target, &payload, is_create);
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
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let target = self.files.path_to_filesystem(location)?;
        let upload = self.files.put_multipart_opts(location, options).await?;
        Ok(Box::new(DurableUpload { upload, target }))
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
        self.files.copy_opts(from, to, options).await?;
        let target = self.files.path_to_filesystem(to)?;
        sync(&target).map_err(|source| named(&target, source))
    }
}

fn write(
    staging: &OsPath,
    target: &OsPath,
    payload: &PutPayload,
    is_create: bool,
) -> std::io::Result<()> {
    if let Some(folder) = target.parent()
        && !folder.is_dir()
    {
        make_folders(folder)?;
    }
    let mut file = File::create_new(staging)?;
    for part in payload {
        file.write_all(part)?;
    }
    file.sync_all()?;
    if is_create {
        std::fs::hard_link(staging, target)?;
    } else {
        std::fs::rename(staging, target)?;
    }
    sync_folder(target)
}

/// Makes the folder and those above it, each named durably in the one above.
fn make_folders(folder: &OsPath) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        make_folders(above)?;
    }
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_folder(folder),
    }
}

fn sync(path: &OsPath) -> std::io::Result<()> {
    File::open(path)?.sync_all()?;
    sync_folder(path)
}

fn sync_folder(path: &OsPath) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn named(path: &OsPath, source: std::io::Error) -> Error {
    let path = path.display().to_string();
    if source.kind() == std::io::ErrorKind::AlreadyExists {
        return Error::AlreadyExists { path, source: source.into() };
    }
    Error::Generic { store: STORE, source: format!("{path}: {source}").into() }
}

#[derive(Debug)]
struct DurableUpload {
    upload: Box<dyn MultipartUpload>,
    target: PathBuf,
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.upload.complete().await?;
        sync(&self.target).map_err(|source| named(&self.target, source))?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

#[cfg(test)]
mod tests;
