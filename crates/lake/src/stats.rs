//! What a file's entry in the table's log says of its rows, so that readers can pass it over.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{max, max_string, min, min_string};
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use footfall_event::Micros;
use serde_json::{Map, Value, json};

/// A longer text is left out: cut bounds need care, and readers gain little.
const TEXT_BYTES_MAX: usize = 64;

/// The bounds of a file's columns, gathered batch by batch.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    rows: usize,
    columns: Vec<(String, Bounds)>,
}

#[derive(Debug, Default)]
struct Bounds {
    nulls: usize,
    min: Option<Bound>,
    max: Option<Bound>,
    /// A text too long to be a bound was among the values.
    unbounded: bool,
}

#[derive(Clone, Debug, PartialEq, PartialOrd)]
enum Bound {
    Text(String),
    Whole(i64),
    Time(i64),
}

impl Stats {
    pub fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows();
        if self.columns.is_empty() {
            let schema = batch.schema();
            let names = schema.fields().iter().map(|field| field.name().clone());
            self.columns = names.map(|name| (name, Bounds::default())).collect();
        }
        for (column, (_, bounds)) in batch.columns().iter().zip(&mut self.columns) {
            bounds.add(column);
        }
    }

    /// The `stats` of Delta's `add` action: a JSON text.
    pub fn to_json(&self) -> String {
        let (mut least, mut greatest, mut nulls) = (Map::new(), Map::new(), Map::new());
        for (name, bounds) in &self.columns {
            nulls.insert(name.clone(), json!(bounds.nulls));
            if let (Some(min), Some(max), false) = (&bounds.min, &bounds.max, bounds.unbounded) {
                least.insert(name.clone(), min.to_json());
                greatest.insert(name.clone(), max.to_json());
            }
        }
        let rows = self.rows;
        json!({"numRecords": rows, "minValues": least, "maxValues": greatest, "nullCount": nulls})
            .to_string()
    }
}

impl Bounds {
    fn add(&mut self, column: &dyn Array) {
        self.nulls += column.null_count();
        if column.null_count() == column.len() {
            return;
        }
        let (least, greatest) = match column.data_type() {
            DataType::Utf8 => {
                let texts = column.as_string::<i32>();
                let bound = |text: Option<&str>| text.map(|text| Bound::Text(text.to_owned()));
                (bound(min_string(texts)), bound(max_string(texts)))
            }
            DataType::Int64 => {
                let wholes = column.as_primitive::<Int64Type>();
                (min(wholes).map(Bound::Whole), max(wholes).map(Bound::Whole))
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let times = column.as_primitive::<TimestampMicrosecondType>();
                (min(times).map(Bound::Time), max(times).map(Bound::Time))
            }
            _ => return,
        };
        let is_long = |bound: &Option<Bound>| matches!(bound, Some(Bound::Text(text)) if text.len() > TEXT_BYTES_MAX);
        self.unbounded |= is_long(&least) || is_long(&greatest);
        if self.min.is_none() || least < self.min {
            self.min = least;
        }
        if greatest > self.max {
            self.max = greatest;
        }
    }
}

impl Bound {
    fn to_json(&self) -> Value {
        match self {
            Bound::Text(text) => json!(text),
            Bound::Whole(whole) => json!(whole),
            Bound::Time(micros) => json!(Micros(*micros).to_string()),
        }
    }
}
