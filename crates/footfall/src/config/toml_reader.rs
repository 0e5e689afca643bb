//! Reads TOML with the line of every key and value, and collects mistakes where others would stop.
//! Which keys there are, and what their values mean, is left to its users.

use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::mistakes::{Mistakes, Origin, nearest, way_out};
use super::values::describe;

/// A TOML text, as far as it can be read.
pub struct Document<'t> {
    /// As shown in messages; `None`: the compiled-in defaults.
    name: Option<Arc<str>>,
    root: DeTable<'t>,
    line_starts: Vec<usize>,
    /// After an error of syntax, keys may be missing that are written.
    is_whole: bool,
}

/// A table of a document, and what it is called in messages.
#[derive(Clone)]
pub struct Table<'d> {
    document: &'d Document<'d>,
    entries: &'d DeTable<'d>,
    /// `[ingest]`, `need `delivery``; empty for the top level.
    pub place: String,
    pub origin: Origin,
}

/// A value and where it stands.
#[derive(Clone)]
pub struct Given<'d> {
    pub value: Value<'d>,
    pub origin: Origin,
    document: Option<&'d Document<'d>>,
}

#[derive(Clone, Copy)]
pub enum Value<'d> {
    Toml(&'d DeValue<'d>),
    /// A variable's or a flag's, where all is text.
    Plain(&'d str),
}

/// A file's text; `None`, with a mistake, if it cannot be read.
pub fn read_file(path: &Path, mistakes: &mut Mistakes) -> Option<String> {
    std::fs::read_to_string(path)
        .map_err(|error| {
            let origin = Origin::File { file: path.to_string_lossy().into() };
            mistakes.push(&origin, format!("cannot be read: {error}"));
        })
        .ok()
}

impl<'t> Document<'t> {
    pub fn built_in(text: &'t str, mistakes: &mut Mistakes) -> Document<'t> {
        Document::new(None, text, mistakes)
    }

    pub fn parse(path: &Path, text: &'t str, mistakes: &mut Mistakes) -> Document<'t> {
        Document::new(Some(path.to_string_lossy().into()), text, mistakes)
    }

    fn new(name: Option<Arc<str>>, text: &'t str, mistakes: &mut Mistakes) -> Document<'t> {
        let (root, errors) = DeTable::parse_recoverable(text);
        let newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(newlines).collect();
        let root = root.into_inner();
        let document = Document { name, root, line_starts, is_whole: errors.is_empty() };
        for error in errors {
            let at = error.span().map_or(text.len(), |span| span.start);
            let key = key_of_line(text, at);
            let message = format!("{}, at `{key}`", error.message());
            mistakes.push_syntax(&document.origin(at), message);
        }
        document
    }

    pub fn root<'d>(&'d self) -> Table<'d> {
        let origin = match &self.name {
            Some(file) => Origin::File { file: file.clone() },
            None => Origin::Default { line: 1 },
        };
        Table { document: self, entries: &self.root, place: String::new(), origin }
    }

    fn given<'d>(&'d self, value: &'d Spanned<DeValue<'d>>) -> Given<'d> {
        let origin = self.origin(value.span().start);
        Given { value: Value::Toml(value.get_ref()), origin, document: Some(self) }
    }

    fn origin(&self, at: usize) -> Origin {
        let line = self.line_starts.partition_point(|start| *start <= at);
        match &self.name {
            Some(file) => Origin::Line { file: file.clone(), line },
            None => Origin::Default { line },
        }
    }
}

