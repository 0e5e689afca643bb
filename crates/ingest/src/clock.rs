//! This clock held against the log's: how far they are apart, and a warning where it matters.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use footfall_event::Micros;
use footfall_log::Appended;

use crate::Metrics;

/// Kafka's append times are cut to whole milliseconds.
const APPEND_TIME_STEP: Micros = Micros::from_ms(1);

/// Watches the offset between the clocks.
pub struct ClockWatch {
    /// Half the allowed lateness: from there on events begin to be late for no fault of their own.
    tolerated: Micros,
    warned_at: AtomicI64,
}

impl ClockWatch {
    pub fn new(allowed_lateness: Micros) -> ClockWatch {
        let tolerated = Micros(allowed_lateness.0 / 2);
        ClockWatch { tolerated, warned_at: AtomicI64::new(i64::MIN) }
    }

    /// Takes note of the answer to an append that was made at `before` and answered at `after`.
    pub fn observe(&self, metrics: &Metrics, before: Micros, after: Micros, answer: &[Appended]) {
        let Some(last) = answer.last() else { return };
        let offset = offset(before, after, last.append_time);
        metrics.clock_offset(offset);
        if offset.0.unsigned_abs() > self.tolerated.0.unsigned_abs() && self.may_warn(after) {
            tracing::warn!(
                offset_seconds = offset.seconds(),
                "this clock and the event log's are apart: events will be late; set the clocks"
            );
        }
    }

    /// At most once a minute.
    fn may_warn(&self, now: Micros) -> bool {
        let warned_at = self.warned_at.load(Relaxed);
        let due = now - Micros(warned_at) >= Micros::MINUTE;
        due && self.warned_at.compare_exchange(warned_at, now.0, Relaxed, Relaxed).is_ok()
    }
}

/// How far `append_time` lies outside the span in which the append was made; zero within.
fn offset(before: Micros, after: Micros, append_time: Micros) -> Micros {
    let earliest = before - APPEND_TIME_STEP;
    match append_time {
        early if early < earliest => early - earliest,
        late if late > after => late - after,
        _ => Micros(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_what_the_round_trip_does_not_explain() {
        let check = |append_time, expected| {
            assert_eq!(
                offset(Micros(10_000), Micros(12_000), Micros(append_time)),
                Micros(expected)
            );
        };
        check(10_000, 0);
        check(9_000, 0);
        check(12_000, 0);
        check(8_999, -1);
        check(15_000, 3_000);
    }

    #[test]
    fn the_metric_is_that_of_the_last_append() {
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let watch = ClockWatch::new(Micros::MINUTE);
        let answer = |append_time| {
            let (partition, offset) = Default::default();
            Appended { partition, offset, append_time: Micros(append_time) }
        };
        for (append_time, shown) in [(15_000, "0.003"), (8_000, "-0.001"), (12_000, "0")] {
            let answers = [answer(0), answer(append_time)];
            watch.observe(&metrics, Micros(10_000), Micros(12_000), &answers);
            let line = format!("\nfootfall_ingest_clock_offset_seconds {shown}\n");
            let text = metrics.text().unwrap();
            assert!(text.contains(&line), "{line} in {text}");
        }
    }

    #[test]
    fn a_warning_comes_once_a_minute() {
        let watch = ClockWatch::new(Micros::SECOND);
        assert!(watch.may_warn(Micros(0)));
        assert!(!watch.may_warn(Micros(59_999_999)));
        assert!(watch.may_warn(Micros::MINUTE));
    }
}
