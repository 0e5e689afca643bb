//! When each event arrives: soon after it happened, out of order within the lateness, beyond it, and
//! in some cases once more. What arrives is left to the scripts.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::event::Draft;
use super::rng::Rng;
use super::settings::{SECOND, SampleSettings};

/// Kept free before the end of the allowed lateness, for the way from the poster to the log.
const SAFETY: i64 = 3 * SECOND;
/// How far beyond the allowed lateness a late event arrives at least.
const BEYOND: i64 = 5 * SECOND;
/// The pipeline remembers ids for 20 min; a resend stays well below.
const RESEND_MAX: i64 = 15 * 60 * SECOND;

/// Events that are written and have not arrived; as many as the sessions that run at once hold.
pub(super) struct Arrivals {
    rng: Rng,
    allowed_lateness: i64,
    disorder: f64,
    resends: f64,
    resend_max: i64,
    pushed: u64,
    upcoming: BinaryHeap<Reverse<Arrival>>,
}

/// Ordered by time, then by when it was written.
pub(super) struct Arrival {
    pub(super) time: i64,
    number: u64,
    pub(super) resend: bool,
    pub(super) draft: Box<Draft>,
}

impl Arrivals {
    pub(super) fn new(rng: Rng, settings: &SampleSettings) -> Arrivals {
        Arrivals {
            rng,
            allowed_lateness: settings.allowed_lateness,
            disorder: settings.disorder,
            resends: settings.resends,
            resend_max: (settings.session_gap / 2).clamp(20 * SECOND, RESEND_MAX),
            pushed: 0,
            upcoming: BinaryHeap::new(),
        }
    }

    /// Gives the event an arrival, never before its own time.
    pub(super) fn add(&mut self, draft: Draft) {
        let time = draft.time + self.delay(draft.late);
        self.push(time, false, Box::new(draft));
    }

    fn delay(&mut self, late: bool) -> i64 {
        let disorder_max = self.allowed_lateness - SAFETY.min(self.allowed_lateness / 2);
        let delay_max = disorder_max.min(250_000);
        if late {
            self.allowed_lateness + BEYOND + self.rng.skewed(0, 30 * SECOND)
        } else if self.rng.chance(self.disorder) {
            self.rng.between(delay_max, disorder_max)
        } else {
            self.rng.between(5_000, delay_max)
        }
    }

    /// The time of the next arrival, if any is left.
    pub(super) fn next_time(&self) -> Option<i64> {
        self.upcoming.peek().map(|Reverse(arrival)| arrival.time)
    }

    /// The next arrival's time, whether it is a resend, and what is made of its event.
    pub(super) fn pop<T>(&mut self, make: impl FnOnce(&Arrival) -> T) -> Option<T> {
        let Reverse(arrival) = self.upcoming.pop()?;
        let made = make(&arrival);
        if !arrival.resend && self.rng.chance(self.resends) {
            let pause_max = if self.rng.chance(0.9) { 20 * SECOND } else { self.resend_max };
            let pause = self.rng.skewed(50_000, pause_max);
            self.push(arrival.time + pause, true, arrival.draft);
        }
        Some(made)
    }

    fn push(&mut self, time: i64, resend: bool, draft: Box<Draft>) {
        let number = self.pushed;
        self.pushed += 1;
        self.upcoming.push(Reverse(Arrival { time, number, resend, draft }));
    }
}

impl PartialEq for Arrival {
    fn eq(&self, other: &Arrival) -> bool {
        self.number == other.number
    }
}

impl Eq for Arrival {}

impl PartialOrd for Arrival {
    fn partial_cmp(&self, other: &Arrival) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Arrival {
    fn cmp(&self, other: &Arrival) -> Ordering {
        (self.time, self.number).cmp(&(other.time, other.number))
    }
}
