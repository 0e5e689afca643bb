//! `window_funnel(window, mode, event_time, seq, step1, …)`: how far each group came, over all its
//! entries; `window_funnel_times` when each step was reached, by the entry that came furthest. The
//! search is left to the journey.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, ListBuilder, TimestampMicrosecondBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue};
use footfall_event::schema::time_type;
use footfall_journey::Hit;
use footfall_journey::funnel::{Entry, Event, Funnel, Order, STEPS_MAX, Step, level};

use super::aggregate::{Question, list_of, wrong};
use super::duration;
use super::hits::Ordered;
use super::texts::Texts;

/// `window_funnel`.
#[derive(Debug)]
pub(super) struct Level(Asked);

/// `window_funnel_times`.
#[derive(Debug)]
pub(super) struct Times(Asked);

#[derive(Debug)]
struct Asked {
    window_us: i64,
    order: Order,
    steps: usize,
}

/// The names of the orders.
pub(super) const ORDERS: [(&str, Order); 3] =
    [("ordered", Order::Ordered), ("strict", Order::Strict), ("any", Order::Any)];

pub(super) fn window_us(window: &ScalarValue) -> Result<i64, String> {
    match duration::micros(window)? {
        window_us if window_us > 0 => Ok(window_us),
        _ => Err("the window is not longer than 0".to_owned()),
    }
}

pub(super) fn order(name: &str) -> Result<Order, String> {
    let known = ORDERS.iter().find(|(known, _)| *known == name);
    known
        .map(|(_, order)| *order)
        .ok_or_else(|| format!("`{name}` is no mode: there are `ordered`, `strict` and `any`"))
}

impl Asked {
    fn parse(constants: &[ScalarValue], steps: usize) -> Result<Asked, String> {
        let mode = constants[1].try_as_str().flatten().ok_or("the mode is no text")?;
        Ok(Asked { window_us: window_us(&constants[0])?, order: order(mode)?, steps })
    }

    fn keeps_all(&self) -> bool {
        self.order == Order::Strict
    }
}

impl Question<0> for Level {
    const NAME: &'static str = "window_funnel";
    const USAGE: &'static str = "window_funnel(INTERVAL '1 hour', 'ordered', event_time, seq, \
                                 event_name = 'view_item', event_name = 'purchase')";
    const CONSTANTS: usize = 2;
    const CONDITIONS_MAX: usize = STEPS_MAX;

    fn parse(constants: &[ScalarValue], conditions: usize) -> Result<Self, String> {
        Asked::parse(constants, conditions).map(Level)
    }

    fn keeps_all(&self) -> bool {
        self.0.keeps_all()
    }

    fn data_type(_: usize) -> DataType {
        DataType::Int32
    }

    fn answer(&self, groups: &Ordered<0>, _: &Texts) -> Result<ArrayRef> {
        let Asked { window_us, order, steps } = self.0;
        let mut hits: Vec<Hit> = Vec::new();
        let levels = groups.groups().map(|rows| {
            hits.clear();
            hits.extend(rows.iter().map(|row| row.hit));
            level(&hits, order, window_us, steps).map(|level| level as i32)
        });
        let levels: Result<Vec<i32>, _> = levels.collect();
        let levels = levels.map_err(|error| wrong::<Self, 0>(error.to_string()))?;
        Ok(Arc::new(Int32Array::from(levels)))
    }
}

impl Question<0> for Times {
    const NAME: &'static str = "window_funnel_times";
    const USAGE: &'static str = "window_funnel_times(INTERVAL '1 hour', 'ordered', event_time, seq, \
                                 event_name = 'view_item', event_name = 'purchase')";
    const CONSTANTS: usize = 2;
    const CONDITIONS_MAX: usize = STEPS_MAX;

    fn parse(constants: &[ScalarValue], conditions: usize) -> Result<Self, String> {
        Asked::parse(constants, conditions).map(Times)
    }

    fn keeps_all(&self) -> bool {
        self.0.keeps_all()
    }

    fn data_type(_: usize) -> DataType {
        list_of(time_type())
    }

    /// The times of the furthest trial, the earliest of those; empty without an entry.
    fn answer(&self, groups: &Ordered<0>, _: &Texts) -> Result<ArrayRef> {
        let funnel = Funnel {
            order: self.0.order,
            entry: Entry::Every,
            window_us: self.0.window_us,
            steps: vec![Step::default(); self.0.steps],
            exclusions: Vec::new(),
            from_us: i64::MIN,
            to_us: i64::MAX,
        };
        let times = TimestampMicrosecondBuilder::new().with_data_type(time_type());
        let entry = Field::new_list_field(time_type(), true);
        let mut lists = ListBuilder::new(times).with_field(entry);
        for rows in groups.groups() {
            let events: Vec<Event> =
                rows.iter().map(|row| Event { hit: row.hit, ..Event::default() }).collect();
            let trials =
                funnel.trials(&events).map_err(|error| wrong::<Self, 0>(error.to_string()))?;
            let reached = |times_us: &[Option<i64>]| times_us.iter().flatten().count();
            let furthest = trials.iter().map(|trial| reached(&trial.times_us)).max();
            let best = trials.iter().find(|trial| Some(reached(&trial.times_us)) == furthest);
            for time_us in best.iter().flat_map(|trial| trial.times_us.iter().flatten()) {
                lists.values().append_value(*time_us);
            }
            lists.append(true);
        }
        Ok(Arc::new(lists.finish()))
    }
}
