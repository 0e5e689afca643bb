//! Ranges of ten records against rows, as text. The watermark of range i is second i.

use super::*;
use footfall_event::Partition;

/// `ranges`: for each, the counts of site `s` as `on_time late duplicate rejected overflow pending`,
/// or `-` where it has no row. `rows`: `e` (an event on time), `l` (late), `o` (beyond a cap), `d` or
/// `r`, with its record and, for events, its second. `expected`: the differences, and `astray RECORD`
/// for a row without a place.
#[track_caller]
fn check_any((is_load, is_repaired): (bool, bool), ranges: &[&str], rows: &str, expected: &[&str]) {
    let part = LogPart { log: "topic".to_owned(), partition: Partition(0), is_load };
    let range = |(i, text): (i64, &&str)| Range {
        from: Offset(i * 10),
        to: Offset(i * 10 + 10),
        watermark: (!is_load).then_some(Micros(i * Micros::SECOND.0)),
        sites: counts(text).map(|counts| ("s".to_owned(), counts)).into_iter().collect(),
    };
    let ranges: Vec<Range> = (0..).zip(ranges).map(range).collect();
    let mut tally = Tally::new(&part, &ranges, is_repaired);
    let mut told = Vec::new();
    for row in rows.split(", ").filter(|row| !row.is_empty()) {
        let parts: Vec<&str> = row.split(' ').collect();
        let whole = |i: usize| parts.get(i).map_or(0, |text| text.parse::<i64>().unwrap());
        let (kind, offset) = (parts[0], Offset(whole(1)));
        let is_counted = match kind {
            "d" => tally.count("s", offset, |found| found.duplicate += 1),
            "r" => tally.count("s", offset, |found| found.rejected += 1),
            _ => tally.event(&EventRow {
                site: "s",
                offset,
                event_time: Micros(whole(2) * Micros::SECOND.0),
                is_late: kind == "l",
                overflows: kind == "o",
            }),
        };
        if !is_counted {
            told.push(format!("astray {offset}"));
        }
    }
    let mut verified = Verified::default();
    tally.hold(&mut verified);
    let said = |text: &String| text.split("range from ").nth(1).unwrap().to_owned();
    told.extend(verified.listed.iter().map(said));
    assert_eq!(told, expected);
}

#[track_caller]
fn check_part(is_load: bool, ranges: &[&str], rows: &str, expected: &[&str]) {
    check_any((is_load, false), ranges, rows, expected);
}

fn counts(text: &str) -> Option<Counts> {
    if text == "-" {
        return None;
    }
    let counts: Vec<i64> = text.split(' ').map(|count| count.parse().unwrap()).collect();
    let [on_time, late, duplicate, rejected, overflow, pending] = counts[..] else {
        panic!("{text}")
    };
    let accepted = on_time + late;
    let received = accepted + duplicate + rejected;
    Some(Counts { received, accepted, on_time, late, duplicate, rejected, overflow, pending })
}

#[track_caller]
fn check(ranges: &[&str], rows: &str, expected: &[&str]) {
    check_part(false, ranges, rows, expected);
}

#[test]
fn what_the_fold_writes_adds_up() {
    // The event at second 0 is written when the watermark is second 1, the one at second 1 when it
    // is second 2, and the one at second 9 is pending to the end.
    check(&["2 0 1 0 0 2", "1 1 0 1 0 2", "0 0 0 0 1 1"], "e 3 0, d 4, o 5 1, l 12 0, r 13", &[]);
}

#[test]
fn the_pending_of_every_row_is_recomputed() {
    let told = "10, site s: with the rows of `events` 1 are pending, the receipt says 2";
    let next = "20, site s: with the rows of `events` 1 are pending, the receipt says 0";
    check(&["2 0 0 0 0 2", "0 0 0 0 0 2", "0 0 0 0 0 0"], "e 3 0, e 5 1", &[told, next]);
}

#[test]
fn a_removed_event_shows_where_it_was_written() {
    let told = "10, site s: with the rows of `events` 1 are pending, the receipt says 0";
    let idle = "10, site s: it has a row, and no record there is of the site";
    check(&["1 0 0 0 0 1", "0 0 0 0 0 0"], "", &[told, idle]);
}

#[test]
fn counts_are_held_against_rows_range_by_range() {
    check(
        &["0 1 1 1 0 0", "0 0 0 0 0 0"],
        "l 11 0, d 12, r 13",
        &[
            "0, site s: 0 late events, the receipt says 1",
            "0, site s: 0 duplicates, the receipt says 1",
            "0, site s: 0 rejected, the receipt says 1",
            "10, site s: 1 late events, the receipt says 0",
            "10, site s: 1 duplicates, the receipt says 0",
            "10, site s: 1 rejected, the receipt says 0",
            "10, site s: it has a row, and no record there is of the site",
        ],
    );
    check(&["-"], "d 4", &["0, site s: the site has records there and no row"]);
}

#[test]
fn overflow_counts_in_the_range_that_wrote_it() {
    let told = "10, site s: 1 events beyond a cap, the receipt says 0";
    check(&["1 0 0 0 0 1", "0 0 0 0 0 0"], "o 3 0", &[told]);
}

#[test]
fn a_row_that_was_not_due_has_no_place() {
    let told = "0, site s: 1 events on time, the receipt says 0";
    check(&["0 0 1 0 0 0"], "e 3 0, d 4", &["astray 3", told]);
    check(&["0 0 1 0 0 0"], "d 4, d 10", &["astray 10"]);
}

#[test]
fn a_load_writes_all_at_once() {
    check_part(true, &["2 1 0 0 0 0"], "e 3 0, e 5 9, l 6 9", &[]);
    let told = "0, site s: with the rows of `events` 1 are pending, the receipt says 0";
    check_part(true, &["2 1 0 0 0 0"], "e 3 0, l 6 9", &[told]);
}

/// Where runs were repaired, rows of a load may have become duplicates, and no others.
#[test]
fn a_load_may_lose_rows_to_live_ones() {
    let repaired = |ranges: &[&str], rows: &str, expected: &[&str]| {
        check_any((true, true), ranges, rows, expected);
    };
    repaired(&["2 1 0 0 0 0"], "e 0 5, d 1, l 2 5", &[]);
    repaired(&["2 1 0 0 0 0"], "e 0 5, e 1 5, d 2", &[]);
    let lost = ["0, site s: with the rows of `events` 1 are pending, the receipt says 0"];
    repaired(&["2 1 0 0 0 0"], "e 0 5, l 2 5", &lost);
}

#[test]
fn a_repair_may_put_events_beyond_the_cap() {
    check_any((false, true), &["1 0 0 0 0 1", "0 0 0 0 0 0"], "o 0 0", &[]);
}
