//! An event as far as a question concerns it.

use std::cmp::Ordering;

/// When an event happened, and which of a question's conditions it fulfils. The order of hits is the
/// order of events: by time, then by the client's counter. Events equal in both are taken in the order
/// of the first condition that each fulfils, and last those that fulfil none; then by their bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hit {
    /// Microseconds UTC.
    pub time_us: i64,
    pub seq: i64,
    /// Condition number `i` is bit `i`.
    pub bits: u64,
}

impl Hit {
    pub fn fulfils(&self, condition: usize) -> bool {
        self.bits >> condition & 1 == 1
    }

    fn key(&self) -> (i64, i64, u32, u64) {
        (self.time_us, self.seq, self.bits.trailing_zeros(), self.bits)
    }
}

impl Ord for Hit {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Hit {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
