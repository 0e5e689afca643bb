//! What a sample is made from, and which values make sense. Where the values come from is left to
//! the binary's arguments.

/// Equal settings give equal bytes, on every machine.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleSettings {
    pub seed: u64,
    /// Sessions in all.
    pub sessions: u64,
    /// Microseconds UTC of the first session; for live posting, the time at which posting starts.
    pub start: i64,
    /// The lake's session gap, in microseconds.
    pub session_gap: i64,
    /// The pipeline's allowed lateness, in microseconds.
    pub allowed_lateness: i64,
    /// Events per second of the sample's clock, on average. Without it the sessions spread over two
    /// days, or over as many as one session every two seconds takes.
    pub rate: Option<f64>,
    pub site: String,
    /// Share of events that arrive out of order, yet within the allowed lateness.
    pub disorder: f64,
    /// Share of events that arrive a second time.
    pub resends: f64,
    /// Chance, between two events of a session, of one more that arrives beyond the lateness.
    pub beyond_lateness: f64,
}

impl Default for SampleSettings {
    fn default() -> SampleSettings {
        SampleSettings {
            seed: 1,
            sessions: 1_000,
            start: FIXED_START,
            session_gap: 30 * 60 * SECOND,
            allowed_lateness: 10 * SECOND,
            rate: None,
            site: "storefront".to_owned(),
            disorder: 0.05,
            resends: 0.01,
            beyond_lateness: 0.0,
        }
    }
}

pub(super) const SECOND: i64 = 1_000_000;

/// 2026-03-02T08:00:00Z, a Monday.
const FIXED_START: i64 = 1_772_438_400 * SECOND;

/// Below it, the searches of three seconds that the outcomes need come too near to the gap.
const SESSION_GAP_MIN: i64 = 8 * SECOND;
const SESSION_GAP_MAX: i64 = 24 * 3_600 * SECOND;
const LATENESS_MIN: i64 = SECOND;
const LATENESS_MAX: i64 = 24 * 3_600 * SECOND;
/// 2200-01-01, beyond which the times of a long sample need not be thought of.
const START_MAX: i64 = 7_258_118_400 * SECOND;

/// A setting that no sample can be made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSetting {
    pub name: &'static str,
    pub value: String,
    pub allowed: &'static str,
}

impl std::fmt::Display for BadSetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sample: `{}` is {}: it must be {}", self.name, self.value, self.allowed)
    }
}

impl std::error::Error for BadSetting {}

impl SampleSettings {
    /// # Errors
    /// The first setting that is out of its range.
    pub(super) fn check(&self) -> Result<(), BadSetting> {
        let within = |value: i64, low: i64, high: i64| (low..=high).contains(&value);
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let micros = |value: i64| format!("{value} µs");
        let checks = [
            (
                within(self.start, 0, START_MAX),
                "start",
                micros(self.start),
                "between the years 1970 and 2200",
            ),
            (
                within(self.session_gap, SESSION_GAP_MIN, SESSION_GAP_MAX),
                "session_gap",
                micros(self.session_gap),
                "between 8 s and 24 h",
            ),
            (
                within(self.allowed_lateness, LATENESS_MIN, LATENESS_MAX),
                "allowed_lateness",
                micros(self.allowed_lateness),
                "between 1 s and 24 h",
            ),
            (
                self.rate.is_none_or(|rate| (0.001..=1e7).contains(&rate)),
                "rate",
                format!("{:?}", self.rate),
                "between 0.001 and 10,000,000 events per second",
            ),
            (!self.site.is_empty(), "site", "empty".to_owned(), "a name"),
            (share(self.disorder), "disorder", self.disorder.to_string(), "a share from 0 to 1"),
            (share(self.resends), "resends", self.resends.to_string(), "a share from 0 to 1"),
            (
                share(self.beyond_lateness),
                "beyond_lateness",
                self.beyond_lateness.to_string(),
                "a share from 0 to 1",
            ),
        ];
        let bad = checks.into_iter().find(|(good, ..)| !good);
        bad.map_or(Ok(()), |(_, name, value, allowed)| Err(BadSetting { name, value, allowed }))
    }

    /// Mean time between the starts of two sessions, in microseconds.
    pub(super) fn spacing(&self) -> i64 {
        let spread = (2 * 86_400 * SECOND / self.sessions.max(1) as i64).max(2 * SECOND);
        self.rate.map_or(spread, |rate| (EVENTS_PER_SESSION * SECOND as f64 / rate) as i64)
    }
}

/// Mean events of a session, resends included, as counted over many.
const EVENTS_PER_SESSION: f64 = 9.3;
