//! The chain of events that counts for a trial: the one that comes furthest, of those the one with most
//! steps, of those the earliest, event by event.

use super::{EXCLUSION_BIT, Funnel, Order};
use crate::Hit;

/// When each step was reached, by the first event that can stand for it.
pub(super) fn earliest(hits: &[Hit], steps: usize) -> Vec<Option<i64>> {
    let mut times_us = vec![None; steps];
    let mut step = 0;
    for hit in hits {
        if step < steps && hit.fulfils(step) {
            times_us[step] = Some(hit.time_us);
            step += 1;
        }
    }
    times_us
}

/// When each step was reached by the best chain that begins with the first of `hits`, all of which lie
/// in its window.
pub(super) fn best(funnel: &Funnel, hits: &[Hit]) -> Vec<Option<i64>> {
    let stops = (0..funnel.exclusions.len()).map(|number| stops(hits, EXCLUSION_BIT + number));
    let mut search = Search {
        funnel,
        hits,
        stops: stops.collect(),
        links: vec![Vec::new(); funnel.steps.len()],
        trees: vec![Maxima::default(); funnel.steps.len()],
    };
    // From the last step to the first, so that what may follow is known.
    for step in (0..funnel.steps.len()).rev() {
        // The first step is the entry's alone.
        let places = if step == 0 { 0..1 } else { 1..hits.len() };
        let links: Vec<Link> = places
            .filter(|&place| hits[place].fulfils(step))
            .map(|place| Link { place, worth: search.worth(step, place) })
            .collect();
        search.trees[step] = Maxima::of(&links);
        search.links[step] = links;
    }
    search.times()
}

/// How good a chain is from one of its events on: the furthest step, and how many steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Worth {
    furthest: usize,
    steps: usize,
}

/// A hit that may stand for a step, and what the best chain from there is worth.
#[derive(Clone, Copy, Debug)]
struct Link {
    place: usize,
    worth: Worth,
}

struct Search<'a> {
    funnel: &'a Funnel,
    hits: &'a [Hit],
    /// By exclusion and place: the first place from there on that fulfils it.
    stops: Vec<Vec<usize>>,
    /// By step, in order.
    links: Vec<Vec<Link>>,
    trees: Vec<Maxima>,
}

impl Search<'_> {
    fn worth(&self, step: usize, place: usize) -> Worth {
        let alone = Worth { furthest: step, steps: 1 };
        let follow = self.next_steps(step).filter_map(|next| {
            let (from, to) = self.range(step, place, next);
            self.trees[next].greatest(from, to)
        });
        let longest = follow.max().map(|worth| Worth { steps: worth.steps + 1, ..worth });
        longest.map_or(alone, |longest| longest.max(alone))
    }

    /// The steps that may follow `step`: those behind it up to the first that is not optional.
    fn next_steps(&self, step: usize) -> impl Iterator<Item = usize> + use<'_> {
        let mut is_over = false;
        (step + 1..self.funnel.steps.len()).take_while(move |&next| {
            let was_over = is_over;
            is_over = !self.funnel.steps[next].optional;
            !was_over
        })
    }

    /// Which links of step `next` may follow `place` as `step`, as a range of their numbers.
    fn range(&self, step: usize, place: usize, next: usize) -> (usize, usize) {
        let links = &self.links[next];
        let (time_us, bounds) = (self.hits[place].time_us, &self.funnel.steps[next]);
        let least_us = time_us.saturating_add(bounds.min_us);
        let from = links.partition_point(|link| {
            link.place <= place || self.hits[link.place].time_us < least_us
        });
        let last = self.last_place(step, place, next);
        let most_us = bounds.max_us.map_or(i64::MAX, |max_us| time_us.saturating_add(max_us));
        let to = links
            .partition_point(|link| link.place <= last && self.hits[link.place].time_us <= most_us);
        (from, to.max(from))
    }

    /// The last place at which `next` may stand before something else keeps it from `step`.
    fn last_place(&self, step: usize, place: usize, next: usize) -> usize {
        if self.funnel.order == Order::Strict {
            return place + 1;
        }
        let exclusions = self.funnel.exclusions.iter().zip(&self.stops);
        let between = exclusions.filter(|(it, _)| step >= it.after && next <= it.before);
        between.map(|(_, stops)| stops[place + 1]).min().unwrap_or(self.hits.len())
    }

    /// Walks the best chain, at each event to the earliest that is worth as much.
    fn times(&self) -> Vec<Option<i64>> {
        let mut times_us = vec![None; self.funnel.steps.len()];
        let Some(mut at) = self.links[0].first().copied() else { return times_us };
        let mut step = 0;
        loop {
            times_us[step] = Some(self.hits[at.place].time_us);
            let Some(left) = at.worth.steps.checked_sub(1).filter(|left| *left > 0) else {
                return times_us;
            };
            let wanted = Worth { furthest: at.worth.furthest, steps: left };
            let nexts = self.next_steps(step).filter_map(|next| {
                let (from, to) = self.range(step, at.place, next);
                let link = self.links[next][from..to].iter().find(|link| link.worth == wanted);
                link.map(|link| (link.place, next, *link))
            });
            let Some((_, next, link)) = nexts.min_by_key(|(place, next, _)| (*place, *next)) else {
                return times_us;
            };
            (step, at) = (next, link);
        }
    }
}

/// From each place on, and from behind the last, the first that fulfils `condition`.
fn stops(hits: &[Hit], condition: usize) -> Vec<usize> {
    let mut stops = vec![hits.len(); hits.len() + 1];
    for place in (0..hits.len()).rev() {
        stops[place] = if hits[place].fulfils(condition) { place } else { stops[place + 1] };
    }
    stops
}

/// The greatest worth of any range of links, in logarithmic time: a segment tree.
#[derive(Clone, Debug, Default)]
struct Maxima {
    leaves: usize,
    nodes: Vec<Worth>,
}

impl Maxima {
    fn of(links: &[Link]) -> Maxima {
        let leaves = links.len();
        let mut nodes = vec![Worth::default(); 2 * leaves];
        for (leaf, link) in links.iter().enumerate() {
            nodes[leaves + leaf] = link.worth;
        }
        for node in (1..leaves).rev() {
            nodes[node] = nodes[2 * node].max(nodes[2 * node + 1]);
        }
        Maxima { leaves, nodes }
    }

    /// `None` for an empty range.
    fn greatest(&self, from: usize, to: usize) -> Option<Worth> {
        if from >= to {
            return None;
        }
        let (mut from, mut to) = (from + self.leaves, to + self.leaves);
        let mut greatest = Worth::default();
        while from < to {
            if from % 2 == 1 {
                greatest = greatest.max(self.nodes[from]);
                from += 1;
            }
            if to % 2 == 1 {
                to -= 1;
                greatest = greatest.max(self.nodes[to]);
            }
            (from, to) = (from / 2, to / 2);
        }
        Some(greatest)
    }
}
