//! Patterns of events, in ClickHouse's notation of `sequenceMatch`: `(?1)(?t<=3600)(?2).*(?3)`.
//! `(?N)` is an event that fulfils condition N, `.` any one event, `.*` any number of them, and
//! `(?t<=S)` any number of them between two events that lie so many seconds apart.

use crate::Hit;

/// Parts of a pattern, at most.
const PARTS_MAX: usize = 256;

/// A pattern, of at least one event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(Vec<Part>);

/// An event, and how it follows the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Part {
    /// `None` is any event.
    condition: Option<usize>,
    gap: Gap,
}

/// What lies between an event and the one before it. The first event has none before it, and may
/// stand anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Gap {
    Nothing,
    Anything,
    /// Anything, and the times differ by this much, both inclusive.
    Time {
        least_us: i64,
        most_us: i64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "pattern `{pattern}`, character {place}: {what}; a pattern is such as `(?1)(?t<=3600)(?2).*(?3)`"
)]
pub struct PatternError {
    pub pattern: String,
    /// From 1.
    pub place: usize,
    pub what: String,
}

impl Pattern {
    /// # Errors
    /// [`PatternError`]: not a pattern, or one that names a condition beyond `conditions`.
    pub fn parse(pattern: &str, conditions: usize) -> Result<Pattern, PatternError> {
        let mut reader = Reader { pattern, rest: pattern, conditions };
        let (mut parts, mut gap) = (Vec::new(), Gap::Nothing);
        loop {
            reader.skip_spaces();
            if reader.rest.is_empty() {
                break;
            }
            let next = reader.part()?;
            match next {
                Next::Event(condition) => {
                    parts.push(Part { condition, gap });
                    gap = Gap::Nothing;
                }
                Next::Gap(Gap::Time { .. }) if parts.is_empty() => {
                    return Err(reader.wrong("a time stands between two events"));
                }
                Next::Gap(next) => gap = reader.joined(gap, next)?,
            }
            if parts.len() > PARTS_MAX {
                return Err(reader.wrong("a pattern has at most 256 events"));
            }
        }
        if parts.is_empty() {
            return Err(reader.wrong("there is no event"));
        }
        if matches!(gap, Gap::Time { .. }) {
            return Err(reader.wrong("a time stands between two events"));
        }
        Ok(Pattern(parts))
    }

    /// Whether `hits`, in order, hold the pattern anywhere.
    pub fn matches(&self, hits: &[Hit]) -> bool {
        let fulfils = |part: &Part, hit: &Hit| part.condition.is_none_or(|it| hit.fulfils(it));
        let first = &self.0[0];
        // Places at which an event may stand for the part at hand.
        let mut places: Vec<bool> = hits.iter().map(|hit| fulfils(first, hit)).collect();
        for part in &self.0[1..] {
            let follow = follow(hits, &places, part.gap);
            let both = follow.iter().zip(hits);
            places = both.map(|(follows, hit)| *follows && fulfils(part, hit)).collect();
        }
        places.contains(&true)
    }
}

/// Where the next event may stand, when one before it stands at one of `places`.
fn follow(hits: &[Hit], places: &[bool], gap: Gap) -> Vec<bool> {
    let mut behind = vec![false; hits.len()];
    // The last place that lies far enough before the event at hand, and the events looked at for it.
    let (mut last, mut seen) = (None, 0);
    for place in 0..hits.len() {
        let far_us = match gap {
            Gap::Nothing => {
                behind[place] = place > 0 && places[place - 1];
                continue;
            }
            Gap::Anything => i64::MAX,
            Gap::Time { least_us, .. } => hits[place].time_us.saturating_sub(least_us),
        };
        while seen < place && hits[seen].time_us <= far_us {
            if places[seen] {
                last = Some(seen);
            }
            seen += 1;
        }
        behind[place] = last.is_some_and(|last: usize| match gap {
            Gap::Time { most_us, .. } => hits[place].time_us - hits[last].time_us <= most_us,
            Gap::Nothing | Gap::Anything => true,
        });
    }
    behind
}

enum Next {
    Event(Option<usize>),
    Gap(Gap),
}

struct Reader<'a> {
    pattern: &'a str,
    rest: &'a str,
    conditions: usize,
}

impl Reader<'_> {
    fn part(&mut self) -> Result<Next, PatternError> {
        if self.take(".*") {
            return Ok(Next::Gap(Gap::Anything));
        }
        if self.take(".") {
            return Ok(Next::Event(None));
        }
        if self.take("(?t") {
            return self.time();
        }
        if !self.take("(?") {
            return Err(self.wrong("expected `(?1)`, `(?t<=60)`, `.` or `.*`"));
        }
        let number = self.number()?;
        if number < 1 || number > self.conditions as i64 {
            let conditions = self.conditions;
            return Err(
                self.wrong(&format!("there is no condition {number}, only 1 to {conditions}"))
            );
        }
        self.close()?;
        Ok(Next::Event(Some(number as usize - 1)))
    }

    fn time(&mut self) -> Result<Next, PatternError> {
        let operators = ["<=", ">=", "==", "<", ">", "="];
        let Some(operator) = operators.into_iter().find(|operator| self.take(operator)) else {
            return Err(self.wrong("expected one of <=, >=, <, >, =="));
        };
        let seconds = self.number()?;
        let Some(time_us) = seconds.checked_mul(1_000_000) else {
            return Err(self.wrong("the time is too long"));
        };
        self.close()?;
        let (least_us, most_us) = match operator {
            "<=" => (0, time_us),
            "<" => (0, time_us - 1),
            ">=" => (time_us, i64::MAX),
            ">" => (time_us + 1, i64::MAX),
            _ => (time_us, time_us),
        };
        Ok(Next::Gap(Gap::Time { least_us, most_us }))
    }

    /// Two gaps at one place hold both.
    fn joined(&self, one: Gap, other: Gap) -> Result<Gap, PatternError> {
        match (one, other) {
            (Gap::Nothing | Gap::Anything, other) => Ok(other),
            (one, Gap::Nothing | Gap::Anything) => Ok(one),
            (Gap::Time { least_us: a, most_us: b }, Gap::Time { least_us: c, most_us: d }) => {
                let (least_us, most_us) = (a.max(c), b.min(d));
                match least_us <= most_us {
                    true => Ok(Gap::Time { least_us, most_us }),
                    false => Err(self.wrong("no time fulfils both")),
                }
            }
        }
    }

    fn number(&mut self) -> Result<i64, PatternError> {
        let digits =
            self.rest.len() - self.rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number = self.rest[..digits].parse().map_err(|_| self.wrong("expected a number"))?;
        self.rest = &self.rest[digits..];
        Ok(number)
    }

    fn close(&mut self) -> Result<(), PatternError> {
        match self.take(")") {
            true => Ok(()),
            false => Err(self.wrong("expected `)`")),
        }
    }

    fn take(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn wrong(&self, what: &str) -> PatternError {
        let read = &self.pattern[..self.pattern.len() - self.rest.len()];
        PatternError {
            pattern: self.pattern.to_owned(),
            place: read.chars().count() + 1,
            what: what.to_owned(),
        }
    }
}
