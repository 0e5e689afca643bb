//! Rows split by day, and what a file's entry says of them.

use serde_json::{Value, json};

use super::*;
use crate::testing::{NOON, TABLE, made_lake, rows};
use crate::{Commit, TableWriter};

async fn write(lake: &Lake, batches: &[RecordBatch]) -> Vec<WrittenFile> {
    let mut writer = FileWriter::new(lake, TABLE, Uuid::new_v4());
    for batch in batches {
        writer.write(batch).await.unwrap();
    }
    writer.finish().await.unwrap()
}

fn stats(file: &WrittenFile) -> Value {
    serde_json::from_str(file.add.stats.as_deref().unwrap()).unwrap()
}

#[tokio::test]
async fn each_day_has_a_file_of_its_own() {
    let (folder, lake) = made_lake().await;
    let midnight = NOON + Micros(12 * Micros::HOUR.0);
    let (before, after) = (midnight - Micros(1), midnight + Micros::MINUTE);
    let first = rows(&[("d", midnight), ("a", before), ("c", after)]);
    let files = write(&lake, &[first, rows(&[("b", NOON)])]).await;
    let days: Vec<_> = files.iter().map(|file| file.add.partition_values.clone()).collect();
    let day = |day: &str| HashMap::from([("received_date".to_owned(), Some(day.to_owned()))]);
    assert_eq!(days, [day("2026-03-01"), day("2026-03-02")]);
    assert_eq!([files[0].rows, files[1].rows], [2, 2]);
    for file in &files {
        let on_disk = folder.path().join("duplicates").join(&file.add.path);
        assert_eq!(std::fs::metadata(on_disk).unwrap().len(), file.bytes() as u64);
    }
    assert!(crate::testing::ids(&lake).await.is_empty(), "written is not committed");
}

/// Beyond either bound a file is closed and another begun.
#[tokio::test]
async fn bounds_of_size_leave_no_row_out() {
    let (_folder, lake) = made_lake().await;
    let tomorrow = NOON + Micros::DAY;
    for (file_bytes_max, open_bytes_max) in [(1, usize::MAX), (usize::MAX, 1)] {
        let mut writer = FileWriter::new(&lake, TABLE, Uuid::new_v4());
        (writer.file_bytes_max, writer.open_bytes_max) = (file_bytes_max, open_bytes_max);
        for batch in [&[("a", NOON), ("b", tomorrow)][..], &[("c", NOON)], &[("d", tomorrow)]] {
            writer.write(&rows(batch)).await.unwrap();
        }
        let files = writer.finish().await.unwrap();
        assert_eq!(files.iter().map(|file| file.rows).collect::<Vec<_>>(), [1, 1, 1, 1]);
        for file in files {
            let written = Commit { files: vec![file], ..Commit::default() };
            let mut table = TableWriter::open(&lake, TABLE).await.unwrap();
            table.commit(&written).await.unwrap();
        }
    }
    let expected = ["a", "a", "b", "b", "c", "c", "d", "d"];
    assert_eq!(crate::testing::ids(&lake).await, expected);
}

#[tokio::test]
async fn the_bounds_of_all_batches_are_in_the_entry() {
    let (_folder, lake) = made_lake().await;
    let later = NOON + Micros(1);
    let files = write(&lake, &[rows(&[("m", later), ("z", NOON)]), rows(&[("b", NOON)])]).await;
    let [file] = &files[..] else { panic!("{} files", files.len()) };
    let expected = json!({
        "numRecords": 3,
        "minValues": {
            "site": "shop", "event_id": "b", "log_offset": 0,
            "received_time": "2026-03-01T12:00:00.000000Z",
        },
        "maxValues": {
            "site": "shop", "event_id": "z", "log_offset": 1,
            "received_time": "2026-03-01T12:00:00.000001Z",
        },
        "nullCount": {
            "site": 0, "event_id": 0, "log": 3, "log_partition": 0, "log_offset": 0,
            "received_time": 0,
        },
    });
    assert_eq!(stats(file), expected);
}

#[tokio::test]
async fn a_text_too_long_to_be_a_bound_leaves_its_column_without() {
    let (_folder, lake) = made_lake().await;
    let (long, longest) = ("m".repeat(65), "m".repeat(64));
    let bounded = write(&lake, &[rows(&[(&longest, NOON)])]).await;
    assert_eq!(stats(&bounded[0])["maxValues"]["event_id"], json!(longest));
    // Neither the batches before it nor those after it bring one back.
    for (before, after) in [("a", "l"), ("n", "z")] {
        let batches = [(before, NOON), (&long, NOON), (after, NOON)].map(|row| rows(&[row]));
        let unbounded = write(&lake, &batches).await;
        for bounds in ["minValues", "maxValues"] {
            assert_eq!(stats(&unbounded[0])[bounds].get("event_id"), None);
            assert_eq!(stats(&unbounded[0])[bounds]["site"], json!("shop"));
        }
    }
}

#[tokio::test]
async fn the_bounds_of_all_row_groups_are_in_the_entry() {
    let (_folder, lake) = made_lake().await;
    let mut many = vec![("m", NOON); ROW_GROUP_ROWS];
    many.extend([("a", NOON), ("z", NOON)]);
    let files = write(&lake, &[rows(&many)]).await;
    let [file] = &files[..] else { panic!("{} files", files.len()) };
    let stats = stats(file);
    assert_eq!(stats["numRecords"], json!(ROW_GROUP_ROWS + 2));
    assert_eq!(stats["nullCount"]["log"], json!(ROW_GROUP_ROWS + 2));
    let bounds = ["minValues", "maxValues"].map(|bounds| stats[bounds]["event_id"].clone());
    assert_eq!(bounds, [json!("a"), json!("z")]);
}

#[tokio::test]
async fn no_rows_make_no_file() {
    let (_folder, lake) = made_lake().await;
    assert!(write(&lake, &[]).await.is_empty());
    assert!(write(&lake, &[rows(&[])]).await.is_empty());
}
