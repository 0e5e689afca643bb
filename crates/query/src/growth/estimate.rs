//! How long a function's longest value can become, told from its arguments before the call.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit};
use datafusion::common::Result;
use datafusion::logical_expr::ColumnarValue;

use crate::bytes;

/// The functions that have bounds.
pub(super) const GROWING: [(&str, Growth); 12] = [
    ("repeat", Growth::Times { entry_bytes: 0 }),
    ("array_repeat", Growth::Times { entry_bytes: ENTRY_BYTES }),
    ("lpad", Growth::Pad),
    ("rpad", Growth::Pad),
    ("array_resize", Growth::Resize),
    ("range", Growth::Range),
    ("generate_series", Growth::Range),
    ("replace", Growth::Replace),
    ("regexp_replace", Growth::Replace),
    ("concat", Growth::Join),
    ("concat_ws", Growth::Separate),
    ("array_to_string", Growth::Write),
];

/// How a value grows with the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Growth {
    /// The first argument, as often as the second says; an entry takes some bytes beside its own.
    Times { entry_bytes: u128 },
    /// As many characters as the second argument says.
    Pad,
    /// As many entries as the second argument says, the third where the first has none.
    Resize,
    /// An entry for each step from a start to a stop.
    Range,
    /// The last text argument at each place of the first.
    Replace,
    /// All arguments.
    Join,
    /// All arguments, with the first between all others.
    Separate,
    /// The entries of the first argument as text, with the second between them or the third for each.
    Write,
}

/// The most that a character takes in UTF-8.
const CHARACTER_BYTES: u128 = 4;
/// What an entry of a list takes beside its own bytes: an offset or a view.
const ENTRY_BYTES: u128 = 16;
/// Characters for each byte of a number, at most: a bigint has 20, a double 24.
const TEXT_GROWTH: u128 = 4;

impl Growth {
    /// Whether a number among the arguments says how long the value becomes.
    pub(super) fn has_count(self) -> bool {
        match self {
            Growth::Times { .. } | Growth::Pad | Growth::Resize | Growth::Range => true,
            Growth::Replace | Growth::Join | Growth::Separate | Growth::Write => false,
        }
    }

    /// Bytes of the longest value for any row of `args`; may be too many for several rows, and is
    /// close for one.
    pub(super) fn value_bytes(self, args: &[ColumnarValue]) -> Result<u128> {
        let columns: Result<Vec<ArrayRef>> = args.iter().map(|arg| arg.to_array(1)).collect();
        let columns = columns?;
        let longest = |index: usize| columns.get(index).map_or(0, longest);
        Ok(match self {
            Growth::Times { entry_bytes } => {
                greatest(&columns[1])?.saturating_mul(longest(0).saturating_add(entry_bytes))
            }
            Growth::Pad => {
                greatest(&columns[1])?.saturating_mul(CHARACTER_BYTES).saturating_add(longest(0))
            }
            Growth::Resize => {
                let entry = longest(2).saturating_add(ENTRY_BYTES);
                greatest(&columns[1])?.saturating_mul(entry).saturating_add(longest(0))
            }
            Growth::Range => entries(&columns)?.saturating_mul(size_of::<i64>() as u128),
            // A replacement may name what it replaces, as often as it has characters.
            Growth::Replace => {
                (longest(0) + 1).saturating_mul(longest(2).saturating_mul(2).saturating_add(1))
            }
            Growth::Join => (0..columns.len()).map(longest).sum(),
            Growth::Separate => {
                let all: u128 = (0..columns.len()).map(longest).sum();
                all.saturating_add(longest(0).saturating_mul(columns.len() as u128))
            }
            Growth::Write => {
                let between = longest(1).saturating_add(longest(2));
                longest(0).saturating_mul(between.saturating_add(TEXT_GROWTH))
            }
        })
    }
}

