//! A map: which column of a source fills which of ours, and how an event is filled by it. Reading the source's rows is left
//! to the load and to the bridges.

mod fill;
mod json;
mod plan;
mod read;
mod target;
#[cfg(test)]
mod tests;
mod time_format;

use std::collections::HashMap;
use std::path::Path;

use crate::config::Mistakes;
use crate::config::toml_reader::{self, Document};

pub use fill::{Cell, Unnamed, fill};
pub use json::read_json;
pub use plan::{Bound, Plan};
pub use target::{ItemField, Target};
pub use time_format::TimeFormat;

/// A map file, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadMap {
    /// `None`: by each file's name.
    pub format: Option<Format>,
    /// The site of every row; `None` where a mapping fills it, or nothing does.
    pub site: Option<String>,
    /// Of `timestamp` and `sent_at`, where the source holds text or numbers.
    pub time_format: TimeFormat,
    pub rest: Rest,
    /// `event_name` first, for `only` speaks of it; no target twice.
    pub mappings: Vec<Mapping>,
}

/// How one of our columns is filled.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    pub target: Target,
    pub source: Source,
    /// Theirs to ours; a text that is not among them stays as it is. Empty for other than texts.
    pub values: HashMap<String, String>,
    /// Filled for events of these names (ours) alone; empty: for all.
    pub only: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The source's column of this name.
    Column(String),
    /// This text in every row; it fits the target's type.
    Constant(String),
}

/// What becomes of the source's columns that no mapping names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rest {
    /// They go to `properties` under their own names.
    #[default]
    Properties,
    Drop,
    /// Those that are called like one of our columns fill it, the others go to `properties`.
    SameName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Csv,
    /// One JSON object a line.
    JsonLines,
    Parquet,
}

impl LoadMap {
    /// Reads a map file.
    ///
    /// # Errors
    /// All its mistakes, at least one.
    pub fn load(path: &Path) -> Result<LoadMap, Mistakes> {
        let mut mistakes = Mistakes::default();
        match toml_reader::read_file(path, &mut mistakes) {
            Some(text) => LoadMap::parse(path, &text),
            None => Err(mistakes),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<LoadMap, Mistakes> {
        let mut mistakes = Mistakes::default();
        let map = read::read(&Document::parse(path, text, &mut mistakes), &mut mistakes);
        mistakes.or(map)
    }

    /// Whether a JSON line of the source is an event as clients post it, to be parsed as such.
    pub fn is_identity(&self) -> bool {
        self.rest == Rest::SameName
            && self.time_format == TimeFormat::Rfc3339
            && self.mappings.is_empty()
    }
}

impl Format {
    /// By the file's name: `.csv`, `.jsonl`, `.ndjson`, `.parquet`, the texts also with `.gz`.
    pub fn of_file(path: &Path) -> Option<Format> {
        let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
        if name.ends_with(".parquet") {
            return Some(Format::Parquet);
        }
        match name.strip_suffix(".gz").unwrap_or(&name).rsplit_once('.')?.1 {
            "csv" => Some(Format::Csv),
            "jsonl" | "ndjson" => Some(Format::JsonLines),
            _ => None,
        }
    }
}
