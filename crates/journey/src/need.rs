//! One need in one session: when it was raised, found, and a conversion came (docs/semantics.md,
//! section 4). What the session's end makes of it is left to who knows the session.

use std::collections::VecDeque;

use crate::Hit;

/// Conditions of a hit.
pub const RAISED: usize = 0;
pub const FOUND: usize = 1;
pub const CLICK: usize = 2;
pub const CONVERSION: usize = 3;

/// Orders that a session remembers.
const ORDERS: usize = 16;

/// An event of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    pub hit: Hit,
    /// Of a conversion.
    pub order_id: Option<&'a str>,
}

/// What became of a need before its session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Episode {
    /// Number of the raising event.
    pub raised: usize,
    pub found_us: Option<i64>,
    /// First conversion at or after the raising event, also one after a find.
    pub converted_us: Option<i64>,
    /// Clicks until the find, else the conversion, else the session's end.
    pub clicks: i64,
}

/// The episode of a session whose `events`, as far as they fulfil a condition, are in order; `None`
/// where the need was never raised, or met before it was.
pub fn episode(events: &[Event<'_>]) -> Option<Episode> {
    let raised = events.iter().position(|event| event.hit.fulfils(RAISED))?;
    if events[..raised].iter().any(|event| event.hit.fulfils(FOUND)) {
        return None;
    }
    let raised_us = events[raised].hit.time_us;
    let converted_us = conversions(events).filter(|time_us| *time_us >= raised_us).min();
    let found = events[raised..].iter().find(|event| event.hit.fulfils(FOUND));
    let found_us = found
        .map(|found| found.hit.time_us)
        .filter(|found_us| converted_us.is_none_or(|converted_us| *found_us <= converted_us));
    let end_us = found_us.or(converted_us).unwrap_or(i64::MAX);
    let is_click = |(place, event): &(usize, &Event<'_>)| {
        event.hit.fulfils(CLICK)
            && *place != raised
            && (raised_us..=end_us).contains(&event.hit.time_us)
    };
    let clicks = events.iter().enumerate().filter(is_click).count() as i64;
    Some(Episode { raised, found_us, converted_us, clicks })
}

/// Times of the conversions that count: an order that is told again is none.
fn conversions<'a>(events: &'a [Event<'a>]) -> impl Iterator<Item = i64> + 'a {
    let mut orders: VecDeque<&str> = VecDeque::new();
    events.iter().filter(|event| event.hit.fulfils(CONVERSION)).filter_map(move |event| {
        if let Some(order_id) = event.order_id {
            if orders.contains(&order_id) {
                return None;
            }
            if orders.len() == ORDERS {
                orders.pop_front();
            }
            orders.push_back(order_id);
        }
        Some(event.hit.time_us)
    })
}
