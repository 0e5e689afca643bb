//! How far a visitor came at all, over all entries.

use super::{Order, TooMany, WORK_MAX, any};
use crate::Hit;

/// The most steps that any entry of `hits` reached: 0 without an entry. `hits` are in order; with
/// [`Order::Strict`] they are all of the visitor's events.
///
/// # Errors
/// [`TooMany`] for a visitor whose entries could not be compared in a reasonable time.
pub fn level(hits: &[Hit], order: Order, window_us: i64, steps: usize) -> Result<usize, TooMany> {
    Ok(match order {
        Order::Ordered => ordered(hits, window_us, steps),
        Order::Strict => most(hits, |hits| Some(run(hits, window_us, steps)), steps)?,
        Order::Any => {
            let mut work = 0_usize;
            let count = |hits: &[Hit]| {
                let hits = within(hits, window_us);
                work = work.saturating_add(hits.len().saturating_mul(steps));
                (work <= WORK_MAX).then(|| any::times(hits, steps).iter().flatten().count())
            };
            most(hits, count, steps)?
        }
    })
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

fn most(
    hits: &[Hit],
    mut count: impl FnMut(&[Hit]) -> Option<usize>,
    steps: usize,
) -> Result<usize, TooMany> {
    let mut reached = 0;
    let begins = |hit: &Hit| hit.fulfils(0);
    for place in (0..hits.len()).filter(|place| begins(&hits[*place])) {
        let counted = count(&hits[place..]);
        let too_many = || TooMany {
            events: hits.len(),
            entries: hits.iter().filter(|hit| begins(hit)).count(),
        };
        reached = reached.max(counted.ok_or_else(too_many)?);
        if reached == steps {
            break;
        }
    }
    Ok(reached)
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
