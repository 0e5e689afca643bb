//! Prints the effective configuration as TOML, each key with where its value comes from. Finding out
//! is left to `layers`.

use std::fmt::Write;

use super::mistakes::Origin;
use super::toml_reader::{Given, Value, in_place};
use toml::de::DeValue;

/// A key's effective value.
#[derive(Clone, Debug)]
pub struct Setting {
    place: Place,
    key: String,
    /// As TOML.
    pub value: String,
    pub origin: Origin,
}

/// Where a key belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Top,
    /// By its dotted name.
    Section(String),
    /// A table of a list, by what messages call it.
    Entry {
        list: &'static str,
        number: usize,
        called: String,
    },
}

impl Setting {
    /// A variable's or a flag's text is shown as a number if `is_number`.
    pub fn new(place: Place, key: &str, given: &Given<'_>, is_number: bool) -> Setting {
        let value = match given.value {
            Value::Plain(text) if is_number && text.trim().parse::<u64>().is_ok() => {
                text.trim().to_owned()
            }
            Value::Plain(text) => quote(text),
            Value::Toml(DeValue::String(text)) => quote(text),
            Value::Toml(DeValue::Integer(number)) => number.to_string(),
            Value::Toml(_) => String::new(),
        };
        Setting { place, key: key.to_owned(), value, origin: given.origin.clone() }
    }

    /// Of a list of texts.
    pub fn of_list(place: Place, key: &str, texts: &[String], origin: &Origin) -> Setting {
        let texts: Vec<String> = texts.iter().map(|text| quote(text)).collect();
        let value = format!("[{}]", texts.join(", "));
        Setting { place, key: key.to_owned(), value, origin: origin.clone() }
    }

    /// A secret's stand-in.
    pub fn shortened(mut self, chars: usize) -> Setting {
        let text: String = self.value.trim_matches('"').chars().take(chars).collect();
        self.value = quote(&format!("{text}…"));
        self
    }

    /// Shown at the top level, so that it replaces the default list.
    pub fn empty_list(list: &str, origin: &Origin) -> Setting {
        let (value, origin) = ("[]".to_owned(), origin.clone());
        Setting { place: Place::Top, key: list.to_owned(), value, origin }
    }

    pub fn is_listed(&self) -> bool {
        matches!(self.place, Place::Entry { .. })
    }

    /// `ingest.listen`; for an entry of a list what messages call it.
    pub fn path(&self) -> String {
        match &self.place {
            Place::Top => self.key.clone(),
            Place::Section(section) => format!("{section}.{}", self.key),
            Place::Entry { called, .. } => in_place(&self.key, called),
        }
    }
}

pub fn show(settings: &[Setting]) -> String {
    let mut out =
        "# The effective configuration; behind each key is where its value comes from.\n\n"
            .to_owned();
    let (top, rest): (Vec<&Setting>, Vec<&Setting>) =
        settings.iter().partition(|setting| setting.place == Place::Top);
    let mut place = &Place::Top;
    for setting in top.into_iter().chain(rest) {
        if setting.place != *place {
            place = &setting.place;
            let _ = writeln!(out, "\n{}", header(place));
        }
        let Setting { key, value, origin, .. } = setting;
        let _ = writeln!(out, "{key} = {value}  # {origin}");
    }
    out
}

fn header(place: &Place) -> String {
    match place {
        Place::Top => String::new(),
        Place::Section(section) => format!("[{section}]"),
        Place::Entry { list, .. } => format!("[[{list}]]"),
    }
}

fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