/// Bytes of a column's longest value.
fn longest(column: &ArrayRef) -> u128 {
    let lengths: Option<usize> = match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().iter().flatten().map(str::len).max(),
        DataType::LargeUtf8 => column.as_string::<i64>().iter().flatten().map(str::len).max(),
        DataType::Utf8View => column.as_string_view().iter().flatten().map(str::len).max(),
        data_type if data_type.is_nested() => {
            let value_bytes = |row: usize| bytes::of_column(column.slice(row, 1).as_ref());
            (0..column.len()).map(value_bytes).max()
        }
        data_type => data_type.primitive_width(),
    };
    lengths.unwrap_or(0) as u128
}

/// The greatest number of a column; 0 where it is negative or there is none.
fn greatest(column: &ArrayRef) -> Result<u128> {
    let numbers = cast(column, &DataType::Int64)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    Ok(u128::from(numbers.iter().flatten().max().unwrap_or(0).max(0).unsigned_abs()))
}

/// The most entries that a row of start, stop and step gives; a stop alone starts at 0.
fn entries(columns: &[ArrayRef]) -> Result<u128> {
    let columns: Result<Vec<Vec<Option<i128>>>> = columns.iter().map(positions).collect();
    let columns = columns?;
    let rows = columns.iter().map(Vec::len).max().unwrap_or(0);
    let at = |column: &Vec<Option<i128>>, row: usize| match column.as_slice() {
        [constant] => *constant,
        values => values.get(row).copied().flatten(),
    };
    let row = |row: usize| match columns.as_slice() {
        [stop] => steps(Some(0), at(stop, row), Some(1)),
        [start, stop] => steps(at(start, row), at(stop, row), Some(1)),
        [start, stop, step] => steps(at(start, row), at(stop, row), at(step, row)),
        _ => 0,
    };
    Ok((0..rows).map(row).max().unwrap_or(0))
}

/// 0 where a part is NULL; also where the step is 0, which the function itself refuses.
fn steps(start: Option<i128>, stop: Option<i128>, step: Option<i128>) -> u128 {
    let (Some(start), Some(stop), Some(step)) = (start, stop, step) else { return 0 };
    match step {
        UNMEASURED => u128::MAX,
        0 => 0,
        step if (stop - start).signum() * step.signum() < 0 => 0,
        step => ((stop - start) / step).unsigned_abs() + 1,
    }
}

/// An interval whose parts point both ways: it may never arrive.
const UNMEASURED: i128 = i128::MAX;
const DAY_NANOS: i128 = 86_400_000_000_000;
const MONTH_DAYS_MIN: i128 = 28;

/// Numbers as they are; times and the shortest that an interval can be in nanoseconds.
fn positions(column: &ArrayRef) -> Result<Vec<Option<i128>>> {
    let numbers = |column: &ArrayRef, unit: i128| -> Result<Vec<Option<i128>>> {
        let numbers = cast(column, &DataType::Int64)?;
        let numbers = numbers.as_primitive::<Int64Type>().iter();
        Ok(numbers.map(|number| number.map(|number| i128::from(number) * unit)).collect())
    };
    match column.data_type() {
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let intervals = column.as_primitive::<IntervalMonthDayNanoType>().iter();
            let shortest = |(months, days, nanos): (i32, i32, i64)| {
                let parts = [
                    i128::from(months) * MONTH_DAYS_MIN * DAY_NANOS,
                    i128::from(days) * DAY_NANOS,
                    i128::from(nanos),
                ];
                let points = |sign: i128| parts.iter().any(|part| part.signum() == sign);
                if points(1) && points(-1) { UNMEASURED } else { parts.iter().sum() }
            };
            Ok(intervals
                .map(|interval| interval.map(IntervalMonthDayNanoType::to_parts).map(shortest))
                .collect())
        }
        DataType::Date32 | DataType::Date64 => {
            let days = cast(column, &DataType::Date32)?;
            numbers(&cast(&days, &DataType::Int32)?, DAY_NANOS)
        }
        DataType::Timestamp(unit, _) => numbers(column, nanos(*unit)),
        DataType::Null => Ok(vec![None; column.len()]),
        _ => numbers(column, 1),
    }
}

fn nanos(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}
