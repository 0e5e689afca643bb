//! `sequence_match(pattern, event_time, seq, condition1, …)`: whether each group's events hold a
//! pattern. What a pattern is is left to the journey.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use footfall_journey::Hit;
use footfall_journey::pattern::Pattern;

use super::aggregate::Question;
use super::hits::Ordered;
use super::texts::Texts;

#[derive(Debug)]
pub(super) struct SequenceMatch(Pattern);

impl Question<0> for SequenceMatch {
    const NAME: &'static str = "sequence_match";
    const USAGE: &'static str = "sequence_match('(?1)(?t<=3600)(?2)', event_time, seq, \
                                 event_name = 'view_item', event_name = 'purchase')";
    const CONSTANTS: usize = 1;

    fn parse(constants: &[ScalarValue], conditions: usize) -> Result<Self, String> {
        let pattern = constants[0].try_as_str().flatten().ok_or("the pattern is no text")?;
        Pattern::parse(pattern, conditions).map(Self).map_err(|error| error.to_string())
    }

    fn data_type(_: usize) -> DataType {
        DataType::Boolean
    }

    fn answer(&self, groups: &Ordered<0>, _: &Texts) -> Result<ArrayRef> {
        let mut hits: Vec<Hit> = Vec::new();
        let matches = groups.groups().map(|rows| {
            hits.clear();
            hits.extend(rows.iter().map(|row| row.hit));
            Some(self.0.matches(&hits))
        });
        Ok(Arc::new(matches.collect::<BooleanArray>()))
    }
}
