//! `funnel_trials(spec, event_time, seq, same, breakdown, step1, …)`: the trials of each visitor.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use footfall_journey::funnel::{Event, Order};

use super::super::aggregate::{Question, wrong};
use super::super::hits::{Ordered, Row};
use super::super::texts::Texts;
use super::state::{Trials, trials_type};
use super::{FUNNEL, Spec};

#[derive(Debug)]
pub(in super::super) struct FunnelTrials(Spec);

impl Question<2> for FunnelTrials {
    const NAME: &'static str = "funnel_trials";
    const CALLED: &'static str = FUNNEL.name;
    const USAGE: &'static str = FUNNEL.usage;
    const CONSTANTS: usize = 1;

    fn parse(constants: &[ScalarValue], _: usize) -> Result<Self, String> {
        let spec = constants[0].try_as_str().flatten().ok_or("its first argument is no text")?;
        serde_json::from_str(spec).map(Self).map_err(|error| error.to_string())
    }

    fn keeps_all(&self) -> bool {
        self.0.funnel.order == Order::Strict
    }

    fn data_type(_: usize) -> DataType {
        trials_type()
    }

    fn answer(&self, groups: &Ordered<2>, texts: &Texts) -> Result<ArrayRef> {
        let Spec { funnel, has_same, .. } = &self.0;
        let event = |row: &Row<2>| {
            let [same, label] = row.texts;
            // A text that is missing has nothing in common with another that is.
            Event { hit: row.hit, same: if *has_same { same } else { 0 }, label }
        };
        let mut column = Trials::new(funnel.steps.len());
        for rows in groups.groups() {
            let events: Vec<Event> = rows.iter().map(event).collect();
            let trials =
                funnel.trials(&events).map_err(|error| wrong::<Self, 2>(error.to_string()))?;
            for trial in &trials {
                column.push(texts.text(trial.label), &trial.times_us);
            }
            column.end_group(trials.len());
        }
        Ok(column.finish())
    }
}
