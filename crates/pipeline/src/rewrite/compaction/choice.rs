//! Which files are worth replacing.

use std::collections::BTreeMap;

use footfall_event::Day;
use footfall_lake::TableFile;

/// Fewer are not worth it yet.
const FILES_MIN: usize = 8;
/// A larger file is large enough.
const SMALL_BYTES_MAX: i64 = 64 * 1024 * 1024;
/// Below this, size makes no difference.
const TINY_BYTES: i64 = 256 * 1024;
/// What is sorted at once.
const GROUP_BYTES_MAX: i64 = 512 * 1024 * 1024;

/// Groups of small files of one day, each to become one file or few.
///
/// The smallest come together first, and a file joins those that are smaller than it only when they are
/// as much as itself: so each row is rewritten a few times at most, however many commits a day has.
pub fn small_files(files: Vec<TableFile>) -> Vec<Vec<TableFile>> {
    let mut days: BTreeMap<Day, Vec<TableFile>> = BTreeMap::new();
    // Another program's file may not say how many rows it has, and then none could be missed.
    let is_fit = |file: &TableFile| file.bytes <= SMALL_BYTES_MAX && file.rows.is_some();
    for file in files.into_iter().filter(is_fit) {
        days.entry(file.day).or_default().push(file);
    }
    let groups = days.into_values().map(|mut files| {
        files.sort_by_key(|file| file.bytes);
        let sizes: Vec<i64> = files.iter().map(|file| file.bytes).collect();
        files.truncate(worth_joining(&sizes));
        files
    });
    groups.filter(|group| group.len() >= FILES_MIN).collect()
}

/// How many of files of ascending `sizes`, in bytes, should become one.
fn worth_joining(sizes: &[i64]) -> usize {
    let mut before = 0;
    let joins = |size: &&i64| {
        let joins = **size <= before.max(TINY_BYTES) && before + **size <= GROUP_BYTES_MAX;
        before += **size;
        joins
    };
    sizes.iter().take_while(joins).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KB: i64 = 1024;
    const MB: i64 = 1024 * KB;

    #[track_caller]
    fn check(sizes: &[i64], joined: usize) {
        assert_eq!(worth_joining(sizes), joined, "{sizes:?}");
    }

    #[test]
    fn small_files_join_and_a_large_one_waits_for_as_much() {
        check(&[], 0);
        check(&[10 * KB; 20], 20);
        check(&[256 * KB, 256 * KB], 2);
        check(&[257 * KB], 0);
        check(&[10 * KB, 10 * KB, 10 * MB], 2);
        check(&[200 * KB, 200 * KB, 300 * KB, 400 * KB, 10 * MB], 4);
        check(&[5 * MB, 5 * MB], 0);
    }

    #[test]
    fn no_more_is_sorted_at_once_than_its_bound() {
        let sizes: Vec<i64> = std::iter::repeat_n(200 * KB, 5_000).collect();
        let joined = worth_joining(&sizes) as i64;
        assert!(joined * 200 * KB <= GROUP_BYTES_MAX && (joined + 1) * 200 * KB > GROUP_BYTES_MAX);
    }

    /// A day of commits of 100 kB, looked after every 100 of them.
    #[test]
    fn a_day_of_commits_stays_few_files_and_is_written_few_times() {
        let (mut sizes, mut rewritten, mut most): (Vec<i64>, i64, usize) = Default::default();
        for commit in 1..=17_280 {
            sizes.push(100 * KB);
            if commit % 100 == 0 {
                sizes.sort_unstable();
                let small = sizes.partition_point(|size| *size <= SMALL_BYTES_MAX);
                let joined = worth_joining(&sizes[..small]);
                if joined >= FILES_MIN {
                    let sum = sizes.drain(..joined).sum();
                    rewritten += sum;
                    sizes.push(sum);
                }
                most = most.max(sizes.len());
            }
        }
        let written = 17_280 * 100 * KB;
        assert!(most <= 60, "{most} files");
        assert!(rewritten <= 5 * written, "rewritten {} times", rewritten / written);
    }
}
