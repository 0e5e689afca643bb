//! `need_episode(event_time, seq, event_id, order_id, page_path, page_type, raised, found, click,
//! conversion)`: the episode of a need in each session; its fields are NULL where there is none.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Int64Builder, StringBuilder, StructArray, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Fields};
use datafusion::common::{Result, ScalarValue};
use footfall_event::schema::time_type;
use footfall_journey::need::{CONVERSION, Event, episode};

use super::super::aggregate::{Question, fields};
use super::super::hits::{Ordered, Row};
use super::super::texts::Texts;
use super::NEEDS;

#[derive(Debug)]
pub(in super::super) struct NeedEpisode;

fn columns() -> Fields {
    fields(&[
        ("raised_at", time_type()),
        ("raised_path", DataType::Utf8),
        ("raised_page_type", DataType::Utf8),
        ("found_at", time_type()),
        ("converted", DataType::Boolean),
        ("click_count", DataType::Int64),
    ])
}

impl Question<4> for NeedEpisode {
    const NAME: &'static str = "need_episode";
    const CALLED: &'static str = NEEDS.name;
    const USAGE: &'static str = NEEDS.usage;
    const CONSTANTS: usize = 0;

    fn parse(_: &[ScalarValue], conditions: usize) -> Result<Self, String> {
        match conditions == CONVERSION + 1 {
            true => Ok(Self),
            false => Err(format!("{conditions} conditions, not 4")),
        }
    }

    fn data_type(_: usize) -> DataType {
        DataType::Struct(columns())
    }

    fn answer(&self, groups: &Ordered<4>, texts: &Texts) -> Result<ArrayRef> {
        let times = || TimestampMicrosecondBuilder::new().with_data_type(time_type());
        let (mut raised_at, mut found_at) = (times(), times());
        let (mut paths, mut page_types) = (StringBuilder::new(), StringBuilder::new());
        let (mut converted, mut clicks) = (BooleanBuilder::new(), Int64Builder::new());
        let mut rows: Vec<Row<4>> = Vec::new();
        for group in groups.groups() {
            rows.clear();
            rows.extend(group);
            // The order of a session goes on to the ids.
            let order = |row: &Row<4>| (row.hit.time_us, row.hit.seq, texts.text(row.texts[0]));
            rows.sort_by(|a, b| order(a).cmp(&order(b)));
            let event = |row: &Row<4>| Event { hit: row.hit, order_id: texts.text(row.texts[1]) };
            let events: Vec<Event<'_>> = rows.iter().map(event).collect();
            let found = episode(&events);
            let raising = found.map(|found| rows[found.raised]);
            let text = |text: usize| raising.and_then(|row| texts.text(row.texts[text]));
            raised_at.append_option(raising.map(|row| row.hit.time_us));
            paths.append_option(text(2));
            page_types.append_option(text(3));
            found_at.append_option(found.and_then(|found| found.found_us));
            converted.append_option(found.map(|found| found.converted_us.is_some()));
            clicks.append_option(found.map(|found| found.clicks));
        }
        let entries: Vec<ArrayRef> = vec![
            Arc::new(raised_at.finish()),
            Arc::new(paths.finish()),
            Arc::new(page_types.finish()),
            Arc::new(found_at.finish()),
            Arc::new(converted.finish()),
            Arc::new(clicks.finish()),
        ];
        Ok(Arc::new(StructArray::new(columns(), entries, None)))
    }
}
