//! Steps in any order behind the first: an event fulfils at most one, so how many are fulfilled is the
//! size of the largest matching of events and steps.

use crate::Hit;

/// When the first, second, … of `steps` was fulfilled. The first of `hits` fulfils step 0.
pub(super) fn times(hits: &[Hit], steps: usize) -> Vec<Option<i64>> {
    let mut times_us = vec![None; steps];
    times_us[0] = Some(hits[0].time_us);
    let mut fulfilled = 1;
    // Which event stands for each step; the entry stands for the first for good.
    let mut event_of = vec![None; steps];
    event_of[0] = Some(0);
    for (place, hit) in hits.iter().enumerate().skip(1) {
        if fulfilled == steps {
            break;
        }
        // A matching grows by the events in their order as far as one of all of them would
        // (augmenting paths, Berge).
        if augment(hits, place, &mut event_of, &mut 1) {
            times_us[fulfilled] = Some(hit.time_us);
            fulfilled += 1;
        }
    }
    times_us
}

/// Lets the event at `place` stand for a step, where another event may have to stand for another.
fn augment(hits: &[Hit], place: usize, event_of: &mut [Option<usize>], seen: &mut u64) -> bool {
    for step in 1..event_of.len() {
        if !hits[place].fulfils(step) || *seen >> step & 1 == 1 {
            continue;
        }
        *seen |= 1 << step;
        let is_free = match event_of[step] {
            None => true,
            Some(other) => augment(hits, other, event_of, seen),
        };
        if is_free {
            event_of[step] = Some(place);
            return true;
        }
    }
    false
}
