//! A kept version follows its table, and is the same as one that was opened.

use std::path::PathBuf;

use super::*;
use crate::testing::{NOON, TABLE, files, made_lake, rows};
use crate::{Commit, FileWriter, Rewrite, TableWriter, WrittenFile, checkpoint, forget_versions};
use object_store::ObjectStoreExt;
use uuid::Uuid;

async fn newest(lake: &Lake) -> TableVersion {
    lake.version(TABLE).await.unwrap().unwrap()
}

async fn append(writer: &mut TableWriter, files: Vec<WrittenFile>) {
    let commit = Commit { files, ..Commit::default() };
    writer.commit(&commit).await.unwrap();
}

/// All that is known of a version's files.
fn listed(version: &TableVersion) -> (u64, Vec<String>) {
    (version.version(), version.files().map(|file| format!("{file:?}")).collect())
}

async fn check_followed(version: &mut TableVersion, lake: &Lake) {
    assert_eq!(version.follow().await.unwrap(), Followed::Newest);
    assert_eq!(listed(version), listed(&newest(lake).await));
}

fn commit_file(lake: &Lake, version: u64) -> PathBuf {
    let folder = lake.url().to_file_path().unwrap().join(TABLE.name()).join("_delta_log");
    folder.join(format!("{version:020}.json"))
}

#[tokio::test]
async fn what_is_followed_is_what_is_opened() {
    let (_folder, lake) = made_lake().await;
    let mut version = newest(&lake).await;
    check_followed(&mut version, &lake).await;
    let mut writer = TableWriter::open(&lake, TABLE).await.unwrap();
    // More than are asked for at once, and over a checkpoint.
    for round in 0..40 {
        append(&mut writer, files(&lake, &format!("row {round}")).await).await;
        if round % 13 == 0 {
            check_followed(&mut version, &lake).await;
        }
    }
    check_followed(&mut version, &lake).await;
    assert_eq!(version.file_count(), 40);
    let earlier = version.clone();
    let replaced = writer.files().unwrap().into_iter().take(30).collect();
    let rewrite = Rewrite { replaced, files: files(&lake, "joined").await, ..Rewrite::default() };
    assert!(writer.rewrite(rewrite).await.unwrap());
    check_followed(&mut version, &lake).await;
    assert_eq!((version.file_count(), earlier.file_count()), (11, 40));
}

#[tokio::test]
async fn an_entry_tells_the_day_the_rows_and_the_bounds() {
    let (_folder, lake) = made_lake().await;
    let mut version = newest(&lake).await;
    let mut files = FileWriter::new(&lake, TABLE, Uuid::new_v4());
    files.write(&rows(&[("b", NOON), ("a", NOON)])).await.unwrap();
    let mut writer = TableWriter::open(&lake, TABLE).await.unwrap();
    append(&mut writer, files.finish().await.unwrap()).await;
    check_followed(&mut version, &lake).await;
    let file = version.files().next().unwrap();
    assert_eq!((file.day, file.rows), (Some(NOON.day()), Some(2)));
    let facts = |column: &str| file.column(version.schema().index_of(column).unwrap());
    assert_eq!(facts("event_id").least, Bound::Text("a".into()));
    assert_eq!(facts("event_id").greatest, Bound::Text("b".into()));
    assert_eq!(facts("received_time").least, Bound::Whole(NOON.0));
    assert!(facts("received_time").are_exact);
    assert_eq!(facts("log").nulls, Some(2));
    let stored = lake.store().head(&version.location(file)).await.unwrap();
    assert_eq!(stored.size, file.bytes);
}

#[tokio::test]
async fn what_cannot_be_followed_is_said_to_be_lost() {
    let (_folder, lake) = made_lake().await;
    let mut writer = TableWriter::open(&lake, TABLE).await.unwrap();
    append(&mut writer, files(&lake, "a").await).await;
    // Its commit, and those behind it, are cleaned up.
    let mut version = newest(&lake).await;
    append(&mut writer, files(&lake, "b").await).await;
    append(&mut writer, files(&lake, "c").await).await;
    let kept = checkpoint(&lake, TABLE).await.unwrap();
    forget_versions(&lake, TABLE, kept).await.unwrap();
    assert_eq!(version.follow().await.unwrap(), Followed::Lost);
    let mut version = newest(&lake).await;
    check_followed(&mut version, &lake).await;
    // The table is made anew, with as many commits.
    std::fs::remove_dir_all(lake.table_url(TABLE).to_file_path().unwrap()).unwrap();
    lake.make(&crate::testing::settings()).await.unwrap();
    let mut writer = TableWriter::open(&lake, TABLE).await.unwrap();
    for id in ["d", "e", "f"] {
        append(&mut writer, files(&lake, id).await).await;
    }
    assert_eq!(newest(&lake).await.version(), version.version());
    assert_eq!(version.follow().await.unwrap(), Followed::Lost);
    // A commit changes the table, and not only its files.
    let mut version = newest(&lake).await;
    let metadata = std::fs::read_to_string(commit_file(&lake, 0)).unwrap();
    let metadata = metadata.lines().find(|line| line.contains("metaData")).unwrap().to_owned();
    std::fs::write(commit_file(&lake, 4), metadata).unwrap();
    assert_eq!(version.follow().await.unwrap(), Followed::Lost);
}

#[tokio::test]
async fn a_deletion_vector_is_refused_by_name() {
    let (_folder, lake) = made_lake().await;
    let mut writer = TableWriter::open(&lake, TABLE).await.unwrap();
    append(&mut writer, files(&lake, "a").await).await;
    let mut version = newest(&lake).await;
    let add = std::fs::read_to_string(commit_file(&lake, 1)).unwrap();
    let add = add.lines().find(|line| line.starts_with("{\"add\"")).unwrap();
    let vector = r#""deletionVector":{"storageType":"u","pathOrInlineDv":"vBn[lx{q8@P<9BNH/isA","offset":1,"sizeInBytes":36,"cardinality":1},"dataChange""#;
    let add = add.replace(r#""deletionVector":null,"#, "").replacen(r#""dataChange""#, vector, 1);
    std::fs::write(commit_file(&lake, 2), add).unwrap();
    let error = version.follow().await.unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, LakeError::Unfit { .. }), "{message}");
    assert!(message.contains("`duplicates` has `deletionVectors`"), "{message}");
}
