//! Rows as (visitor, time), batch by batch.

use std::sync::Arc;

use arrow::array::ArrayRef;

use super::*;

type Row = (Option<&'static str>, Option<i64>);

fn batch(rows: &[Row]) -> RecordBatch {
    let visitors: StringArray = rows.iter().map(|(visitor, _)| *visitor).collect();
    let times: TimestampMicrosecondArray = rows.iter().map(|(_, time)| *time).collect();
    let columns: [(&str, ArrayRef); 2] =
        [("visitor_id", Arc::new(visitors)), ("event_time", Arc::new(times))];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[track_caller]
fn check(batches: &[&[Row]], holds: bool) {
    let mut watch = OrderWatch::new(Table::Events);
    for rows in batches {
        watch.see(&batch(rows));
    }
    assert_eq!(watch.holds(), holds, "{batches:?}");
}

#[test]
fn rows_in_order_are_found_so_within_a_batch_and_over_batches() {
    check(&[], true);
    check(&[&[], &[(Some("a"), Some(1))], &[]], true);
    check(&[&[(None, None), (None, Some(9)), (Some("a"), None), (Some("a"), Some(1))]], true);
    check(&[&[(Some("a"), Some(1))], &[(Some("a"), Some(1)), (Some("b"), Some(0))]], true);
    check(&[&[(Some("b"), Some(1)), (Some("a"), Some(2))]], false);
    check(&[&[(Some("a"), Some(2)), (Some("a"), Some(1))]], false);
    check(&[&[(Some("a"), Some(2))], &[(Some("a"), Some(1))]], false);
    check(&[&[(Some("a"), Some(2))], &[(None, Some(3))]], false);
    check(&[&[(Some("b"), Some(1))], &[(Some("a"), Some(1))], &[(Some("c"), Some(1))]], false);
}

#[test]
fn a_tag_counts_for_its_own_columns_alone() {
    let tags = tags(Table::Events);
    assert!(is_sorted(Table::Events, tags.as_ref()));
    assert!(!is_sorted(Table::Sessions, tags.as_ref()));
    assert!(!is_sorted(Table::Events, None));
    assert!(super::tags(Table::Receipts).is_none());
    assert!(!OrderWatch::new(Table::Receipts).holds());
}
