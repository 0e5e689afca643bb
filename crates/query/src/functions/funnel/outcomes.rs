//! `funnel_outcomes(spec, trials, horizon)`: each trial with how far it came and how it ended.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Builder, ListArray, StringBuilder, StructArray,
    TimestampMicrosecondBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, TimestampMicrosecondType};
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use footfall_event::schema::time_type;

use super::super::aggregate::{fields, list_of};
use super::Spec;
use super::state::{Column, furthest, outcome};

#[derive(Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct FunnelOutcomes(Signature);

impl Default for FunnelOutcomes {
    fn default() -> Self {
        Self(Signature::any(3, Volatility::Immutable))
    }
}

fn columns() -> Fields {
    fields(&[
        ("breakdown", DataType::Utf8),
        ("entered_at", time_type()),
        ("furthest_step", DataType::Int64),
        ("reached_at", time_type()),
        ("outcome", DataType::Utf8),
        ("times", list_of(time_type())),
    ])
}

impl ScalarUDFImpl for FunnelOutcomes {
    fn name(&self) -> &str {
        "funnel_outcomes"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(list_of(DataType::Struct(columns())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let [ColumnarValue::Scalar(spec), trials, horizon] = args.args.as_slice() else {
            return Err(exec_datafusion_err!("funnel_outcomes() is called by funnel_visitors()"));
        };
        let spec: Spec = serde_json::from_str(spec.try_as_str().flatten().unwrap_or_default())
            .map_err(|error| exec_datafusion_err!("{error}"))?;
        let trials = trials.to_array(rows)?;
        let horizon = horizon.to_array(rows)?;
        let horizon = horizon.as_primitive::<TimestampMicrosecondType>();
        let trials = Column::of(&trials);
        let window_us = spec.funnel.window_us;
        let (mut breakdowns, mut outcomes) = (StringBuilder::new(), StringBuilder::new());
        let mut furthest_steps = Int64Builder::new();
        let times = || TimestampMicrosecondBuilder::new().with_data_type(time_type());
        let (mut entered, mut reached, mut all) = (times(), times(), times());
        let (mut lengths, mut count) = (Vec::with_capacity(rows), 0);
        for row in 0..rows {
            let before = count;
            let horizon_us = horizon.is_valid(row).then(|| horizon.value(row));
            for (breakdown, times_us) in trials.trials(row) {
                let last = furthest(&times_us);
                breakdowns.append_option(breakdown);
                outcomes.append_value(outcome(&times_us, window_us, horizon_us).name());
                furthest_steps.append_value(last as i64 + 1);
                entered.append_option(times_us[0]);
                reached.append_option(times_us[last]);
                for time_us in times_us {
                    all.append_option(time_us);
                }
                count += 1;
            }
            lengths.push(count - before);
        }
        let steps = OffsetBuffer::from_repeated_length(spec.funnel.steps.len(), count);
        let time_entry = Arc::new(Field::new_list_field(time_type(), true));
        let all: ArrayRef =
            Arc::new(ListArray::new(time_entry, steps, Arc::new(all.finish()), None));
        let entries: Vec<ArrayRef> = vec![
            Arc::new(breakdowns.finish()),
            Arc::new(entered.finish()),
            Arc::new(furthest_steps.finish()),
            Arc::new(reached.finish()),
            Arc::new(outcomes.finish()),
            all,
        ];
        let entries = StructArray::new(columns(), entries, None);
        let entry = Arc::new(Field::new_list_field(DataType::Struct(columns()), true));
        let offsets = OffsetBuffer::from_lengths(lengths);
        let lists = ListArray::new(entry, offsets, Arc::new(entries), None);
        Ok(ColumnarValue::Array(Arc::new(lists)))
    }
}
