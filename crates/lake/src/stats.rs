//! What a file's entry in the table's log says of its rows, so that readers can pass it over: the
//! bounds that Parquet's writer has found anyway, in Delta's JSON.

use footfall_event::Micros;
use parquet::basic::LogicalType;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::statistics::{Statistics, ValueStatistics};
use serde_json::{Map, Value, json};

/// Of a longer text the file itself has a cut bound, and the entry has none: cut bounds need care,
/// and readers gain little.
pub(crate) const TEXT_BYTES_MAX: usize = 64;

/// The `stats` of Delta's `add` action: a JSON text. Columns within lists have none.
pub(crate) fn stats(file: &ParquetMetaData) -> String {
    let (mut least, mut greatest, mut nulls) = (Map::new(), Map::new(), Map::new());
    let rows = file.file_metadata().num_rows();
    let columns = file.file_metadata().schema_descr().columns();
    for (number, column) in columns.iter().enumerate() {
        let [name] = column.path().parts() else { continue };
        let chunks = file.row_groups().iter().map(|group| group.column(number));
        let found = chunks.map(Bounds::of).try_fold(Bounds::default(), |all, chunk| {
            // What is unknown of a part is unknown of the whole.
            Some(all.with(chunk?))
        });
        let Some(found) = found else { continue };
        nulls.insert(name.clone(), json!(found.nulls));
        if let Some((min, max)) = found.ends.filter(|_| !found.unbounded) {
            least.insert(name.clone(), min.to_json());
            greatest.insert(name.clone(), max.to_json());
        }
    }
    json!({"numRecords": rows, "minValues": least, "maxValues": greatest, "nullCount": nulls})
        .to_string()
}

/// What is known of a column's values.
#[derive(Debug, Default)]
struct Bounds {
    nulls: u64,
    /// `None` where all are NULL, or of a type without bounds.
    ends: Option<(Bound, Bound)>,
    /// A text too long to be a bound is one.
    unbounded: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bound {
    Text(String),
    Whole(i64),
    Time(i64),
}

impl Bounds {
    /// `None` where the file does not tell.
    fn of(chunk: &ColumnChunkMetaData) -> Option<Bounds> {
        let statistics = chunk.statistics()?;
        let ends = match (statistics, chunk.column_descr().logical_type_ref()) {
            (Statistics::ByteArray(texts), Some(LogicalType::String)) => ends_of(texts, |text| {
                Some(Bound::Text(std::str::from_utf8(text.data()).ok()?.to_owned()))
            }),
            (Statistics::Int64(wholes), None) => {
                ends_of(wholes, |whole| Some(Bound::Whole(*whole)))
            }
            (Statistics::Int64(times), Some(LogicalType::Timestamp { .. })) => {
                ends_of(times, |time| Some(Bound::Time(*time)))
            }
            _ => None,
        };
        let is_cut = !statistics.min_is_exact() || !statistics.max_is_exact();
        // Some texts cannot be cut, and are whole whatever their length.
        let is_long = |(min, max): &(Bound, Bound)| min.is_long() || max.is_long();
        let unbounded = ends.as_ref().is_some_and(|ends| is_cut || is_long(ends));
        Some(Bounds { nulls: statistics.null_count_opt()?, ends, unbounded })
    }

    fn with(self, other: Bounds) -> Bounds {
        let ends = match (self.ends, other.ends) {
            (Some((min, max)), Some((least, greatest))) => {
                Some((min.min(least), max.max(greatest)))
            }
            (ends, None) | (None, ends) => ends,
        };
        let unbounded = self.unbounded || other.unbounded;
        Bounds { nulls: self.nulls + other.nulls, ends, unbounded }
    }
}

fn ends_of<T>(
    values: &ValueStatistics<T>,
    bound: impl Fn(&T) -> Option<Bound>,
) -> Option<(Bound, Bound)> {
    Some((bound(values.min_opt()?)?, bound(values.max_opt()?)?))
}

impl Bound {
    fn is_long(&self) -> bool {
        matches!(self, Bound::Text(text) if text.len() > TEXT_BYTES_MAX)
    }

    fn to_json(&self) -> Value {
        match self {
            Bound::Text(text) => json!(text),
            Bound::Whole(whole) => json!(whole),
            Bound::Time(micros) => json!(Micros(*micros).to_string()),
        }
    }
}