impl<'d> Table<'d> {
    /// The keys, where each stands, and their values, in the order written.
    pub fn entries(&self) -> Vec<(&'d str, Origin, Given<'d>)> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let document = self.document;
        let entry = |(key, value): (&'d Spanned<DeString<'d>>, &'d Spanned<DeValue<'d>>)| {
            (key.get_ref().as_ref(), document.origin(key.span().start), document.given(value))
        };
        entries.into_iter().map(entry).collect()
    }

    pub fn find(&self, key: &str) -> Option<Given<'d>> {
        self.entries.get(key).map(|value| self.document.given(value))
    }

    /// The value of `key`, if it is there and right.
    pub fn read<T>(
        &self,
        key: &str,
        mistakes: &mut Mistakes,
        parse: impl Fn(&Value<'_>) -> Result<T, String>,
    ) -> Option<T> {
        self.find(key)?.read(&in_place(key, &self.place), mistakes, parse)
    }

    /// Names each key that is not among `known`.
    pub fn refuse_unknown(&self, known: &[&str], mistakes: &mut Mistakes) {
        for (key, origin, _) in self.entries() {
            if !known.contains(&key) {
                let way_out = way_out(key, known.iter().copied());
                let key = in_place(key, &self.place);
                mistakes.push(&origin, format!("unknown key {key}{way_out}"));
            }
        }
    }

    /// Names each key that is neither among `keys` nor `optional`, and each of `keys` that is not there,
    /// unless an unknown one was meant to be it.
    pub fn require(&self, keys: &[&str], optional: &[&str], mistakes: &mut Mistakes) {
        let known = [keys, optional].concat();
        self.refuse_unknown(&known, mistakes);
        let unknown = self.entries.keys().map(|key| key.get_ref().as_ref());
        let unknown: Vec<&str> = unknown.filter(|key| !known.contains(key)).collect();
        for key in keys {
            let is_meant = unknown.iter().any(|name| nearest(name, keys) == Some(*key));
            if !self.entries.contains_key(*key) && !is_meant && self.is_whole() {
                mistakes.push(&self.origin, format!("{} has no `{key}`", self.place));
            }
        }
    }

    /// Whether a key that is not found was not written either.
    pub fn is_whole(&self) -> bool {
        self.document.is_whole
    }
}

impl<'d> Given<'d> {
    pub fn plain(text: &'d str, origin: Origin) -> Given<'d> {
        Given { value: Value::Plain(text), origin, document: None }
    }

    /// The value if `parse` takes it; what it says else is a mistake of `name`.
    pub fn read<T>(
        &self,
        name: &str,
        mistakes: &mut Mistakes,
        parse: impl Fn(&Value<'_>) -> Result<T, String>,
    ) -> Option<T> {
        match parse(&self.value) {
            Ok(value) => Some(value),
            Err(fault) => {
                mistakes.push(&self.origin, format!("{name}{fault}"));
                None
            }
        }
    }

    /// As a table that is called `place`.
    pub fn table(&self, place: &str, mistakes: &mut Mistakes) -> Option<Table<'d>> {
        match (self.value, self.document) {
            (Value::Toml(DeValue::Table(entries)), Some(document)) => {
                let (place, origin) = (place.to_owned(), self.origin.clone());
                Some(Table { document, entries, place, origin })
            }
            (value, _) => {
                let found = describe(&value);
                mistakes.push(&self.origin, format!("{place} is {found}: must be a table"));
                None
            }
        }
    }

    /// As a list of values, in order.
    pub fn list(&self, name: &str, mistakes: &mut Mistakes) -> Option<Vec<Given<'d>>> {
        match (self.value, self.document) {
            (Value::Toml(DeValue::Array(array)), Some(document)) => {
                Some(array.iter().map(|value| document.given(value)).collect())
            }
            (value, _) => {
                let found = describe(&value);
                mistakes.push(&self.origin, format!("{name} is {found}: must be a list"));
                None
            }
        }
    }
}

/// A key as messages name it: `` `within` in need `delivery` ``.
pub fn in_place(key: &str, place: &str) -> String {
    if place.is_empty() { format!("`{key}`") } else { format!("`{key}` in {place}") }
}

/// The line at `at` without its value, which may be secret.
fn key_of_line(text: &str, at: usize) -> &str {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    line.split('=').next().unwrap_or_default().trim()
}
