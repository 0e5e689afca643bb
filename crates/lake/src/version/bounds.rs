//! What a file's entry says of its columns: how many values are NULL, and between which bounds the
//! others lie. Kept small, as a table may have 10,000 files of 60 columns.
//!
//! Bounds of other programs may be cut: a text to its first characters, a time to its millisecond.

use std::borrow::Cow;
use std::collections::HashMap;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use chrono::DateTime;
use serde::Deserialize;
use serde_json::Value;

/// Digits of a second in a time that was not cut.
const MICROSECOND_DIGITS: usize = 6;
/// The values of a time that was cut to its millisecond, beyond it.
const CUT_MICROS: i64 = 999;

/// What is known of a column in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnFacts {
    pub nulls: Option<u64>,
    pub least: Bound,
    pub greatest: Bound,
    /// Whether the bounds are values of the column, and not only bounds of them.
    pub are_exact: bool,
}

/// An end of a column's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    Unknown,
    /// A whole number, or a time in microseconds.
    Whole(i64),
    Text(Box<str>),
}

impl ColumnFacts {
    pub const UNKNOWN: ColumnFacts = ColumnFacts {
        nulls: None,
        least: Bound::Unknown,
        greatest: Bound::Unknown,
        are_exact: false,
    };
}

/// What is known of a file.
#[derive(Debug)]
pub(super) struct FileFacts {
    pub(super) rows: Option<u64>,
    /// One for each column of the schema; none at all where nothing is known.
    pub(super) columns: Box<[ColumnFacts]>,
}

/// Delta's `stats`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written<'j> {
    num_records: Option<u64>,
    #[serde(borrow)]
    min_values: HashMap<Cow<'j, str>, Value>,
    #[serde(borrow)]
    max_values: HashMap<Cow<'j, str>, Value>,
    #[serde(borrow)]
    null_count: HashMap<Cow<'j, str>, Value>,
}

impl FileFacts {
    /// Of `stats` that cannot be read nothing is known, which only makes queries slower.
    pub(super) fn of(schema: &Schema, stats: Option<&str>) -> FileFacts {
        let written = stats.and_then(|stats| serde_json::from_str::<Written<'_>>(stats).ok());
        let Some(written) = written else {
            return FileFacts { rows: None, columns: Box::default() };
        };
        let facts = |field: &arrow::datatypes::FieldRef| {
            let name = field.name().as_str();
            let nulls = written.null_count.get(name).and_then(Value::as_u64);
            let ends = written.min_values.get(name).zip(written.max_values.get(name));
            let ends = ends.and_then(|(min, max)| ends_of(field.data_type(), min, max));
            let (least, greatest, are_exact) =
                ends.unwrap_or((Bound::Unknown, Bound::Unknown, false));
            ColumnFacts { nulls, least, greatest, are_exact }
        };
        let columns = schema.fields().iter().map(facts).collect();
        FileFacts { rows: written.num_records, columns }
    }
}

fn ends_of(data_type: &DataType, min: &Value, max: &Value) -> Option<(Bound, Bound, bool)> {
    match data_type {
        DataType::Utf8 => {
            let text = |value: &Value| Some(Bound::Text(value.as_str()?.into()));
            Some((text(min)?, text(max)?, false))
        }
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            Some((Bound::Whole(min.as_i64()?), Bound::Whole(max.as_i64()?), true))
        }
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            let ((min, min_is_whole), (max, max_is_whole)) =
                (micros(min.as_str()?)?, micros(max.as_str()?)?);
            let max = if max_is_whole { max } else { max.checked_add(CUT_MICROS)? };
            Some((Bound::Whole(min), Bound::Whole(max), min_is_whole && max_is_whole))
        }
        _ => None,
    }
}

/// A time, and whether it is written out to the microsecond.
fn micros(text: &str) -> Option<(i64, bool)> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    let digits = text
        .split_once('.')
        .map_or(0, |(_, rest)| rest.bytes().take_while(u8::is_ascii_digit).count());
    Some((time.timestamp_micros(), digits >= MICROSECOND_DIGITS))
}

#[cfg(test)]
mod tests {
    use footfall_event::schema::Table;

    use super::*;

    fn facts(column: &str, stats: &str) -> ColumnFacts {
        let schema = Table::Events.schema();
        let place = schema.index_of(column).unwrap();
        FileFacts::of(&schema, Some(stats))
            .columns
            .get(place)
            .unwrap_or(&ColumnFacts::UNKNOWN)
            .clone()
    }

    #[test]
    fn a_time_that_was_cut_bounds_what_it_was_cut_from() {
        let stats = r#"{"numRecords":3,"nullCount":{"event_time":1},
            "minValues":{"event_time":"2026-03-01T12:00:00.123Z"},
            "maxValues":{"event_time":"2026-03-01T12:00:00.124Z"}}"#;
        let noon = 1_772_366_400_000_000;
        let found = facts("event_time", stats);
        assert_eq!(found.nulls, Some(1));
        assert_eq!(found.least, Bound::Whole(noon + 123_000));
        assert_eq!(found.greatest, Bound::Whole(noon + 124_999));
        assert!(!found.are_exact);
        let whole =
            facts("event_time", &stats.replace("123Z", "123000Z").replace("124Z", "124000Z"));
        assert_eq!(whole.greatest, Bound::Whole(noon + 124_000));
        assert!(whole.are_exact);
    }

    #[test]
    fn what_is_not_written_or_not_readable_is_unknown() {
        assert_eq!(facts("visitor_id", "no JSON"), ColumnFacts::UNKNOWN);
        assert_eq!(facts("visitor_id", r#"{"numRecords":1}"#), ColumnFacts::UNKNOWN);
        let half = r#"{"minValues":{"visitor_id":"a"},"nullCount":{"visitor_id":2}}"#;
        let known = ColumnFacts { nulls: Some(2), ..ColumnFacts::UNKNOWN };
        assert_eq!(facts("visitor_id", half), known);
        let wrong = r#"{"minValues":{"seq":"a"},"maxValues":{"seq":"b"}}"#;
        assert_eq!(facts("seq", wrong), ColumnFacts::UNKNOWN);
    }
}
