//! What the job deletes besides the tables' own files.

use std::fs::File;
use std::time::{Duration, SystemTime};

use super::*;
use crate::testing::{Shop, at, rules};

/// A file of a writer that was killed at a time so long ago.
fn left_behind(path: &std::path::Path, hours: u64) {
    let modified = SystemTime::now() - Duration::from_secs(hours * 3_600);
    File::create(path).unwrap().set_modified(modified).unwrap();
}

#[tokio::test]
async fn what_broken_writes_left_goes_when_it_is_a_day_old() {
    let shop = Shop::new().await;
    shop.load("1", &[&at(0, "a", "")]).await;
    let old = [
        shop.table(Table::Events).join("part-1-1.parquet#7"),
        shop.table(Table::Events).join("_delta_log/00000000000000000009.json#7"),
        shop.folder.path().join("_footfall/settings.json#7"),
    ];
    old.iter().for_each(|path| left_behind(path, 25));
    let young = old[0].with_file_name("part-1-2.parquet#8");
    left_behind(&young, 23);
    // Its name is nobody's.
    let other = shop.folder.path().join("_footfall/notes#old");
    left_behind(&other, 25);
    let (rules, mut settled) = (Arc::new(rules()), SettledFiles::default());
    let done = rewrite(&shop.lake, &rules, &Retention::default(), &mut settled).await.unwrap();
    assert_eq!(done.broken_writes, old.len());
    assert!(!old.iter().any(|path| path.exists()));
    assert!(young.exists() && other.exists());
}
