//! What a trial's times say: how far it came, and whether it is over. And the trials as a column.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, StringArray, StringBuilder, StructArray,
    TimestampMicrosecondArray, TimestampMicrosecondBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, TimestampMicrosecondType};
use footfall_event::schema::time_type;

use super::super::aggregate::{fields, list_of};

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Converted,
    Lost,
    StillOpen,
}

impl Outcome {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Outcome::Converted => "converted",
            Outcome::Lost => "lost",
            Outcome::StillOpen => "still_open",
        }
    }
}

/// The number of the furthest step that was reached, from 0.
pub(super) fn furthest(times_us: &[Option<i64>]) -> usize {
    times_us.iter().rposition(Option::is_some).unwrap_or_default()
}

/// All is known up to `horizon_us`; without it nothing is.
pub(super) fn outcome(
    times_us: &[Option<i64>],
    window_us: i64,
    horizon_us: Option<i64>,
) -> Outcome {
    if furthest(times_us) + 1 == times_us.len() {
        return Outcome::Converted;
    }
    let until_us = times_us[0].unwrap_or_default().saturating_add(window_us);
    match horizon_us.is_some_and(|horizon_us| until_us < horizon_us) {
        true => Outcome::Lost,
        false => Outcome::StillOpen,
    }
}

fn entry_fields() -> Fields {
    fields(&[("breakdown", DataType::Utf8), ("times", list_of(time_type()))])
}

/// The type of a column of trials.
pub(super) fn trials_type() -> DataType {
    list_of(DataType::Struct(entry_fields()))
}

/// Builds a column of trials.
pub(super) struct Trials {
    steps: usize,
    breakdowns: StringBuilder,
    times: TimestampMicrosecondBuilder,
    lengths: Vec<usize>,
}

impl Trials {
    pub(super) fn new(steps: usize) -> Self {
        let times = TimestampMicrosecondBuilder::new().with_data_type(time_type());
        Self { steps, breakdowns: StringBuilder::new(), times, lengths: Vec::new() }
    }

    pub(super) fn push(&mut self, breakdown: Option<&str>, times_us: &[Option<i64>]) {
        self.breakdowns.append_option(breakdown);
        for time_us in times_us {
            self.times.append_option(*time_us);
        }
    }

    /// Ends a group of so many trials.
    pub(super) fn end_group(&mut self, trials: usize) {
        self.lengths.push(trials);
    }

    pub(super) fn finish(mut self) -> ArrayRef {
        let breakdowns = self.breakdowns.finish();
        let time_offsets = OffsetBuffer::from_repeated_length(self.steps, breakdowns.len());
        let time_entry = Arc::new(Field::new_list_field(time_type(), true));
        let times = ListArray::new(time_entry, time_offsets, Arc::new(self.times.finish()), None);
        let entries: Vec<ArrayRef> = vec![Arc::new(breakdowns), Arc::new(times)];
        let trials = StructArray::new(entry_fields(), entries, None);
        let entry = Arc::new(Field::new_list_field(DataType::Struct(entry_fields()), true));
        let offsets = OffsetBuffer::from_lengths(self.lengths);
        Arc::new(ListArray::new(entry, offsets, Arc::new(trials), None))
    }
}

/// Reads a column of trials, row by row.
pub(super) struct Column<'a> {
    lists: &'a ListArray,
    breakdowns: &'a StringArray,
    steps: &'a ListArray,
    times: &'a TimestampMicrosecondArray,
}

impl<'a> Column<'a> {
    pub(super) fn of(column: &'a ArrayRef) -> Self {
        let lists = column.as_list::<i32>();
        let entries = lists.values().as_struct();
        let steps = entries.column(1).as_list::<i32>();
        Self {
            lists,
            breakdowns: entries.column(0).as_string::<i32>(),
            steps,
            times: steps.values().as_primitive::<TimestampMicrosecondType>(),
        }
    }

    /// The trials of a row, each with its breakdown and its times.
    pub(super) fn trials(
        &self,
        row: usize,
    ) -> impl Iterator<Item = (Option<&'a str>, Vec<Option<i64>>)> + use<'a, '_> {
        let offsets = self.lists.value_offsets();
        let is_there = self.lists.is_valid(row);
        let range = if is_there { offsets[row]..offsets[row + 1] } else { 0..0 };
        range.map(move |trial| {
            let trial = trial as usize;
            let breakdown = self.breakdowns;
            let breakdown = breakdown.is_valid(trial).then(|| breakdown.value(trial));
            let steps = self.steps.value_offsets();
            let steps = steps[trial] as usize..steps[trial + 1] as usize;
            let time = |step: usize| self.times.is_valid(step).then(|| self.times.value(step));
            (breakdown, steps.map(time).collect())
        })
    }
}
