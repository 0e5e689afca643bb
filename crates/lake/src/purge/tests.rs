//! What is left of a table when its old versions are forgotten.

use std::path::Path as OsPath;

use uuid::Uuid;

use super::*;
use crate::testing::{NOON, TABLE, made_lake, modelled_lake, rows};
use crate::{Commit, FileWriter, Rewrite, TableWriter, WrittenFile};

async fn written(lake: &Lake, id: &str) -> Vec<WrittenFile> {
    let mut files = FileWriter::new(lake, TABLE, Uuid::new_v4());
    files.write(&rows(&[(id, NOON)])).await.unwrap();
    files.finish().await.unwrap()
}

/// Names in the table's log.
fn log(folder: &OsPath) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join(TABLE.name()).join(LOG)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.contains(".json")).collect();
    names.sort();
    names
}

#[tokio::test]
async fn old_versions_go_and_a_writer_that_held_one_goes_on() {
    let (folder, lake) = made_lake().await;
    let (mut writer, mut behind, mut stale) = (
        TableWriter::open(&lake, TABLE).await.unwrap(),
        TableWriter::open(&lake, TABLE).await.unwrap(),
        TableWriter::open(&lake, TABLE).await.unwrap(),
    );
    let files = written(&lake, "old").await;
    writer.commit(&Commit { files, ..Commit::default() }).await.unwrap();
    let (replaced, files) = (writer.files().unwrap(), written(&lake, "new").await);
    assert!(
        writer
            .rewrite(Rewrite { replaced, files, changes_rows: true, ..Rewrite::default() })
            .await
            .unwrap()
    );
    let orphan = written(&lake, "orphan").await;

    let version = checkpoint(&lake, TABLE).await.unwrap();
    assert_eq!(version, 2);
    assert_eq!(forget_versions(&lake, TABLE, version).await.unwrap(), 2);
    assert_eq!(log(folder.path()), ["00000000000000000002.json"]);
    let unreferenced = unreferenced_files(&lake, TABLE).await.unwrap();
    assert_eq!(unreferenced.len(), 2);
    assert!(unreferenced.iter().any(|file| file.path() == orphan[0].add.path));
    for file in &unreferenced {
        delete_file(&lake, TABLE, file).await.unwrap();
        delete_file(&lake, TABLE, file).await.unwrap();
    }
    assert_eq!(unreferenced_files(&lake, TABLE).await.unwrap().len(), 0);
    assert_eq!(TableWriter::open(&lake, TABLE).await.unwrap().files().unwrap().len(), 1);
    // What a rewrite read may hold what was erased.
    let changes_rows = true;
    assert!(!stale.rewrite(Rewrite { changes_rows, ..Rewrite::default() }).await.unwrap());
    // A load commits once, and is not begun again.
    let files = written(&lake, "more").await;
    behind.commit(&Commit { files, ..Commit::default() }).await.unwrap();
    assert_eq!(TableWriter::open(&lake, TABLE).await.unwrap().files().unwrap().len(), 2);
}

/// What has no folder must never be taken for the machine's own.
#[tokio::test]
async fn a_lake_in_a_store_has_no_folder() {
    assert_eq!(folder_of(&modelled_lake()), None);
    let (folder, lake) = made_lake().await;
    assert_eq!(folder_of(&lake), Some(folder.path().canonicalize().unwrap()));
}

#[tokio::test]
async fn a_broken_write_is_deleted_once_it_is_old() {
    let (folder, lake) = made_lake().await;
    let broken = folder.path().join("events/event_date=2026-01-01/part.parquet#123");
    std::fs::create_dir_all(broken.parent().unwrap()).unwrap();
    std::fs::write(&broken, "half").unwrap();
    let hour = Duration::from_secs(3_600);
    assert_eq!(delete_broken_writes(&lake, hour).await.unwrap(), 0);
    assert!(broken.exists());
    assert_eq!(delete_broken_writes(&lake, Duration::ZERO).await.unwrap(), 1);
    assert!(!broken.exists());
    let name = "_footfall/erasures/waiting/1.json";
    lake.write(name, "whole".into()).await.unwrap();
    let staged = folder.path().join(format!("{name}#123"));
    let of_another = folder.path().join("_footfall/erasures/waiting/11.json#123");
    for path in [&staged, &of_another] {
        std::fs::write(path, "half").unwrap();
    }
    assert_eq!(delete_broken_writes_of(&lake, name).await.unwrap(), 1);
    assert!(!staged.exists() && of_another.exists());
    assert_eq!(lake.read(name).await.unwrap().unwrap(), "whole");
}
