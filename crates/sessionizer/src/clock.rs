//! Log time: the only clock of the fold. It follows the records' append times, never steps back, and
//! believes a leap only when a later record confirms it (docs/semantics.md, Time and order).

use footfall_event::Micros;
use serde::{Deserialize, Serialize};

/// A larger step forward is a leap: a broker's clock may be a year ahead for a second.
pub const LEAP: Micros = Micros(5 * Micros::MINUTE.0);
/// How far past a leap a later record must lie to confirm it.
const CONFIRMED_AFTER: Micros = Micros(5 * Micros::SECOND.0);

/// Log time and watermark of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogClock {
    log_time: Option<Micros>,
    /// A leap that waits to be confirmed.
    leap: Option<Micros>,
    watermark: Option<Micros>,
}

impl LogClock {
    /// `None` until the partition's first record is confirmed.
    pub fn log_time(&self) -> Option<Micros> {
        self.log_time
    }

    pub fn watermark(&self) -> Option<Micros> {
        self.watermark
    }

    /// Takes in a record of any kind appended at `append_time`. The watermark never steps back, so
    /// a larger lateness takes hold as log time catches up. Answers from where log time leapt, if it did.
    pub fn advance(&mut self, append_time: Micros, allowed_lateness: Micros) -> Option<Micros> {
        let before = self.log_time;
        self.judge(append_time);
        if let Some(log_time) = self.log_time {
            self.watermark = self.watermark.max(Some(log_time - allowed_lateness));
        }
        before.filter(|before| self.log_time > Some(*before + LEAP))
    }

    fn judge(&mut self, append_time: Micros) {
        match self.leap {
            Some(leap) if append_time < leap => self.leap = None,
            Some(leap) if append_time >= leap + CONFIRMED_AFTER => {
                self.log_time = Some(leap);
                self.leap = None;
            }
            Some(_) => return,
            None => {}
        }
        match self.log_time {
            Some(now) if append_time <= now + LEAP => self.log_time = Some(now.max(append_time)),
            _ => self.leap = Some(append_time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Log time in seconds after each record; 0 stands for none.
    #[track_caller]
    fn check(append_seconds: &[i64], expected: &[i64]) {
        let mut clock = LogClock::default();
        let seen = append_seconds.iter().map(|seconds| {
            clock.advance(Micros(seconds * 1_000_000), Micros(0));
            clock.log_time().map_or(0, |time| time.0 / 1_000_000)
        });
        assert_eq!(seen.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_first_record_waits_for_one_five_seconds_later() {
        check(&[1000, 1001, 1004, 1005, 1006], &[0, 0, 0, 1005, 1006]);
    }

    #[test]
    fn a_smaller_append_time_counts_as_the_greatest_before() {
        check(&[1000, 1005, 1003, 1006], &[0, 1005, 1005, 1006]);
    }

    #[test]
    fn a_step_of_five_minutes_is_no_leap_and_one_second_more_is() {
        check(&[1000, 1005, 1305], &[0, 1005, 1305]);
        check(&[1000, 1005, 1306, 1310, 1311], &[0, 1005, 1005, 1005, 1311]);
    }

    #[test]
    fn a_year_ahead_for_a_second_is_dropped() {
        check(&[1000, 1005, 31_536_000, 1006, 1007], &[0, 1005, 1005, 1006, 1007]);
    }

    #[test]
    fn the_confirming_record_may_itself_be_a_leap() {
        check(&[1000, 1005, 2000, 9000, 9005], &[0, 1005, 1005, 2000, 9005]);
    }

    #[test]
    fn the_watermark_does_not_step_back_when_lateness_grows() {
        let mut clock = LogClock::default();
        clock.advance(Micros(0), Micros(0));
        clock.advance(Micros(10_000_000), Micros(2_000_000));
        assert_eq!(clock.watermark(), Some(Micros(8_000_000)));
        clock.advance(Micros(11_000_000), Micros(60_000_000));
        assert_eq!(clock.watermark(), Some(Micros(8_000_000)));
    }
}
