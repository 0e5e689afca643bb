//! An event as far as a question concerns it.

/// When an event happened, and which of a question's conditions it fulfils. The order of hits is the
/// order of events: by time, then by the client's counter. Events equal in both are taken in the order
/// of their conditions, so that a funnel counts them as far as it can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
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
}
