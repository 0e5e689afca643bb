//! Names that are staged, created once and overwritten, and a disk that does not sync.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use futures::TryStreamExt;
use object_store::{ObjectStoreExt, UpdateVersion};

use super::*;

const CHILD_FOLDER: &str = "FOOTFALL_TEST_UNSYNCED_FOLDER";
const REFUSED: &str = "the disk refused the file";
const SIGABRT: i32 = 6;

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

/// Not a test by itself: the other one starts it as a child process.
#[tokio::test]
async fn child_that_puts_a_file_twice_at_most() {
    let Ok(folder) = std::env::var(CHILD_FOLDER) else { return };
    let store = DurableFolder::new();
    let at = Path::from_absolute_path(&folder).unwrap().join("deep").join("down").join("file");
    if let Err(error) = store.put(&at, "x".into()).await {
        println!("{REFUSED}: {error}");
        store.get(&at).await.unwrap_err();
        store.put(&at, "x".into()).await.unwrap();
    }
}

/// What the child came to whose sync number `failing` finds the disk broken, and whether the file is there.
fn put_with_a_failing_sync(failing: usize, is_folder_there: bool) -> (Output, bool) {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("deep/down");
    if is_folder_there {
        std::fs::create_dir_all(&below).unwrap();
    }
    let child = "durable::tests::child_that_puts_a_file_twice_at_most";
    let ended = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync"])
        .args(["-e", &format!("inject=fsync:error=EIO:when={failing}")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", child, "--nocapture"])
        .env(CHILD_FOLDER, folder.path())
        .output()
        .expect("strace is installed");
    (ended, below.join("file").exists())
}

/// Of a file nothing is there by its name; whether a folder's name is on the disk nobody can say any more.
#[test]
fn a_sync_that_fails_is_told_of_a_file_and_ends_the_process_of_a_folder() {
    let above = std::env::temp_dir().ancestors().count() + 2;
    for is_folder_there in [false, true] {
        // Each folder above the file, the file, and the folder that it is in.
        for failing in 1..=above + 2 {
            let (ended, _) = put_with_a_failing_sync(failing, is_folder_there);
            let said = String::from_utf8_lossy(&ended.stdout);
            if failing == above + 1 {
                assert!(ended.status.success() && said.contains(REFUSED), "{failing}: {said}");
            } else {
                assert_eq!(ended.status.signal(), Some(SIGABRT), "{failing}: {said}");
                assert!(!said.contains(REFUSED), "{failing}: {said}");
            }
        }
        let (ended, is_there) = put_with_a_failing_sync(above + 3, is_folder_there);
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && is_there && !said.contains(REFUSED), "{said}");
    }
}
