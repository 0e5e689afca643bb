//! The text of a log. Records are read in the order of the lines, whatever their times:
//!
//! ```text
//! rules gap=30s need.price.within=5s        settings of the first rules (before any record)
//! 12:00:00 v1 page_view id=a type=product   an event of visitor v1, appended at its own time
//! 12:00:01 other/v2 click @+3s              of site `other`, appended 3 s after its time
//! 12:00:02.000001 - search @12:00:09        without a visitor, appended at 12:00:09
//! 12:00:03 v1 click old_resend              found among rows written long ago
//! rejected 12:00:04 v1 id=x                 a rejected event
//! tick 12:00:05
//! rules 12:00:06 cap=1h                     a control record: settings on top of those before
//! erase 12:00:06 v1                         a control record: the visitor is to be forgotten
//! commit                                    takes the output
//! restart                                   takes the output, saves the fold and restores it
//! live                                      looks at the sessions that are not over
//! ```
//!
//! Hours count on past midnight (`36:00:00`). A log begins with two ticks that confirm its clock,
//! unless its first line is `cold`, and ends with two that close all that is open, unless its last
//! line is `stop`. Events without an id are `e1`, `e2`, ... by their line.

use std::collections::BTreeMap;

use footfall_event::Micros;

/// 2026-03-02, where the hours are counted from.
const FIRST_DAY: Micros = Micros(20_514 * Micros::DAY.0);
const LONG_AFTER: Micros = Micros(2 * Micros::HOUR.0);
const FIVE_SECONDS: Micros = Micros(5 * Micros::SECOND.0);

#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Settings of the first rules.
    pub settings: Vec<Setting>,
    /// A record's place is its offset.
    pub records: Vec<Record>,
    /// Each with the offset of the record before which it is done.
    pub marks: Vec<(usize, Mark)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Commit,
    Restart,
    Live,
}

#[derive(Clone, Debug)]
pub struct Record {
    pub append_time: Micros,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Tick,
    Event(Event),
    Rejected(Event),
    Rules(Vec<Setting>),
    /// Site and visitor.
    Erase(String, String),
}

/// `key=value`.
pub type Setting = (String, String);

#[derive(Clone, Debug, Default)]
pub struct Event {
    pub time: Micros,
    pub site: String,
    pub visitor: Option<String>,
    pub fields: BTreeMap<String, String>,
    pub is_old_resend: bool,
}

impl Event {
    pub fn field(&self, key: &str) -> Option<&str> {
        self.fields.get(key).map(String::as_str)
    }

    pub fn number(&self, key: &str) -> Option<i64> {
        self.field(key).map(|text| text.parse().unwrap())
    }

    pub fn id(&self) -> &str {
        self.field("id").unwrap()
    }
}

impl Log {
    pub fn parse(text: &str) -> Log {
        let mut lines: Vec<&str> = text.lines().map(str::trim).collect();
        lines.retain(|line| !line.is_empty() && !line.starts_with('#'));
        let mut log = Log::default();
        let is_cold = lines.first() == Some(&"cold");
        let stops = lines.last() == Some(&"stop");
        lines.retain(|line| !matches!(*line, "cold" | "stop"));
        for line in lines {
            log.add_line(line);
        }
        if !is_cold {
            log.confirm_clock();
        }
        if !stops {
            let last = log.records.last().unwrap().append_time;
            log.records.extend([LONG_AFTER, LONG_AFTER + FIVE_SECONDS].map(|by| tick(last + by)));
        }
        log
    }

    fn confirm_clock(&mut self) {
        let first = self.records[0].append_time;
        let before = [FIVE_SECONDS + FIVE_SECONDS, FIVE_SECONDS].map(|by| tick(first - by));
        for (offset, _) in &mut self.marks {
            *offset += before.len();
        }
        self.records.splice(0..0, before);
    }

