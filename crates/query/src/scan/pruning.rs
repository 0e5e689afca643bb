//! Which files a query need not open: those of days that its conditions leave out, and those whose
//! bounds show that no row fulfils them. What is inside of a file is left to the Parquet reader.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, RecordBatch, UInt64Array,
};
use datafusion::arrow::datatypes::Schema;
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, Result, ToDFSchema};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::scalar::ScalarValue;
use footfall_lake::DataFile;

use super::{LakeTable, statistics};

/// The files of days that fulfil all of `conditions`, which are about the day alone.
pub(super) fn by_day<'f>(
    table: &LakeTable,
    session: &dyn Session,
    conditions: &[&Expr],
    files: Vec<&'f DataFile>,
) -> Result<Vec<&'f DataFile>> {
    let Some(condition) = conjunction(conditions.iter().copied().cloned()) else {
        return Ok(files);
    };
    let day = table.version.table().partition_column();
    let schema = Arc::new(Schema::new(vec![table.schema.field_with_name(day)?.clone()]));
    let mut days: Vec<Option<i32>> = files.iter().map(|file| file.day.map(|day| day.0)).collect();
    days.dedup();
    let batch =
        RecordBatch::try_new(schema.clone(), vec![Arc::new(Date32Array::from(days.clone()))])?;
    let condition = session.create_physical_expr(condition, &schema.to_dfschema()?)?;
    let kept = condition.evaluate(&batch)?.into_array(batch.num_rows())?;
    // As after WHERE, what is neither true nor false is left out.
    let kept = kept.as_boolean();
    let mut at = 0;
    let is_kept = |file: &&DataFile| {
        let day = file.day.map(|day| day.0);
        while days.get(at).is_some_and(|other| *other != day) {
            at += 1;
        }
        at < kept.len() && kept.is_valid(at) && kept.value(at)
    };
    Ok(files.into_iter().filter(is_kept).collect())
}

/// The files in which a row may fulfil all of `conditions`.
pub(super) fn by_bounds<'f>(
    table: &LakeTable,
    session: &dyn Session,
    conditions: &[&Expr],
    files: Vec<&'f DataFile>,
) -> Result<Vec<&'f DataFile>> {
    let Some(condition) = conjunction(conditions.iter().copied().cloned()) else {
        return Ok(files);
    };
    if files.is_empty() {
        return Ok(files);
    }
    let schema = table.schema.clone();
    let condition = session.create_physical_expr(condition, &schema.clone().to_dfschema()?)?;
    let Ok(predicate) =
        PruningPredicateBuilder::new().with_file_schema(schema).try_build(condition)
    else {
        return Ok(files);
    };
    if predicate.always_true() {
        return Ok(files);
    }
    let kept = predicate.prune(&Bounds { table, files: &files })?;
    Ok(files.into_iter().zip(kept).filter_map(|(file, is_kept)| is_kept.then_some(file)).collect())
}

/// What the log says of `files`, one value a file.
struct Bounds<'f> {
    table: &'f LakeTable,
    files: &'f [&'f DataFile],
}

impl Bounds<'_> {
    fn place(&self, column: &Column) -> Option<usize> {
        self.table.schema.index_of(column.name()).ok()
    }

    fn is_day(&self, column: &Column) -> bool {
        column.name() == self.table.version.table().partition_column()
    }

    fn values(
        &self,
        column: &Column,
        value: impl Fn(&DataFile, usize) -> ScalarValue,
    ) -> Option<ArrayRef> {
        let place = self.place(column)?;
        ScalarValue::iter_to_array(self.files.iter().map(|file| value(file, place))).ok()
    }

    fn days(&self) -> ArrayRef {
        Arc::new(Date32Array::from_iter(self.files.iter().map(|file| file.day.map(|day| day.0))))
    }
}

impl PruningStatistics for Bounds<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        if self.is_day(column) {
            return Some(self.days());
        }
        let data_type = self.table.schema.field(self.place(column)?).data_type();
        self.values(column, |file, place| statistics::scalar(&file.column(place).least, data_type))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        if self.is_day(column) {
            return Some(self.days());
        }
        let data_type = self.table.schema.field(self.place(column)?).data_type();
        self.values(column, |file, place| {
            statistics::scalar(&file.column(place).greatest, data_type)
        })
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let place = self.place(column)?;
        let nulls = |file: &&DataFile| match (self.is_day(column), file.day) {
            (true, Some(_)) => Some(0),
            (true, None) => file.rows,
            (false, _) => file.column(place).nulls,
        };
        Some(Arc::new(UInt64Array::from_iter(self.files.iter().map(nulls))))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(UInt64Array::from_iter(self.files.iter().map(|file| file.rows))))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
