//! Every column is found by its name, and nothing else is.

use super::*;

#[test]
fn each_name_finds_its_column() {
    for (name, column) in RECORD_ORDER.iter() {
        assert_eq!(Column::named(name), Some(*column), "{name}");
    }
    for name in ["", "page_urx", "xvent_id", "event_ic", "PAGE_URL", "\u{e9}", &"x".repeat(100)] {
        assert_eq!(Column::named(name), None, "{name}");
    }
}

/// Else one of them would not be found.
#[test]
fn no_two_have_one_name() {
    let mut names: Vec<_> = RECORD_ORDER.iter().map(|(name, _)| *name).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}
