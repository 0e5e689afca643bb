//! `journey_returns(period, periods, event_time, seq, started, returned)`: for each visitor that
//! started, a row for the period of the first start and each of the `periods` behind it, with whether
//! the visitor came back in it. In the first period only a later event is a return.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Int64Builder, ListArray, StructArray,
    TimestampMicrosecondBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use chrono::{Datelike, Days, Months, NaiveDate};
use datafusion::common::{Result, ScalarValue, resources_err};
use footfall_event::schema::time_type;

use super::super::aggregate::{Question, fields, list_of};
use super::super::hits::Ordered;
use super::super::texts::Texts;
use super::RETENTION;

const DAY_US: i64 = 86_400_000_000;
/// Rows of all visitors, some 20 bytes each.
const ROWS_MAX: usize = 20_000_000;
const STARTED: usize = 0;
const RETURNED: usize = 1;

#[derive(Debug)]
pub(in super::super) struct JourneyReturns {
    period: Period,
    periods: i64,
}

/// Of UTC; a week begins on Monday.
#[derive(Clone, Copy, Debug)]
enum Period {
    Day,
    Week,
    Month,
}

impl Period {
    /// The number of the period that holds the day, counted from that of 1970-01-01.
    fn number(self, day: i64) -> i64 {
        match self {
            Period::Day => day,
            // 1970-01-01 was a Thursday.
            Period::Week => (day + 3).div_euclid(7),
            Period::Month => {
                let date = date(day);
                i64::from(date.year() - 1970) * 12 + i64::from(date.month0())
            }
        }
    }

    /// Its first day, counted from 1970-01-01.
    fn begin(self, number: i64) -> i64 {
        match self {
            Period::Day => number,
            Period::Week => number * 7 - 3,
            Period::Month => {
                let epoch = NaiveDate::default();
                let months = Months::new(number.unsigned_abs() as u32);
                let begin = match number < 0 {
                    true => epoch.checked_sub_months(months),
                    false => epoch.checked_add_months(months),
                };
                begin.unwrap_or(epoch).signed_duration_since(epoch).num_days()
            }
        }
    }
}

fn date(day: i64) -> NaiveDate {
    let epoch = NaiveDate::default();
    let days = Days::new(day.unsigned_abs());
    let date = if day < 0 { epoch.checked_sub_days(days) } else { epoch.checked_add_days(days) };
    date.unwrap_or(epoch)
}

fn columns() -> Fields {
    fields(&[
        ("cohort", DataType::Date32),
        ("period", DataType::Int64),
        ("has_returned", DataType::Boolean),
        ("ends_at", time_type()),
    ])
}

impl Question<0> for JourneyReturns {
    const NAME: &'static str = "journey_returns";
    const CALLED: &'static str = RETENTION.name;
    const USAGE: &'static str = RETENTION.usage;
    const CONSTANTS: usize = 2;

    fn parse(constants: &[ScalarValue], conditions: usize) -> Result<Self, String> {
        let period = match constants[0].try_as_str().flatten() {
            Some("day") => Period::Day,
            Some("week") => Period::Week,
            Some("month") => Period::Month,
            _ => return Err("the period is no `day`, `week` or `month`".to_owned()),
        };
        let ScalarValue::Int64(Some(periods)) = constants[1] else {
            return Err("the number of periods is no whole number".to_owned());
        };
        match conditions == RETURNED + 1 {
            true => Ok(Self { period, periods }),
            false => Err(format!("{conditions} conditions, not 2")),
        }
    }

    fn data_type(_: usize) -> DataType {
        list_of(DataType::Struct(columns()))
    }

    fn answer(&self, groups: &Ordered<0>, _: &Texts) -> Result<ArrayRef> {
        let (mut cohorts, mut periods) = (Date32Builder::new(), Int64Builder::new());
        let mut returned = BooleanBuilder::new();
        let mut ends = TimestampMicrosecondBuilder::new().with_data_type(time_type());
        let mut lengths = Vec::with_capacity(groups.group_count());
        let number = |time_us: i64| self.period.number(time_us.div_euclid(DAY_US));
        let mut row_count = 0;
        for rows in groups.groups() {
            let Some(start) = rows.iter().position(|row| row.hit.fulfils(STARTED)) else {
                lengths.push(0);
                continue;
            };
            let first = number(rows[start].hit.time_us);
            row_count += self.periods as usize + 1;
            if row_count > ROWS_MAX {
                return resources_err!(
                    "retention() has more than {ROWS_MAX} visitors times periods: fewer periods, or a shorter time from `from` to `to`"
                );
            }
            let mut came = vec![false; self.periods as usize + 1];
            for row in rows[start + 1..].iter().filter(|row| row.hit.fulfils(RETURNED)) {
                if let Some(came) = came.get_mut((number(row.hit.time_us) - first) as usize) {
                    *came = true;
                }
            }
            lengths.push(came.len());
            for (period, came) in came.into_iter().enumerate() {
                let period = period as i64;
                cohorts.append_value(self.period.begin(first) as i32);
                periods.append_value(period);
                returned.append_value(came);
                ends.append_value(self.period.begin(first + period + 1) * DAY_US);
            }
        }
        let entries: Vec<ArrayRef> = vec![
            Arc::new(cohorts.finish()),
            Arc::new(periods.finish()),
            Arc::new(returned.finish()),
            Arc::new(ends.finish()),
        ];
        let rows = StructArray::new(columns(), entries, None);
        let entry = Arc::new(Field::new_list_field(DataType::Struct(columns()), true));
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(ListArray::new(entry, offsets, Arc::new(rows), None)))
    }
}
