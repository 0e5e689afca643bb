//! `funnel_report(spec, trials, horizon)`: all trials counted, a row per breakdown and step.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Builder, Int64Builder, ListArray, StringBuilder, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimestampMicrosecondType};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_datafusion_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use serde::{Deserialize, Serialize};

use super::super::aggregate::{fields, list_of};
use super::Spec;
use super::state::{Column, Outcome, furthest, outcome};

#[derive(Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct FunnelReport(Signature);

impl Default for FunnelReport {
    fn default() -> Self {
        Self(Signature::any(3, Volatility::Immutable))
    }
}

fn columns() -> Fields {
    fields(&[
        ("step", DataType::Int64),
        ("name", DataType::Utf8),
        ("breakdown", DataType::Utf8),
        ("entered", DataType::Int64),
        ("converted", DataType::Int64),
        ("still_open", DataType::Int64),
        ("lost", DataType::Int64),
        ("share_of_previous", DataType::Float64),
        ("share_of_first", DataType::Float64),
        ("median_ms", DataType::Int64),
        ("p90_ms", DataType::Int64),
        ("median_total_ms", DataType::Int64),
        ("p90_total_ms", DataType::Int64),
    ])
}

impl AggregateUDFImpl for FunnelReport {
    fn name(&self) -> &str {
        "funnel_report"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(list_of(DataType::Struct(columns())))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[counts]", args.name), DataType::Binary, true))])
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Counts::default()))
    }
}

/// The trials so far, by breakdown and step.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Counts {
    spec: Option<String>,
    by_breakdown: BTreeMap<Option<String>, Vec<Count>>,
    /// Times that are kept.
    times: usize,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Count {
    entered: i64,
    converted: i64,
    still_open: i64,
    /// Microseconds from the step before in the chain, and from the entry.
    since_previous_us: Vec<i64>,
    since_entry_us: Vec<i64>,
}

impl Counts {
    fn add(&mut self, breakdown: Option<&str>, times_us: &[Option<i64>], outcome: Outcome) {
        // A breakdown has many trials: its name is copied for the first alone.
        let key = breakdown.map(str::to_owned);
        let counts = self.by_breakdown.entry(key).or_default();
        counts.resize_with(times_us.len().max(counts.len()), Count::default);
        let (last, mut previous_us) = (furthest(times_us), None);
        for (step, time_us) in times_us.iter().enumerate() {
            let Some(time_us) = *time_us else { continue };
            let count = &mut counts[step];
            count.entered += 1;
            if step < last || outcome == Outcome::Converted {
                count.converted += 1;
            } else if outcome == Outcome::StillOpen {
                count.still_open += 1;
            }
            if let (Some(previous_us), Some(entry_us)) = (previous_us, times_us[0]) {
                count.since_previous_us.push(time_us - previous_us);
                count.since_entry_us.push(time_us - entry_us);
                self.times += 2;
            }
            previous_us = Some(time_us);
        }
    }
}

