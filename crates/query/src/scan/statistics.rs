//! What the log says of files, as DataFusion's statistics: by them counts are answered without a file,
//! joins are ordered, and files are passed over while a query runs.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Result, Statistics};
use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;
use footfall_lake::{Bound, ColumnFacts, DataFile, sort_columns};

use super::LakeTable;

/// The columns that a query has to do with, by their places in the table's schema, ascending. Of all
/// others nothing is told: of 60 columns of 10,000 files it would be 200 MB.
pub(super) struct Columns(Vec<usize>);

impl Columns {
    pub(super) fn of(
        table: &LakeTable,
        projection: &[usize],
        conditions: &[&Expr],
    ) -> Result<Columns> {
        let mut places = projection.to_vec();
        for condition in conditions {
            let named = condition.column_refs();
            places.extend(named.iter().filter_map(|c| table.schema.index_of(c.name()).ok()));
        }
        let sorted_by = sort_columns(table.version.table()).into_iter().flatten();
        places.extend(sorted_by.filter_map(|name| table.schema.index_of(name).ok()));
        places.sort_unstable();
        places.dedup();
        Ok(Columns(places))
    }
}

/// Of all rows of `files` together.
pub(super) fn of_files(table: &LakeTable, columns: &Columns, files: &[&DataFile]) -> Statistics {
    let mut all = unknown(table);
    all.num_rows = exact(files.iter().map(|file| file.rows).sum::<Option<u64>>());
    for place in &columns.0 {
        let field = table.schema.field(*place);
        let is_day = field.name() == table.version.table().partition_column();
        let found = if is_day {
            let days = || files.iter().map(|file| file.day.map(|day| day.0));
            let (least, greatest) = (days().flatten().min(), days().flatten().max());
            let nulls =
                files.iter().map(|file| if file.day.is_some() { Some(0) } else { file.rows });
            ColumnStatistics {
                null_count: exact(nulls.sum::<Option<u64>>()),
                min_value: least.map_or(Precision::Absent, |day| {
                    Precision::Exact(ScalarValue::Date32(Some(day)))
                }),
                max_value: greatest.map_or(Precision::Absent, |day| {
                    Precision::Exact(ScalarValue::Date32(Some(day)))
                }),
                ..ColumnStatistics::new_unknown()
            }
        } else {
            of_column(&merged(files, *place), field.data_type())
        };
        if let Some(place) = table.places.get(*place)
            && let Some(statistics) = all.column_statistics.get_mut(*place)
        {
            *statistics = found;
        }
    }
    all
}

/// Of one file's rows, without its day.
pub(super) fn of_file(table: &LakeTable, columns: &Columns, file: &DataFile) -> Arc<Statistics> {
    let mut all = unknown(table);
    all.column_statistics.truncate(table.scanned.file_schema().fields().len());
    all.num_rows = exact(file.rows);
    for place in &columns.0 {
        let data_type = table.schema.field(*place).data_type();
        if let Some(place_scanned) = table.places.get(*place)
            && let Some(statistics) = all.column_statistics.get_mut(*place_scanned)
        {
            *statistics = of_column(file.column(*place), data_type);
        }
    }
    Arc::new(all)
}

/// A bound in the type of its column; NULL where it is not known.
pub(super) fn scalar(bound: &Bound, data_type: &DataType) -> ScalarValue {
    let whole = match bound {
        Bound::Whole(whole) => Some(*whole),
        _ => None,
    };
    let text = match bound {
        Bound::Text(text) => Some(text.to_string()),
        _ => None,
    };
    match data_type {
        DataType::Utf8View => ScalarValue::Utf8View(text),
        DataType::Int8 => ScalarValue::Int8(whole.and_then(|whole| i8::try_from(whole).ok())),
        DataType::Int16 => ScalarValue::Int16(whole.and_then(|whole| i16::try_from(whole).ok())),
        DataType::Int32 => ScalarValue::Int32(whole.and_then(|whole| i32::try_from(whole).ok())),
        DataType::Int64 => ScalarValue::Int64(whole),
        DataType::Timestamp(_, zone) => ScalarValue::TimestampMicrosecond(whole, zone.clone()),
        other => ScalarValue::try_from(other).unwrap_or(ScalarValue::Null),
    }
}

fn unknown(table: &LakeTable) -> Statistics {
    Statistics::new_unknown(table.scanned.table_schema())
}

fn exact(count: Option<u64>) -> Precision<usize> {
    let count = count.and_then(|count| usize::try_from(count).ok());
    count.map_or(Precision::Absent, Precision::Exact)
}

fn of_column(facts: &ColumnFacts, data_type: &DataType) -> ColumnStatistics {
    let end = |bound: &Bound| match (bound, facts.are_exact) {
        (Bound::Unknown, _) => Precision::Absent,
        (bound, true) => Precision::Exact(scalar(bound, data_type)),
        (bound, false) => Precision::Inexact(scalar(bound, data_type)),
    };
    ColumnStatistics {
        null_count: exact(facts.nulls),
        min_value: end(&facts.least),
        max_value: end(&facts.greatest),
        ..ColumnStatistics::new_unknown()
    }
}

/// What is known of a column of all `files` together: what is unknown of one is unknown of all, but a
/// file in which all values are NULL has no bounds and none to add.
fn merged(files: &[&DataFile], place: usize) -> ColumnFacts {
    let nulls = files.iter().map(|file| file.column(place).nulls).sum::<Option<u64>>();
    let (mut least, mut greatest): (Option<&Bound>, Option<&Bound>) = (None, None);
    let mut are_exact = true;
    for file in files {
        let facts = file.column(place);
        if facts.nulls.is_some() && facts.nulls == file.rows {
            continue;
        }
        if facts.least == Bound::Unknown || facts.greatest == Bound::Unknown {
            return ColumnFacts { nulls, ..ColumnFacts::UNKNOWN };
        }
        are_exact &= facts.are_exact;
        let is_less = |a: &Bound, b: &Bound| match (a, b) {
            (Bound::Whole(a), Bound::Whole(b)) => a < b,
            (Bound::Text(a), Bound::Text(b)) => a < b,
            _ => false,
        };
        if least.is_none_or(|least| is_less(&facts.least, least)) {
            least = Some(&facts.least);
        }
        if greatest.is_none_or(|greatest| is_less(greatest, &facts.greatest)) {
            greatest = Some(&facts.greatest);
        }
    }
    ColumnFacts {
        nulls,
        least: least.cloned().unwrap_or(Bound::Unknown),
        greatest: greatest.cloned().unwrap_or(Bound::Unknown),
        are_exact,
    }
}
