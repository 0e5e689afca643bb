//! Names that are staged, created once and overwritten.

use futures::TryStreamExt;
use object_store::{ObjectStoreExt, UpdateVersion};

use super::*;

fn place(folder: &tempfile::TempDir, name: &str) -> Path {
    Path::from_absolute_path(folder.path()).unwrap().join(name)
}

async fn create(store: &DurableFolder, at: &Path, text: &'static str) -> Result<PutResult> {
    store.put_opts(at, text.into(), PutMode::Create.into()).await
}

async fn listed(store: &DurableFolder, folder: &tempfile::TempDir) -> Vec<String> {
    let root = Path::from_absolute_path(folder.path()).unwrap();
    let found: Vec<_> = store.list(Some(&root)).try_collect().await.unwrap();
    found.iter().map(|object| object.location.filename().unwrap().to_owned()).collect()
}

/// A process in a container has the same number each time, and so have its counters.
#[tokio::test]
async fn what_a_crash_left_behind_is_in_no_listing_and_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("settings");
    let left_over: Vec<_> = (0..3).map(|_| staging_path(&target)).collect();
    for path in &left_over {
        File::create_new(path).unwrap();
    }
    let store = DurableFolder::new();
    assert!(listed(&store, &folder).await.is_empty());
    create(&store, &place(&folder, "settings"), "x").await.unwrap();
    assert_eq!(listed(&store, &folder).await, ["settings"]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), left_over.len() + 1);
}

#[tokio::test]
async fn of_many_that_create_a_name_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let (store, at) = (DurableFolder::new(), place(&folder, "deep").join("down"));
    let creates = (0..16).map(|_| create(&store, &at, "x"));
    let answers = futures::future::join_all(creates).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    let lost = |answer: &Result<PutResult>| matches!(answer, Err(Error::AlreadyExists { .. }));
    assert_eq!(answers.iter().filter(|answer| lost(answer)).count(), 15);
    // Nothing is left of those that lost.
    assert_eq!(std::fs::read_dir(folder.path().join("deep")).unwrap().count(), 1);
}

#[tokio::test]
async fn a_put_goes_over_what_is_there_and_an_update_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (store, at) = (DurableFolder::new(), place(&folder, "blob"));
    for text in ["one", "two"] {
        store.put(&at, text.into()).await.unwrap();
        assert_eq!(store.get(&at).await.unwrap().bytes().await.unwrap(), text);
    }
    let update = PutMode::Update(UpdateVersion { e_tag: None, version: None });
    let refused = store.put_opts(&at, "three".into(), update.into()).await;
    assert!(matches!(refused, Err(Error::NotImplemented { .. })), "{refused:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn what_comes_in_parts_is_one_file_once_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (store, at) = (DurableFolder::new(), place(&folder, "parts"));
    let mut upload = store.put_multipart(&at).await.unwrap();
    upload.put_part("one ".into()).await.unwrap();
    upload.put_part("two".into()).await.unwrap();
    assert!(listed(&store, &folder).await.is_empty());
    upload.complete().await.unwrap();
    assert_eq!(store.get(&at).await.unwrap().bytes().await.unwrap(), "one two");
    let refused = store.copy(&at, &place(&folder, "copy")).await;
    assert!(matches!(refused, Err(Error::NotImplemented { .. })), "{refused:?}");
}

/// As folders above may be that are of no disk.
#[test]
fn a_folder_that_cannot_be_synced_is_passed_over_where_others_made_it() {
    let of_no_disk = OsPath::new("/proc");
    File::open(of_no_disk).unwrap().sync_all().unwrap_err();
    sync_as_far_as_it_goes(of_no_disk);
}