impl Accumulator for Counts {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let trials = Column::of(&values[1]);
        let rows = values[1].len();
        if rows == 0 {
            return Ok(());
        }
        let text = ScalarValue::try_from_array(&values[0], 0)?;
        let text = text.try_as_str().flatten().unwrap_or_default().to_owned();
        let spec = spec(&text)?;
        self.spec.get_or_insert(text);
        let horizon = values[2].as_primitive::<TimestampMicrosecondType>();
        for row in 0..rows {
            let horizon_us = horizon.is_valid(row).then(|| horizon.value(row));
            for (breakdown, times_us) in trials.trials(row) {
                let outcome = outcome(&times_us, spec.funnel.window_us, horizon_us);
                self.add(breakdown, &times_us, outcome);
            }
        }
        Ok(())
    }

    /// The breakdowns with most entries first, then by name. Without any trial there is one of 0.
    fn evaluate(&mut self) -> Result<ScalarValue> {
        let Some(spec) = self.spec.as_deref().map(spec).transpose()? else {
            return rows(Vec::new(), &[]);
        };
        let mut counts = std::mem::take(&mut self.by_breakdown);
        if counts.is_empty() {
            counts.insert(None, Vec::new());
        }
        let mut counts: Vec<(Option<String>, Vec<Count>)> = counts.into_iter().collect();
        for (_, steps) in &mut counts {
            steps.resize_with(spec.names.len(), Count::default);
        }
        counts.sort_by_key(|(_, steps)| std::cmp::Reverse(steps[0].entered));
        rows(counts, &names(&spec))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let bytes = postcard::to_stdvec(self).map_err(broken)?;
        Ok(vec![ScalarValue::Binary(Some(bytes))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for bytes in states[0].as_binary::<i32>().iter().flatten() {
            let other: Counts = postcard::from_bytes(bytes).map_err(broken)?;
            self.spec = self.spec.take().or(other.spec);
            self.times += other.times;
            for (breakdown, others) in other.by_breakdown {
                let counts = self.by_breakdown.entry(breakdown).or_default();
                counts.resize_with(others.len().max(counts.len()), Count::default);
                for (count, other) in counts.iter_mut().zip(others) {
                    count.entered += other.entered;
                    count.converted += other.converted;
                    count.still_open += other.still_open;
                    count.since_previous_us.extend(other.since_previous_us);
                    count.since_entry_us.extend(other.since_entry_us);
                }
            }
        }
        Ok(())
    }

    fn size(&self) -> usize {
        // A vector that grows has up to twice its length.
        self.times * 2 * size_of::<i64>() + self.by_breakdown.len() * size_of::<Count>() * 8
    }
}

/// What the steps are called. In any order there is no step behind the first that has a number.
fn names(spec: &Spec) -> Vec<(String, bool)> {
    let steps = spec.names.len();
    let is_any = spec.funnel.order == footfall_journey::funnel::Order::Any;
    let names = spec.names.iter().zip(&spec.funnel.steps).enumerate();
    names
        .map(|(number, (name, step))| match is_any && number > 0 {
            true => (format!("{} of {steps}", number + 1), false),
            false => (name.clone(), step.optional),
        })
        .collect()
}

fn rows(
    counts: Vec<(Option<String>, Vec<Count>)>,
    names: &[(String, bool)],
) -> Result<ScalarValue> {
    let (mut steps, mut step_names) = (Int64Builder::new(), StringBuilder::new());
    let mut breakdowns = StringBuilder::new();
    let mut numbers: [Int64Builder; 4] = Default::default();
    let mut shares: [Float64Builder; 2] = Default::default();
    let mut times: [Int64Builder; 4] = Default::default();
    let mut length = 0;
    for (breakdown, mut counts) in counts {
        let (first, mut previous) = (counts[0].entered, None);
        for (step, (count, (name, is_optional))) in counts.iter_mut().zip(names).enumerate() {
            steps.append_value(step as i64 + 1);
            step_names.append_value(name);
            breakdowns.append_option(breakdown.as_deref());
            let lost = count.entered - count.converted - count.still_open;
            let four = [count.entered, count.converted, count.still_open, lost];
            for (builder, number) in numbers.iter_mut().zip(four) {
                builder.append_value(number);
            }
            let share = |of: i64| (of > 0).then(|| count.entered as f64 / of as f64);
            shares[0].append_option(previous.and_then(share));
            shares[1].append_option(share(first));
            let (since_previous, since_entry) =
                (&mut count.since_previous_us, &mut count.since_entry_us);
            times[0].append_option(quantile_ms(since_previous, 1, 2));
            times[1].append_option(quantile_ms(since_previous, 9, 10));
            times[2].append_option(quantile_ms(since_entry, 1, 2));
            times[3].append_option(quantile_ms(since_entry, 9, 10));
            // What may be passed over is nothing to compare the next step with.
            if !is_optional {
                previous = Some(count.entered);
            }
            length += 1;
        }
    }
    let mut entries: Vec<ArrayRef> = vec![
        Arc::new(steps.finish()),
        Arc::new(step_names.finish()),
        Arc::new(breakdowns.finish()),
    ];
    entries.extend(numbers.iter_mut().map(|it| Arc::new(it.finish()) as ArrayRef));
    entries.extend(shares.iter_mut().map(|it| Arc::new(it.finish()) as ArrayRef));
    entries.extend(times.iter_mut().map(|it| Arc::new(it.finish()) as ArrayRef));
    let rows = StructArray::new(columns(), entries, None);
    let entry = Arc::new(Field::new_list_field(DataType::Struct(columns()), true));
    let offsets = OffsetBuffer::from_lengths([length]);
    Ok(ScalarValue::List(Arc::new(ListArray::new(entry, offsets, Arc::new(rows), None))))
}

/// The least of `times_us` that at least the given share of them do not exceed (nearest rank), in
/// milliseconds, cut.
fn quantile_ms(times_us: &mut [i64], share: usize, of: usize) -> Option<i64> {
    let rank = (times_us.len() * share).div_ceil(of).checked_sub(1)?;
    let (_, time_us, _) = times_us.select_nth_unstable(rank);
    Some(*time_us / 1_000)
}

fn spec(text: &str) -> Result<Spec> {
    serde_json::from_str(text).map_err(|error| exec_datafusion_err!("{error}"))
}

fn broken(error: postcard::Error) -> DataFusionError {
    exec_datafusion_err!("counts of a funnel: {error}")
}
