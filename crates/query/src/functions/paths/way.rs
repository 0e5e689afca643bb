//! `journey_path(direction, depth, event_time, seq, label, conditions)`: the labels on the way from, or to, the first event that fulfils `anchor`; NULL where none does, or none of its events has a
//! label. An event without a label is no part of a way.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue};
use footfall_journey::path;

use super::super::aggregate::{Question, list_of};
use super::super::hits::Ordered;
use super::super::texts::Texts;
use super::PATHS;

#[derive(Debug)]
pub(in super::super) struct JourneyPath {
    is_start: bool,
    depth: usize,
}

impl Question<1> for JourneyPath {
    const NAME: &'static str = "journey_path";
    const CALLED: &'static str = PATHS.name;
    const USAGE: &'static str = PATHS.usage;
    const CONSTANTS: usize = 2;

    fn parse(constants: &[ScalarValue], conditions: usize) -> Result<Self, String> {
        let direction = constants[0].try_as_str().flatten().ok_or("the direction is no text")?;
        let ScalarValue::Int64(Some(depth)) = constants[1] else {
            return Err("the depth is no whole number".to_owned());
        };
        match conditions == 2 {
            true => Ok(Self { is_start: direction == "starting", depth: depth as usize }),
            false => Err(format!("{conditions} conditions, not 2")),
        }
    }

    fn data_type(_: usize) -> DataType {
        list_of(DataType::Utf8)
    }

    fn answer(&self, groups: &Ordered<1>, texts: &Texts) -> Result<ArrayRef> {
        // The condition that decides the order of events at one time comes first.
        let (anchor, labelled) = if self.is_start { (0, 1) } else { (1, 0) };
        let entry = Field::new_list_field(DataType::Utf8, true);
        let mut paths = ListBuilder::new(StringBuilder::new()).with_field(entry);
        for rows in groups.groups() {
            let anchor = rows.iter().position(|row| row.hit.fulfils(anchor));
            let rows = anchor.map_or(&[][..], |anchor| match self.is_start {
                true => &rows[anchor..],
                false => &rows[..=anchor],
            });
            let labelled = rows.iter().filter(|row| row.hit.fulfils(labelled));
            let labels: Vec<u32> = labelled.map(|row| row.texts[0]).collect();
            let way = match self.is_start {
                true => path::first(&labels, self.depth),
                false => path::last(&labels, self.depth),
            };
            for label in &way {
                paths.values().append_option(texts.text(*label));
            }
            paths.append(!way.is_empty());
        }
        Ok(Arc::new(paths.finish()))
    }
}
