//! What each table, column, view and function is, in a sentence. It is read out of docs/semantics.md and
//! docs/functions.md, so that a client shows what they say.

use std::collections::BTreeMap;
use std::sync::LazyLock;

const TEXTS: [&str; 2] =
    [include_str!("../../../docs/semantics.md"), include_str!("../../../docs/functions.md")];

/// By call, which is the bare name of a table: there is a table and a function called `needs`.
static DICTIONARY: LazyLock<BTreeMap<String, Entry>> = LazyLock::new(|| {
    let mut entries = BTreeMap::new();
    for text in TEXTS {
        read(text, &mut entries);
    }
    entries
});

#[derive(Default)]
struct Entry {
    says: String,
    columns: BTreeMap<String, String>,
}

/// What a table or view is.
pub(crate) fn of_table(table: &str) -> Option<&'static str> {
    DICTIONARY.get(table).map(|entry| entry.says.as_str())
}

/// What a column of a table or view is.
pub(crate) fn of_column(table: &str, column: &str) -> Option<&'static str> {
    DICTIONARY.get(table)?.columns.get(column).map(String::as_str)
}

/// Footfall's own functions by name, each with how it is called and what it does.
pub(crate) fn functions() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    DICTIONARY.iter().filter_map(|(call, entry)| {
        let (name, _) = call.split_once('(')?;
        Some((name, call.as_str(), entry.says.as_str()))
    })
}

/// An entry begins with a heading such as ``### `events`: an accepted event, once``; the rows of its
/// table are ``| `column`, `column` | type | meaning |``.
fn read(text: &str, entries: &mut BTreeMap<String, Entry>) {
    let mut at: Option<String> = None;
    for line in text.lines() {
        if line.starts_with('#') {
            at = heading(line).map(|(call, entry)| {
                entries.insert(call.clone(), entry);
                call
            });
            continue;
        }
        let Some(entry) = at.as_ref().and_then(|call| entries.get_mut(call)) else { continue };
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        if let ([names, _, meaning], true) = (cells.as_slice(), line.starts_with("| `")) {
            for name in quoted(names) {
                entry.columns.insert(name.to_owned(), plain(meaning));
            }
        }
    }
}

fn heading(line: &str) -> Option<(String, Entry)> {
    let (call, says) = line.strip_prefix("### `")?.split_once("`: ")?;
    Some((call.to_owned(), Entry { says: plain(says), columns: BTreeMap::new() }))
}

fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Without the marks of Markdown.
fn plain(text: &str) -> String {
    text.replace('`', "")
}
