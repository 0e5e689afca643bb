//! What is wrong with a configuration or a map, and where: collected, so that all is told at once.
//! Finding it is left to the readers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Where a value, or a mistake, stands. In the order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The compiled-in `config/footfall.toml`.
    Default {
        line: usize,
    },
    /// A file as a whole.
    File {
        file: Arc<str>,
    },
    /// Lines count from 1.
    Line {
        file: Arc<str>,
        line: usize,
    },
    Environment {
        variable: String,
    },
    Flag {
        flag: String,
    },
}

/// How many mistakes are shown: nobody reads more of a file that is none of ours.
const SHOWN_MAX: usize = 100;

/// All mistakes of a configuration or a map; shown one a line, by origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes {
    /// Of each line in the order found. A message names the thing, its value and the way out.
    all: BTreeMap<Origin, Vec<String>>,
    /// Lines that are no TOML: whatever else is found there follows from that.
    broken: BTreeSet<Origin>,
}

impl Mistakes {
    pub fn push(&mut self, origin: &Origin, message: impl Into<String>) {
        let message = message.into();
        if self.broken.contains(origin) {
            return;
        }
        let of_line = self.all.entry(origin.clone()).or_default();
        if !of_line.contains(&message) {
            of_line.push(message);
        }
    }

    /// Of syntax; before all others of its document.
    pub fn push_syntax(&mut self, origin: &Origin, message: String) {
        self.push(origin, message);
        self.broken.insert(origin.clone());
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// `value` if there are none.
    ///
    /// # Errors
    /// The mistakes in the order of their lines.
    pub fn or<T>(self, value: T) -> Result<T, Mistakes> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl Origin {
    /// Whether its values win over those of `other`.
    pub fn is_over(&self, other: &Origin) -> bool {
        self.rank() > other.rank()
    }

    fn rank(&self) -> u8 {
        match self {
            Origin::Default { .. } => 0,
            Origin::File { .. } | Origin::Line { .. } => 1,
            Origin::Environment { .. } => 2,
            Origin::Flag { .. } => 3,
        }
    }
}

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.all.iter();
        let all = all.flat_map(|(origin, of_line)| of_line.iter().map(move |m| (origin, m)));
        for (i, (origin, message)) in all.clone().take(SHOWN_MAX).enumerate() {
            let start = if i > 0 { "\n" } else { "" };
            write!(f, "{start}{origin}: {message}")?;
        }
        match all.count().saturating_sub(SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more mistakes"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default { .. } => f.write_str("default"),
            Origin::File { file } => f.write_str(file),
            Origin::Line { file, line } => write!(f, "{file}:{line}"),
            Origin::Environment { variable } => write!(f, "environment {variable}"),
            Origin::Flag { flag } => write!(f, "flag {flag}"),
        }
    }
}

/// The way out of an unknown name: `: did you mean …?`, or all that is known.
pub fn way_out<'n>(unknown: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(unknown, &known) {
        Some(nearest) => format!(": did you mean `{nearest}`?"),
        None => format!(": known are `{}`", known.join("`, `")),
    }
}

/// The known name that was meant, if one is like it.
pub fn nearest<'n>(unknown: &str, known: &[&'n str]) -> Option<&'n str> {
    let unknown = unknown.to_lowercase();
    let likeness = |name: &str| strsim::jaro_winkler(&unknown, &name.to_lowercase());
    let nearest = known.iter().map(|name| (likeness(name), *name));
    let (likeness, name) = nearest.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (likeness >= LIKENESS_MIN).then_some(name)
}

/// Jaro-Winkler likeness below which a name is no guess at another.
const LIKENESS_MIN: f64 = 0.8;
