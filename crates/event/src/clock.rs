//! Clock correction: what time an event happened, by the collector's clock (docs/semantics.md, Time).

use crate::Micros;

/// What the client's clock said, where it said anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientTimes {
    pub timestamp: Option<Micros>,
    pub sent_at: Option<Micros>,
}

/// The event's time by the collector's clock, never after `received`.
///
/// With `sent_at` the distance between the two client times is kept, so that a client's wrong clock
/// cancels out: `received - (sent_at - timestamp)`, the correction Segment publishes for `sentAt`.
pub fn correct_clock(client: ClientTimes, received: Micros) -> Micros {
    let claimed = match client {
        ClientTimes { timestamp: Some(timestamp), sent_at: Some(sent_at) } => {
            received - (sent_at - timestamp)
        }
        ClientTimes { timestamp: Some(timestamp), sent_at: None } => timestamp,
        ClientTimes { timestamp: None, .. } => received,
    };
    claimed.min(received)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(timestamp: Option<i64>, sent_at: Option<i64>, received: i64, expected: i64) {
        let client = ClientTimes { timestamp: timestamp.map(Micros), sent_at: sent_at.map(Micros) };
        assert_eq!(correct_clock(client, Micros(received)), Micros(expected));
    }

    #[test]
    fn a_wrong_clock_cancels_out_when_sent_at_is_there() {
        check(Some(100), Some(150), 1_000, 950);
        check(Some(9_100), Some(9_150), 1_000, 950);
    }

    #[test]
    fn nothing_happens_after_it_was_received() {
        check(Some(2_000), None, 1_000, 1_000);
        check(Some(200), Some(100), 1_000, 1_000);
    }

    #[test]
    fn without_sent_at_the_timestamp_counts_as_it_is() {
        check(Some(900), None, 1_000, 900);
        check(None, None, 1_000, 1_000);
        check(None, Some(5), 1_000, 1_000);
    }

    #[test]
    fn the_ends_of_the_number_range_do_not_wrap() {
        check(Some(i64::MAX), Some(i64::MIN), 1_000, 1_000);
        check(Some(i64::MIN), Some(i64::MAX), 1_000, 1_000 - i64::MAX);
    }
}
