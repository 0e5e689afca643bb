//! Durations as analysts write them: `INTERVAL '1 hour'`, `'1 hour'`, `'30m'`.

use arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use arrow::datatypes::IntervalMonthDayNano;
use datafusion::common::ScalarValue;

const DAY_US: i64 = 86_400_000_000;
const LONGEST_US: i64 = 36_525 * DAY_US;

/// Units of a text such as `30m`, as in the configuration.
const UNITS: [(&str, i64); 6] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", DAY_US),
];

/// Microseconds; may be negative.
///
/// # Errors
/// A sentence: what is wrong.
pub(super) fn micros(value: &ScalarValue) -> Result<i64, String> {
    match read(value)? {
        micros if micros > LONGEST_US => Err(format!("{value} is longer than 100 years")),
        micros => Ok(micros),
    }
}

fn read(value: &ScalarValue) -> Result<i64, String> {
    match value {
        ScalarValue::IntervalMonthDayNano(Some(interval)) => of_interval(*interval),
        ScalarValue::IntervalDayTime(Some(interval)) => {
            Ok(i64::from(interval.days) * DAY_US + i64::from(interval.milliseconds) * 1_000)
        }
        ScalarValue::DurationMicrosecond(Some(micros)) => Ok(*micros),
        ScalarValue::Utf8(Some(text))
        | ScalarValue::Utf8View(Some(text))
        | ScalarValue::LargeUtf8(Some(text)) => of_text(text),
        other => Err(format!("{other} is no duration; write it as '1 hour', or as '30m'")),
    }
}

fn of_text(text: &str) -> Result<i64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, unit) = text.split_at(digits);
    let unit = UNITS.iter().find(|(name, _)| *name == unit.trim());
    let too_long = || format!("`{text}` is too long");
    if let (Ok(count), Some((_, unit_us))) = (count.parse::<i64>(), unit) {
        return count.checked_mul(*unit_us).ok_or_else(too_long);
    }
    match parse_interval_month_day_nano(text) {
        Ok(interval) => of_interval(interval),
        Err(_) => Err(format!("`{text}` is no duration; write it as '1 hour', or as '30m'")),
    }
}

fn of_interval(interval: IntervalMonthDayNano) -> Result<i64, String> {
    if interval.months != 0 {
        return Err("a month has no one length; write it in days".to_owned());
    }
    Ok(i64::from(interval.days) * DAY_US + interval.nanoseconds / 1_000)
}
