//! The ids a partition remembers, so that a resent record is known. Bounded in log time and number.

use std::collections::VecDeque;

use footfall_event::{EventKey, Micros};
use hashbrown::HashTable;
use serde::{Deserialize, Serialize};

/// Ids in order of arrival, indexed by a table of 4-byte places: some 26 bytes an id.
#[derive(Debug, Default)]
pub struct Dedupe {
    ids: VecDeque<EventKey>,
    /// Runs of ids that arrived in one second of log time.
    runs: VecDeque<Run>,
    /// Number of the oldest id, counted (and wrapping) from the first ever.
    base: u32,
    places: HashTable<u32>,
}

/// The ids as a snapshot keeps them.
#[derive(Debug, Default, Deserialize)]
pub struct DedupeState {
    ids: Vec<EventKey>,
    runs: Vec<Run>,
}

/// The ids as a snapshot writes them, field by field as [`DedupeState`] reads them.
#[derive(Debug, Serialize)]
pub struct DedupeView<'d> {
    ids: &'d VecDeque<EventKey>,
    runs: &'d VecDeque<Run>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    second: i64,
    ids: u32,
}

impl Dedupe {
    /// Remembers `id` as of `log_time`; false when it is remembered already.
    pub fn insert(&mut self, id: EventKey, log_time: Micros, ids_max: u64) -> bool {
        let Dedupe { ids, base, places, .. } = self;
        let is_same = |place: &u32| ids[place.wrapping_sub(*base) as usize] == id;
        if places.find(hash(id), is_same).is_some() {
            return false;
        }
        while self.ids.len() as u64 >= ids_max.max(1) {
            self.forget_oldest();
        }
        let place = self.base.wrapping_add(self.ids.len() as u32);
        self.ids.push_back(id);
        let (ids, base) = (&self.ids, self.base);
        let rehash = |place: &u32| hash(ids[place.wrapping_sub(base) as usize]);
        self.places.insert_unique(hash(id), place, rehash);
        self.count_in_run(log_time);
        true
    }

    /// Log time leapt, and what it leapt over is no part of any window: events that came just before, or while the
    /// leap waited to be confirmed, may be held still, and stand in no table.
    pub fn leap(&mut self, from: Micros, to: Micros) {
        let over = second_of(to) - second_of(from);
        self.runs.iter_mut().for_each(|run| run.second += over);
    }

    /// Forgets what arrived before `log_time - window`.
    pub fn expire(&mut self, log_time: Micros, window: Micros) {
        let oldest = second_of(log_time - window);
        while self.runs.front().is_some_and(|run| run.second < oldest) {
            self.forget_oldest();
        }
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn view(&self) -> DedupeView<'_> {
        DedupeView { ids: &self.ids, runs: &self.runs }
    }

    pub fn from_state(state: DedupeState) -> Dedupe {
        let ids = VecDeque::from(state.ids);
        let mut places = HashTable::with_capacity(ids.len());
        for (place, id) in ids.iter().enumerate() {
            places.insert_unique(hash(*id), place as u32, |place| hash(ids[*place as usize]));
        }
        Dedupe { ids, runs: state.runs.into(), base: 0, places }
    }

    /// Runs that lie ahead are of a first record whose time was not believed: they become of this
    /// second, or they would never be forgotten.
    fn count_in_run(&mut self, log_time: Micros) {
        let mut run = Run { second: second_of(log_time), ids: 1 };
        while let Some(last) = self.runs.pop_back_if(|last| last.second >= run.second) {
            run.ids += last.ids;
        }
        self.runs.push_back(run);
    }

    fn forget_oldest(&mut self) {
        let Some(id) = self.ids.front().copied() else { return };
        let base = self.base;
        if let Ok(place) = self.places.find_entry(hash(id), |place| *place == base) {
            place.remove();
        }
        self.ids.pop_front();
        self.base = base.wrapping_add(1);
        if let Some(run) = self.runs.front_mut() {
            run.ids -= 1;
            if run.ids == 0 {
                self.runs.pop_front();
            }
        }
    }
}

/// The key is a hash already.
fn hash(id: EventKey) -> u64 {
    id.0 as u64
}

fn second_of(log_time: Micros) -> i64 {
    log_time.0.div_euclid(Micros::SECOND.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> EventKey {
        EventKey(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
    }

    fn at(seconds: i64) -> Micros {
        Micros(seconds * 1_000_000)
    }

    #[test]
    fn an_id_is_known_until_the_window_has_passed_it() {
        let mut seen = Dedupe::default();
        assert!(seen.insert(id(1), at(100), 10));
        assert!(!seen.insert(id(1), at(100), 10));
        seen.expire(at(120), at(20));
        assert!(!seen.insert(id(1), at(120), 10));
        seen.expire(at(121), at(20));
        assert!(seen.insert(id(1), at(121), 10));
    }

    #[test]
    fn what_a_leap_leaps_over_is_no_part_of_the_window() {
        let mut seen = Dedupe::default();
        seen.insert(id(1), at(99), 10);
        seen.insert(id(2), at(100), 10);
        seen.leap(at(100), at(500));
        seen.expire(at(519), at(20));
        assert!(!seen.insert(id(1), at(519), 10) && !seen.insert(id(2), at(519), 10));
        seen.expire(at(520), at(20));
        assert!(!seen.insert(id(2), at(520), 10));
        assert!(seen.insert(id(1), at(520), 10));
    }

    #[test]
    fn a_full_memory_forgets_the_oldest_first() {
        let mut seen = Dedupe::default();
        for number in 0..5 {
            assert!(seen.insert(id(number), at(1), 3));
        }
        assert_eq!(seen.len(), 3);
        assert!(!seen.insert(id(4), at(1), 3) && !seen.insert(id(2), at(1), 3));
        assert!(seen.insert(id(1), at(1), 3));
    }

    /// Places are counted round and round: 5,000 ids a second need ten days for it.
    #[test]
    fn a_memory_goes_on_beyond_the_last_number_of_a_place() {
        let mut seen = Dedupe { base: u32::MAX - 1, ..Dedupe::default() };
        for number in 0..10 {
            assert!(seen.insert(id(number), at(1), 3));
        }
        assert!((7..10).all(|number| !seen.insert(id(number), at(1), 3)));
        assert!(seen.insert(id(6), at(1), 3));
    }

    #[test]
    fn a_restored_memory_knows_and_forgets_the_same() {
        let mut seen = Dedupe::default();
        for number in 0..1000 {
            seen.insert(id(number), at(number as i64), 700);
        }
        let written = postcard::to_stdvec(&seen.view()).unwrap();
        let mut restored = Dedupe::from_state(postcard::from_bytes(&written).unwrap());
        for other in [&mut seen, &mut restored] {
            other.expire(at(1100), at(300));
            let known = (0..1000).filter(|number| !other.insert(id(*number), at(1100), 5000));
            assert_eq!(known.count(), 200);
        }
    }
}
