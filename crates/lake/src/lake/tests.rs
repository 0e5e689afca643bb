//! What is fixed when a lake is made, its location, and the blobs beside the tables.

use super::*;
use crate::testing::{location, settings};

#[tokio::test]
async fn a_lake_is_made_once_and_keeps_its_settings() {
    let (_folder, lake) = location();
    assert_eq!(lake.settings().await.unwrap(), None);
    assert!(lake.table(Table::Events).await.unwrap().is_none());
    for _ in 0..2 {
        lake.make(&settings()).await.unwrap();
        assert_eq!(lake.settings().await.unwrap(), Some(settings()));
        for table in Table::ALL {
            assert_eq!(lake.table(table).await.unwrap().unwrap().version(), Some(0), "{table:?}");
        }
    }
}

#[tokio::test]
async fn other_settings_than_those_it_was_made_with_are_refused_by_name() {
    let (_folder, lake) = location();
    lake.make(&settings()).await.unwrap();
    let minute = Micros::MINUTE;
    for (wanted, setting, values) in [
        (LakeSettings { topic: "clicks".to_owned(), ..settings() }, "topic", ["events", "clicks"]),
        (LakeSettings { partitions: 8, ..settings() }, "partitions", ["4", "8"]),
        (LakeSettings { session_gap: minute, ..settings() }, "session_gap", ["1800 s", "60 s"]),
        (LakeSettings { session_cap: minute, ..settings() }, "session_cap", ["86400 s", "60 s"]),
    ] {
        let refused = lake.make(&wanted).await.unwrap_err().to_string();
        let told = format!("was made with `{setting}` = {}, not {};", values[0], values[1]);
        assert!(refused.contains(&told), "{refused}");
    }
    assert_eq!(lake.settings().await.unwrap(), Some(settings()));
}

#[tokio::test]
async fn settings_that_cannot_be_read_are_told_and_not_overwritten() {
    let (_folder, lake) = location();
    lake.write(SETTINGS, Bytes::from("{}")).await.unwrap();
    let refused = lake.make(&settings()).await.unwrap_err();
    assert!(
        matches!(&refused, LakeError::Unreadable { path, .. } if path == SETTINGS),
        "{refused}"
    );
    assert_eq!(lake.read(SETTINGS).await.unwrap().unwrap(), "{}");
}

#[test]
fn a_path_or_a_url_with_options_is_a_location() {
    let local = |location| Lake::at(location, Vec::new()).unwrap().url().to_string();
    assert_eq!(local("/srv/lake"), "file:///srv/lake/");
    assert_eq!(local("file:///srv/lake"), "file:///srv/lake");
    let options = [("AWS_REGION", "mars-north-1"), ("HOME", "/root")];
    let options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let bucket = Lake::at("s3://bucket/lake", options).unwrap();
    assert!(format!("{bucket:?}").contains("mars-north-1"), "{bucket:?}");
    let refused = Lake::at("gopher://lake", Vec::new()).unwrap_err().to_string();
    assert!(refused.starts_with("`gopher://lake` is not a lake's location: "), "{refused}");
}

#[test]
fn a_path_may_lead_through_the_folder_above() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    std::fs::create_dir(root.join("shop")).unwrap();
    let through = |path: &str| Lake::at(&root.join(path).to_string_lossy(), Vec::new());
    let lake = through("shop/../data/lake").unwrap();
    assert_eq!(lake.url().to_file_path().unwrap(), root.join("data/lake"));
    let refused = through("nowhere/../data/lake").unwrap_err().to_string();
    assert!(
        refused.contains(&format!("there is no {}: ", root.join("nowhere/..").display())),
        "{refused}"
    );
}

#[tokio::test]
async fn a_blob_is_created_once_listed_read_and_deleted() {
    let (_folder, lake) = location();
    let name = "_footfall/texts/b";
    assert_eq!(lake.read(name).await.unwrap(), None);
    assert!(lake.list("_footfall/texts").await.unwrap().is_empty());
    assert!(lake.create(name, Bytes::from("first")).await.unwrap());
    assert!(!lake.create(name, Bytes::from("second")).await.unwrap());
    assert_eq!(lake.read(name).await.unwrap().unwrap(), "first");
    lake.write(name, Bytes::from("third")).await.unwrap();
    assert_eq!(lake.read(name).await.unwrap().unwrap(), "third");
    for other in ["_footfall/texts/a", "_footfall/texts/deeper/c", "_footfall/textsd"] {
        lake.write(other, Bytes::new()).await.unwrap();
    }
    assert_eq!(lake.list("_footfall/texts").await.unwrap(), ["a", "b"]);
    lake.delete(name).await.unwrap();
    lake.delete(name).await.unwrap();
    assert_eq!(lake.read(name).await.unwrap(), None);
    assert_eq!(lake.list("_footfall/texts").await.unwrap(), ["a"]);
}