    fn add_line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (append_time, kind) = match words[..] {
            ["commit"] => return self.marks.push((self.records.len(), Mark::Commit)),
            ["restart"] => return self.marks.push((self.records.len(), Mark::Restart)),
            ["live"] => return self.marks.push((self.records.len(), Mark::Live)),
            ["rules", first, ..] if first.contains('=') => {
                return self.settings.extend(words[1..].iter().map(|word| setting(word)));
            }
            ["rules", at, ..] => {
                (time(at), Kind::Rules(words[2..].iter().map(|word| setting(word)).collect()))
            }
            ["tick", at] => (time(at), Kind::Tick),
            ["erase", at, who] => {
                let (site, visitor) = who.split_once('/').unwrap_or(("shop", who));
                (time(at), Kind::Erase(site.to_owned(), visitor.to_owned()))
            }
            ["rejected", ..] => {
                let (append_time, event) = self.event(&words[1..]);
                (append_time, Kind::Rejected(event))
            }
            _ => {
                let (append_time, event) = self.event(&words);
                (append_time, Kind::Event(event))
            }
        };
        self.records.push(Record { append_time, kind });
    }

    fn event(&self, words: &[&str]) -> (Micros, Event) {
        let (at, who) = (time(words[0]), words[1]);
        let (site, visitor) = who.split_once('/').unwrap_or(("shop", who));
        let mut event = Event {
            time: at,
            site: site.to_owned(),
            visitor: (visitor != "-").then(|| visitor.to_owned()),
            ..Event::default()
        };
        let is_event = |record: &&Record| matches!(record.kind, Kind::Event(_) | Kind::Rejected(_));
        let number = self.records.iter().filter(is_event).count() + 1;
        event.fields.insert("id".into(), format!("e{number}"));
        let mut append_time = at;
        for word in &words[2..] {
            if let Some(delay) = word.strip_prefix("@+") {
                append_time = at + span(delay);
            } else if let Some(other) = word.strip_prefix('@') {
                append_time = time(other);
            } else if *word == "old_resend" {
                event.is_old_resend = true;
            } else if word.contains('=') {
                event.fields.extend([setting(word)]);
            } else {
                event.fields.insert("name".into(), (*word).to_owned());
            }
        }
        (append_time, event)
    }
}

pub fn tick(append_time: Micros) -> Record {
    Record { append_time, kind: Kind::Tick }
}

fn setting(word: &str) -> Setting {
    let (key, value) = word.split_once('=').unwrap_or_else(|| panic!("`{word}` is no key=value"));
    (key.to_owned(), value.to_owned())
}

/// `12:00`, `12:00:05` or `12:00:05.000001`.
pub fn time(text: &str) -> Micros {
    let mut parts = text.split(':');
    let mut next = || parts.next().unwrap_or("0");
    let (hours, minutes, seconds) = (next(), next(), next());
    let whole =
        |text: &str| text.parse::<i64>().unwrap_or_else(|_| panic!("`{text}` is no number"));
    let of_minutes = (whole(hours) * 60 + whole(minutes)) * Micros::MINUTE.0;
    FIRST_DAY + Micros(of_minutes) + span(&format!("{seconds}s"))
}

/// `3s`, `3.000001s`, `500ms`, `1us`, `30m`, `24h`.
pub fn span(text: &str) -> Micros {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let unit = match &text[digits.len()..] {
        "us" => 1,
        "ms" => 1_000,
        "s" => Micros::SECOND.0,
        "m" => Micros::MINUTE.0,
        "h" => Micros::HOUR.0,
        unit => panic!("`{unit}` of `{text}` is no unit"),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole: i64 = whole.parse().unwrap();
    let millionths: i64 = format!("{fraction:0<6}").parse().unwrap();
    Micros(whole * unit + millionths * unit / 1_000_000)
}

/// The reverse of [`time`]; seconds without a fraction where there is none.
pub fn show_time(at: Micros) -> String {
    let since = at - FIRST_DAY;
    let minutes = since.0.div_euclid(Micros::MINUTE.0);
    let rest = Micros(since.0.rem_euclid(Micros::MINUTE.0));
    let seconds = show_span(rest);
    let seconds = seconds.trim_end_matches('s');
    let padding = if rest < Micros(10 * Micros::SECOND.0) { "0" } else { "" };
    format!("{:02}:{:02}:{padding}{seconds}", minutes / 60, minutes % 60)
}

/// Seconds, such as `3s` or `3.000001s`.
pub fn show_span(span: Micros) -> String {
    let (whole, fraction) = (span.0 / Micros::SECOND.0, span.0 % Micros::SECOND.0);
    if fraction == 0 {
        return format!("{whole}s");
    }
    format!("{whole}.{}s", format!("{fraction:06}").trim_end_matches('0'))
}
