//! Points in time as microseconds since 1970-01-01 UTC, and the UTC days that partition the tables.

use std::cell::Cell;

use serde::{Deserialize, Serialize};

thread_local! {
    static SIMULATED: Cell<Option<fn() -> Micros>> = const { Cell::new(None) };
}

/// Lets `Micros::clock` tell the time of a simulation in this thread, or the system's again.
pub fn simulate_clock(clock: Option<fn() -> Micros>) {
    SIMULATED.set(clock);
}

/// A point in time or a span, in microseconds; points count from 1970-01-01 UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Micros(pub i64);

impl Micros {
    pub const SECOND: Micros = Micros(1_000_000);
    pub const MINUTE: Micros = Micros(60_000_000);
    pub const HOUR: Micros = Micros(3_600_000_000);
    pub const DAY: Micros = Micros(86_400_000_000);

    pub const fn from_ms(ms: i64) -> Micros {
        Micros(ms.saturating_mul(1_000))
    }

    /// Whole milliseconds, cut (a span of 1,999 µs is 1 ms).
    pub const fn whole_ms(self) -> i64 {
        self.0 / 1_000
    }

    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The UTC day this point lies in.
    pub const fn day(self) -> Day {
        Day(self.0.div_euclid(Self::DAY.0) as i32)
    }

    /// The start of the UTC hour this point lies in.
    pub const fn hour(self) -> Micros {
        Micros(self.0.div_euclid(Self::HOUR.0) * Self::HOUR.0)
    }

    /// The system's clock. Only shells may call this; the fold knows log time alone.
    pub fn clock() -> Micros {
        if let Some(simulated) = SIMULATED.get() {
            return simulated();
        }
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Micros(since.map_or(0, |elapsed| elapsed.as_micros() as i64))
    }
}

impl std::ops::Add for Micros {
    type Output = Micros;
    fn add(self, other: Micros) -> Micros {
        Micros(self.0.saturating_add(other.0))
    }
}

impl std::ops::Sub for Micros {
    type Output = Micros;
    fn sub(self, other: Micros) -> Micros {
        Micros(self.0.saturating_sub(other.0))
    }
}

impl std::fmt::Display for Micros {
    /// RFC 3339 with microseconds, or the bare number where the year has no four digits.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match chrono::DateTime::from_timestamp_micros(self.0) {
            Some(time) => write!(f, "{}", time.format("%Y-%m-%dT%H:%M:%S%.6fZ")),
            None => write!(f, "{} µs", self.0),
        }
    }
}

/// A UTC day as days since 1970-01-01: the partition of every table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

impl Day {
    /// The first microsecond of the day.
    pub const fn start(self) -> Micros {
        Micros(self.0 as i64 * Micros::DAY.0)
    }

    pub const fn next(self) -> Day {
        Day(self.0 + 1)
    }
}

impl std::str::FromStr for Day {
    type Err = String;

    /// A UTC day as `YYYY-MM-DD`.
    fn from_str(text: &str) -> Result<Day, String> {
        let date = text.parse::<chrono::NaiveDate>();
        let bad = |_| format!("`{text}` is no day: write it as YYYY-MM-DD, such as 2026-01-31");
        Ok(Day(date.map_err(bad)?.to_epoch_days()))
    }
}

impl std::fmt::Display for Day {
    /// `YYYY-MM-DD`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match chrono::DateTime::from_timestamp_micros(self.start().0) {
            Some(time) => write!(f, "{}", time.format("%Y-%m-%d")),
            None => write!(f, "day {}", self.0),
        }
    }
}
