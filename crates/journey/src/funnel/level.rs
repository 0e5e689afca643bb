//! How far a visitor came at all, over all entries.

use super::{Order, any};
use crate::Hit;

/// The most steps that any entry of `hits` reached: 0 without an entry. `hits` are in order; with
/// [`Order::Strict`] they are all of the visitor's events.
pub fn level(hits: &[Hit], order: Order, window_us: i64, steps: usize) -> usize {
    match order {
        Order::Ordered => ordered(hits, window_us, steps),
        Order::Strict => most(hits, |hits| run(hits, window_us, steps), steps),
        Order::Any => most(
            hits,
            |hits| any::times(within(hits, window_us), steps).iter().flatten().count(),
            steps,
        ),
    }
}

/// For each step the latest entry from which it can be reached: no other leaves more of the window.
fn ordered(hits: &[Hit], window_us: i64, steps: usize) -> usize {
    let mut entries_us = [None::<i64>; super::STEPS_MAX];
    let mut reached = 0;
    for hit in hits {
        let mut bits = hit.bits & mask(steps);
        // Highest first: one event takes a chain one step further.
        while bits != 0 {
            let step = bits.ilog2() as usize;
            bits &= !(1 << step);
            let entry_us = match step {
                0 => Some(hit.time_us),
                _ => entries_us[step - 1]
                    .filter(|entry_us| hit.time_us.saturating_sub(*entry_us) <= window_us),
            };
            if entry_us.is_some() {
                entries_us[step] = entry_us;
                reached = reached.max(step + 1);
            }
        }
    }
    reached
}

fn most(hits: &[Hit], count: impl Fn(&[Hit]) -> usize, steps: usize) -> usize {
    let mut reached = 0;
    for place in 0..hits.len() {
        if hits[place].fulfils(0) {
            reached = reached.max(count(&hits[place..]));
        }
        if reached == steps {
            break;
        }
    }
    reached
}

/// Steps that follow each other from the first hit on.
fn run(hits: &[Hit], window_us: i64, steps: usize) -> usize {
    let hits = within(hits, window_us).iter().take(steps).enumerate();
    hits.take_while(|(step, hit)| hit.fulfils(*step)).count()
}

fn within(hits: &[Hit], window_us: i64) -> &[Hit] {
    let until_us = hits[0].time_us.saturating_add(window_us);
    &hits[..hits.partition_point(|hit| hit.time_us <= until_us)]
}

fn mask(steps: usize) -> u64 {
    (1 << steps) - 1
}
