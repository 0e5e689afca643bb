//! An object store in memory, as one process reaches it.

use std::sync::Arc;

use async_trait::async_trait;
use footfall_lake::Between;
use futures::StreamExt;
use futures::stream::{BoxStream, once};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::process::Process;

/// The store that all processes share, through what befalls one of them.
#[derive(Debug)]
pub struct SimStore {
    pub store: Arc<InMemory>,
    pub process: Arc<Process>,
}

impl std::fmt::Display for SimStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("simulated store")
    }
}

fn failed(told: String) -> Error {
    Error::Generic { store: "simulated", source: told.into() }
}

/// What lies at a path, without the names that differ from run to run.
fn kind(path: &Path) -> String {
    let folder = path.as_ref().rsplit_once('/').map_or("", |(folder, _)| folder);
    match folder.split_once("/event_date=") {
        Some((table, _)) => table.to_owned(),
        None => folder.to_owned(),
    }
}

/// The table that a version of its log is of.
fn table_committed(path: &Path) -> Option<&str> {
    let (folder, _) = path.as_ref().strip_suffix(".json")?.rsplit_once('/')?;
    folder.strip_suffix("/_delta_log")
}

#[async_trait]
impl ObjectStore for SimStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let what = match table_committed(location) {
            // A commit of the real log goes by the name of the model's.
            Some(table) => format!("commit {table}"),
            None => format!("put {}", kind(location)),
        };
        self.process.before(&what).await.map_err(failed)?;
        if let Some(later) = self.process.lands_later(&what) {
            let (store, location) = (self.store.clone(), location.clone());
            tokio::spawn(async move {
                tokio::time::sleep(later).await;
                // Whoever asked was told otherwise.
                let _ = store.put_opts(&location, payload, options).await;
            });
            return Err(failed(format!("{what}: it took too long")));
        }
        let put = self.store.put_opts(location, payload, options).await?;
        self.process.after(&what).await.map_err(failed)?;
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let what = format!("get {}", kind(location));
        self.process.before(&what).await.map_err(failed)?;
        self.store.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (store, process) = (self.store.clone(), self.process.clone());
        let delete = move |location: Result<Path>| {
            let (store, process) = (store.clone(), process.clone());
            async move {
                let location = location?;
                let what = format!("delete {}", kind(&location));
                process.before(&what).await.map_err(failed)?;
                let mut deleted = store.delete_stream(once(async { Ok(location) }).boxed());
                let deleted = deleted.next().await.unwrap_or_else(|| Err(failed(what.clone())))?;
                process.after(&what).await.map_err(failed)?;
                Ok(deleted)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, process, prefix) = (self.store.clone(), self.process.clone(), prefix.cloned());
        let listed = async move {
            match process.looks("list").await {
                Ok(()) => store.list(prefix.as_ref()),
                Err(told) => once(async { Err(failed(told)) }).boxed(),
            }
        };
        once(listed).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.process.before("list").await.map_err(failed)?;
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.process.before("copy").await.map_err(failed)?;
        self.store.copy_opts(from, to, options).await?;
        self.process.after("copy").await.map_err(failed)
    }
}
