//! Events accepted on time that the watermark has not passed, given out in event order.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

use footfall_event::{Micros, Offset};
use serde::{Deserialize, Serialize};

use crate::visitors::VisitorPlace;
use crate::{Fact, Hit};

/// A place in [`HeldEvents`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldPlace(u32);

/// An event that waits, with the needs whose signals were due for it.
#[derive(Clone, Debug)]
pub struct Held {
    pub hit: Hit,
    /// Who sent it, and is not forgotten as long as it is held.
    pub visitor: Option<VisitorPlace>,
    pub signalled: Signalled,
}

/// The needs whose signals were due for one event, by their names: in other rules, to which the event
/// may move, the same place is another need.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signalled(Vec<Box<str>>);

impl Signalled {
    pub fn note(&mut self, need: &str) {
        if !self.holds(need) {
            self.0.push(need.into());
        }
    }

    pub fn holds(&self, need: &str) -> bool {
        self.0.iter().any(|name| **name == *need)
    }
}

/// What 5,000 events a second come to in 10 s of lateness, were they all of one partition.
const BURST_EVENTS: usize = 50_000;

#[derive(Debug, Default)]
pub struct HeldEvents {
    /// Boxed, so that a burst's memory is given back.
    events: Vec<Option<Box<Held>>>,
    free: Vec<HeldPlace>,
    order: BinaryHeap<Reverse<(Micros, i64, HeldPlace)>>,
}

impl HeldEvents {
    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn hold(&mut self, held: Held) -> HeldPlace {
        let (time, seq) = (held.hit.event_time, held.hit.seq);
        let held = Box::new(held);
        let place = match self.free.pop() {
            Some(place) => {
                self.events[place.0 as usize] = Some(held);
                place
            }
            None => {
                self.events.push(Some(held));
                HeldPlace(self.events.len() as u32 - 1)
            }
        };
        self.order.push(Reverse((time, seq, place)));
        place
    }

    pub fn at(&self, place: HeldPlace) -> Option<&Held> {
        self.events.get(place.0 as usize)?.as_deref()
    }

    pub fn at_mut(&mut self, place: HeldPlace) -> Option<&mut Held> {
        self.events.get_mut(place.0 as usize)?.as_deref_mut()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Held> {
        self.events.iter_mut().flatten().map(Box::as_mut)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.events.iter().flatten().map(Box::as_ref)
    }

    /// The time of the next event in order.
    pub fn next_time(&self) -> Option<Micros> {
        self.order.peek().map(|Reverse((time, _, _))| *time)
    }

    /// Moves the next events in order to `next`: those that tie in time and `seq`, by their ids.
    pub fn take_next(&mut self, next: &mut Vec<(HeldPlace, Box<Held>)>) {
        let Some(Reverse((time, seq, _))) = self.order.peek().copied() else { return };
        while let Some(Reverse((t, s, place))) = self.order.peek().copied()
            && (t, s) == (time, seq)
        {
            self.order.pop();
            if let Some(held) = self.events[place.0 as usize].take() {
                self.free.push(place);
                next.push((place, held));
            }
        }
        // A burst is over, and what it took is given back.
        if self.order.is_empty() && self.events.len() > BURST_EVENTS {
            *self = HeldEvents::default();
        }
        if next.len() > 1 {
            next.sort_by(|(_, a), (_, b)| in_order(&a.hit, &b.hit));
        }
    }

    /// Takes out the events at `places`, in that order; others keep theirs.
    pub fn remove(&mut self, places: &VecDeque<HeldPlace>) -> Vec<Held> {
        let gone: BTreeSet<HeldPlace> = places.iter().copied().collect();
        self.order.retain(|Reverse((_, _, place))| !gone.contains(place));
        let mut removed = Vec::with_capacity(places.len());
        for place in places {
            if let Some(held) = self.events.get_mut(place.0 as usize).and_then(Option::take) {
                self.free.push(*place);
                removed.push(*held);
            }
        }
        removed
    }

    /// The held events' records, ascending.
    pub fn offsets(&self) -> Vec<(Offset, Signalled)> {
        let held = self.iter().map(|held| (held.hit.offset, held.signalled.clone()));
        let mut offsets = held.collect::<Vec<_>>();
        offsets.sort_unstable_by_key(|(offset, _)| *offset);
        offsets
    }
}

/// The order of events: time, the client's counter, id. What ties in all three is of different
/// visitors, or was sent again after its id was forgotten.
pub fn in_order(a: &Hit, b: &Hit) -> std::cmp::Ordering {
    let key = |hit: &Hit| (hit.event_time, hit.seq);
    key(a)
        .cmp(&key(b))
        .then_with(|| a.fact(Fact::EventId).cmp(&b.fact(Fact::EventId)))
        .then_with(|| a.visitor().cmp(&b.visitor()))
        .then_with(|| a.offset.cmp(&b.offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bits, Facts, RulesId};

    fn held(number: usize) -> Held {
        let hit = Hit {
            offset: Offset(number as i64),
            event_time: Micros(-(number as i64)),
            seq: 0,
            rules: RulesId(0),
            bits: Bits::default(),
            other_bits: Vec::new(),
            visible_ms: None,
            lcp_ms: None,
            place: None,
            value: None,
            facts: Facts::pack(|_| None),
        };
        Held { hit, visitor: None, signalled: Signalled::default() }
    }

    #[test]
    fn a_burst_comes_out_in_order_and_gives_its_slots_back() {
        let mut events = HeldEvents::default();
        for _ in 0..2 {
            for number in 0..=BURST_EVENTS {
                events.hold(held(number));
            }
            let (mut next, mut last) = (Vec::new(), Micros(i64::MIN));
            for _ in 0..=BURST_EVENTS {
                assert!(events.events.len() > BURST_EVENTS);
                events.take_next(&mut next);
                let (_, event) = next.pop().unwrap();
                assert!(event.hit.event_time > last && next.is_empty());
                last = event.hit.event_time;
            }
            assert_eq!((events.len(), events.events.capacity()), (0, 0));
        }
    }
}
