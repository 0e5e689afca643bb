//! How a source writes its times. Correcting clocks is left to the event.

use std::fmt::Write;

use chrono::format::{Item, Parsed, StrftimeItems};
use footfall_event::{Micros, TIME_RANGE, parse_time};

/// Longest part of a time that a message repeats, in characters.
const SHOWN_CHARS_MAX: usize = 40;
/// 2026-11-22T22:20:00Z: an evening, which tells 12 hours from 24.
const SAMPLE: i64 = 1_795_386_000;

#[derive(Clone, Debug, PartialEq)]
pub enum TimeFormat {
    Rfc3339,
    /// A number since 1970, and how many microseconds its unit has. Fractions are taken.
    Unix {
        micros: i64,
    },
    /// strftime's form; a time without an offset is UTC.
    Pattern(Vec<Item<'static>>),
}

impl TimeFormat {
    /// `None` for a text from whose form no point in time could be told.
    pub fn named(name: &str) -> Option<TimeFormat> {
        match name {
            "rfc3339" => Some(TimeFormat::Rfc3339),
            "unix_s" => Some(TimeFormat::Unix { micros: Micros::SECOND.0 }),
            "unix_ms" => Some(TimeFormat::Unix { micros: 1_000 }),
            "unix_us" => Some(TimeFormat::Unix { micros: 1 }),
            pattern => {
                let items = StrftimeItems::new(pattern).parse_to_owned().ok()?;
                let mut written = String::new();
                let sample = chrono::DateTime::from_timestamp(SAMPLE, 0)?;
                write!(written, "{}", sample.format_with_items(items.iter())).ok()?;
                let read = parse_pattern(&written, &items)?;
                (read == Micros(SAMPLE * Micros::SECOND.0)).then_some(TimeFormat::Pattern(items))
            }
        }
    }

    /// A time of the source.
    ///
    /// # Errors
    /// A sentence that shows the text, when it has another form.
    pub fn parse(&self, text: &str) -> Result<Micros, String> {
        let time = match self {
            TimeFormat::Rfc3339 => return parse_time(text),
            TimeFormat::Unix { micros } => parse_unix(text, *micros),
            TimeFormat::Pattern(items) => parse_pattern(text, items),
        };
        time.filter(|time| TIME_RANGE.contains(time)).ok_or_else(|| {
            let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
            format!("`{shown}` is not a time in the map's `time_format`")
        })
    }
}

fn parse_unix(text: &str, micros: i64) -> Option<Micros> {
    if let Ok(whole) = text.parse::<i64>() {
        return whole.checked_mul(micros).map(Micros);
    }
    let time = (text.parse::<f64>().ok()? * micros as f64).round();
    (time.abs() < i64::MAX as f64).then_some(Micros(time as i64))
}

fn parse_pattern(text: &str, items: &[Item<'_>]) -> Option<Micros> {
    let mut parsed = Parsed::new();
    chrono::format::parse(&mut parsed, text, items.iter()).ok()?;
    let time = match parsed.to_datetime() {
        Ok(time) => time.timestamp_micros(),
        Err(_) => parsed.to_naive_datetime_with_offset(0).ok()?.and_utc().timestamp_micros(),
    };
    Some(Micros(time))
}
