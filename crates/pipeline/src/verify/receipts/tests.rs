//! Ranges as text: `from-to site hour:second received=on_time+late+duplicate+rejected pending`, with
//! `-` for no site and no watermark.

use super::*;

const LATENESS: Micros = Micros(10_000_000);

fn receipt(text: &str) -> Receipt {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let whole = |text: &str| text.parse::<i64>().unwrap();
    let (from, to) = parts[0].split_once('-').unwrap();
    let (hour, watermark) = parts[2].split_once(':').unwrap();
    let hour = Micros(whole(hour) * Micros::HOUR.0);
    let second = |second: &str| hour + Micros(whole(second) * Micros::SECOND.0);
    let (received, kinds) = parts[3].split_once('=').unwrap();
    let kinds: Vec<i64> = kinds.split('+').map(whole).collect();
    Receipt {
        from: Offset(whole(from)),
        to: Offset(whole(to)),
        site: (parts[1] != "-").then(|| parts[1].to_owned()),
        hour,
        day: hour.day(),
        counts: Counts {
            received: whole(received),
            accepted: kinds[0] + kinds[1],
            on_time: kinds[0],
            late: kinds[1],
            duplicate: kinds[2],
            rejected: kinds[3],
            overflow: 0,
            pending: whole(parts[4]),
        },
        watermark: (watermark != "-").then(|| second(watermark)),
    }
}

/// `expected` is a part of the only difference; none where it is empty.
#[track_caller]
fn check_part(is_load: bool, rows: &str, barrier: Option<i64>, expected: &str) {
    let log = if is_load { "load:x" } else { "topic" }.to_owned();
    let part = LogPart { log, partition: Partition(0), is_load };
    let receipts = rows.lines().filter(|line| !line.trim().is_empty()).map(receipt).collect();
    let mut verified = Verified::default();
    let lateness = (LATENESS, LATENESS);
    verify_ranges(&part, receipts, barrier.map(Offset), lateness, &mut verified);
    let listed = &verified.listed;
    match expected {
        "" => assert!(listed.is_empty(), "{listed:?}"),
        _ => assert!(listed.len() == 1 && listed[0].contains(expected), "{listed:?}"),
    }
}

#[track_caller]
fn check(rows: &str, expected: &str) {
    check_part(false, rows, Some(30), expected);
}

#[test]
fn a_log_whose_retention_moved_on_begins_where_it_begins() {
    check(
        "7-20 - 1:5 0=0+0+0+0 0
         7-20 s 1:5 9=4+2+2+1 3
         20-30 - 1:9 0=0+0+0+0 0",
        "",
    );
    check("", "it ends at 0, not at the barrier 30");
}

#[test]
fn a_row_without_a_site_counts_nothing() {
    check("0-30 - 1:5 1=1+0+0+0 0", "site (none) does not add up");
    check("0-30 - 1:5 0=0+0+0+0 1", "site (none) does not add up");
}

#[test]
fn rows_add_up_and_nothing_is_negative() {
    check("0-30 - 1:5 0=0+0+0+0 0\n0-30 s 1:5 5=3+0+1+0 0", "site s does not add up");
    check("0-30 - 1:5 0=0+0+0+0 0\n0-30 s 1:5 2=3+-1+0+0 0", "site s does not add up");
    check("0-30 - 1:5 0=0+0+0+0 0\n0-30 s 1:5 2=2+0+0+0 -1", "site s does not add up");
    check("0-30 - 1:5 0=0+0+0+0 0\n0-30 s 1:5 31=31+0+0+0 0", "31 received of 30 records");
}

#[test]
fn ranges_follow_each_other_to_the_barrier() {
    check("0-20 - 1:5 0=0+0+0+0 0\n21-30 - 1:6 0=0+0+0+0 0", "a gap or overlap");
    check("0-20 - 1:5 0=0+0+0+0 0\n19-30 - 1:6 0=0+0+0+0 0", "a gap or overlap");
    check("0-20 - 1:5 0=0+0+0+0 0", "it ends at 20");
    check("0-30 s 1:5 1=1+0+0+0 0", "the row without a site is gone");
    check("0-30 - 1:5 0=0+0+0+0 0\n0-30 - 1:5 0=0+0+0+0 0", "a site's row is doubled");
    check("0-30 - 1:5 0=0+0+0+0 0\n0-30 s 1:6 1=1+0+0+0 0", "its rows disagree");
}

#[test]
fn clocks_never_go_back() {
    check("0-20 - 1:50 0=0+0+0+0 0\n20-30 - 1:40 0=0+0+0+0 0", "its watermark lies before");
    check("0-20 - 1:50 0=0+0+0+0 0\n20-30 - 1:- 0=0+0+0+0 0", "its watermark lies before");
    // Before log time is known an hour may: the append time may have been a broker's mistake.
    check("0-20 - 2:- 0=0+0+0+0 0\n20-30 - 1:40 0=0+0+0+0 0", "");
}

#[test]
fn the_watermark_lies_in_its_hour() {
    check("0-30 - 1:-10 0=0+0+0+0 0", "");
    check("0-30 - 1:-11 0=0+0+0+0 0", "does not lie in its hour");
    check("0-30 - 1:3589 0=0+0+0+0 0", "");
    check("0-30 - 1:3590 0=0+0+0+0 0", "does not lie in its hour");
}

#[test]
fn a_load_has_one_range_and_all_its_rows() {
    let check = |rows: &str, expected: &str| check_part(true, rows, None, expected);
    check("0-9 - 1:- 0=0+0+0+0 0\n0-9 s 1:- 9=5+1+2+1 0", "");
    check("0-9 - 1:- 0=0+0+0+0 0\n0-9 s 1:- 8=5+1+1+1 0", "8 received of 9 records");
    check("1-9 - 1:- 0=0+0+0+0 0\n1-9 s 1:- 8=8+0+0+0 0", "a load has one range");
    check("", "a load has one range");
}
