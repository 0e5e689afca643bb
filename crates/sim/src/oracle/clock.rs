//! A partition's clock: log time, and the watermark behind it.

use footfall_event::Micros;

use super::fixed_rules;

/// A longer step forward of log time is a leap.
pub const LEAP: i64 = 300 * Micros::SECOND.0;
/// How far a record must lie past a leap to confirm it.
const CONFIRMED: i64 = 5 * Micros::SECOND.0;

/// Log time, as docs/semantics.md has it.
#[derive(Default)]
pub struct Clock {
    pub log_time: Option<i64>,
    /// A leap that is not believed yet.
    leap: Option<i64>,
}

impl Clock {
    pub fn watermark(&self) -> Option<i64> {
        self.log_time.map(|time| time - fixed_rules().allowed_lateness.0)
    }

    pub fn advance(&mut self, append_time: i64) {
        if self.leap.is_some_and(|leap| append_time < leap) {
            self.leap = None;
        }
        if let Some(leap) = self.leap
            && append_time >= leap + CONFIRMED
        {
            self.log_time = Some(leap);
            self.leap = None;
        }
        match self.log_time {
            Some(now) if append_time <= now + LEAP => self.log_time = Some(now.max(append_time)),
            _ if self.leap.is_none() => self.leap = Some(append_time),
            _ => {}
        }
    }
}
