//! Writes JSON objects of known shape straight into a text, without an intermediate value and
//! without a way to fail. Reading JSON is left to serde_json.

use std::fmt::{Display, Write};

use chrono::{DateTime, Datelike, Timelike};

/// A JSON object under construction; its keys are constants that need no escape.
pub(super) struct JsonObject {
    out: String,
    empty: bool,
}

/// Writing to a `String` through `fmt::Write` never fails, so its answers are dropped.
impl JsonObject {
    pub(super) fn with_capacity(bytes: usize) -> JsonObject {
        let mut out = String::with_capacity(bytes);
        out.push('{');
        JsonObject { out, empty: true }
    }

    pub(super) fn finish(mut self) -> String {
        self.out.push('}');
        self.out
    }

    pub(super) fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        push_quoted(&mut self.out, text);
    }

    pub(super) fn text_if(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(key, text);
        }
    }

    /// A text that needs no escape, as it is shown.
    pub(super) fn shown(&mut self, key: &str, text: impl Display) {
        self.key(key);
        let _ = write!(self.out, "\"{text}\"");
    }

    pub(super) fn whole(&mut self, key: &str, whole: i64) {
        self.key(key);
        let _ = write!(self.out, "{whole}");
    }

    pub(super) fn flag(&mut self, key: &str, flag: bool) {
        self.key(key);
        self.out.push_str(if flag { "true" } else { "false" });
    }

    pub(super) fn null(&mut self, key: &str) {
        self.key(key);
        self.out.push_str("null");
    }

    /// `scaled` / 10^`places`, exactly.
    pub(super) fn decimal(&mut self, key: &str, scaled: i64, places: u32) {
        self.key(key);
        let sign = if scaled < 0 { "-" } else { "" };
        let unit = 10u64.pow(places);
        let (whole, part) = (scaled.unsigned_abs() / unit, scaled.unsigned_abs() % unit);
        let _ = write!(self.out, "{sign}{whole}.{part:0width$}", width = places as usize);
    }

    /// RFC 3339 in UTC with microseconds.
    pub(super) fn time(&mut self, key: &str, micros: i64) {
        self.key(key);
        let time = DateTime::from_timestamp_micros(micros).unwrap_or_default();
        self.out.push('"');
        push_digits(&mut self.out, time.year().unsigned_abs(), 4);
        let parts = [
            ('-', time.month()),
            ('-', time.day()),
            ('T', time.hour()),
            (':', time.minute()),
            (':', time.second()),
        ];
        for (separator, part) in parts {
            self.out.push(separator);
            push_digits(&mut self.out, part, 2);
        }
        self.out.push('.');
        push_digits(&mut self.out, time.timestamp_subsec_micros(), 6);
        self.out.push_str("Z\"");
    }

    pub(super) fn object(&mut self, key: &str, fill: impl FnOnce(&mut JsonObject)) {
        self.key(key);
        self.nested(fill);
    }

    pub(super) fn array<T>(&mut self, key: &str, all: &[T], fill: impl Fn(&mut JsonObject, &T)) {
        self.key(key);
        self.out.push('[');
        for (index, one) in all.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            self.nested(|object| fill(object, one));
        }
        self.out.push(']');
    }

    fn nested(&mut self, fill: impl FnOnce(&mut JsonObject)) {
        self.out.push('{');
        self.empty = true;
        fill(self);
        self.out.push('}');
        self.empty = false;
    }

    fn key(&mut self, key: &str) {
        if !std::mem::take(&mut self.empty) {
            self.out.push(',');
        }
        self.out.push('"');
        self.out.push_str(key);
        self.out.push_str("\":");
    }
}

fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    if !text.bytes().any(|byte| matches!(byte, b'"' | b'\\' | 0..b' ')) {
        out.push_str(text);
        out.push('"');
        return;
    }
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
}

fn push_digits(out: &mut String, number: u32, width: u32) {
    for place in (0..width).rev() {
        let digit = number / 10u32.pow(place) % 10;
        out.push(char::from(b'0' + digit as u8));
    }
}
