//! Completing names, and telling when a statement is whole.

use std::borrow::Cow;
use std::collections::BTreeSet;

use rustyline::Context;
use rustyline::Helper;
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use serde_json::Value;

const KEYWORDS: [&str; 32] = [
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "LIMIT",
    "HAVING",
    "JOIN",
    "LEFT JOIN",
    "ON",
    "USING",
    "WITH",
    "AS",
    "AND",
    "OR",
    "NOT",
    "IN",
    "IS NULL",
    "IS NOT NULL",
    "BETWEEN",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "DISTINCT",
    "FILTER",
    "OVER",
    "PARTITION BY",
    "INTERVAL",
    "DESCRIBE",
    "EXPLAIN",
];

/// The names that a statement may hold.
pub struct Words(BTreeSet<String>);

impl Words {
    /// Of a listing of tables and functions.
    pub fn of(listing: &Value) -> Words {
        let names = |values: &Value| -> Vec<String> {
            let values = values.as_array().map(Vec::as_slice).unwrap_or_default();
            values.iter().filter_map(|value| Some(value["name"].as_str()?.to_owned())).collect()
        };
        let mut words: BTreeSet<String> = KEYWORDS.map(str::to_owned).into();
        words.extend(names(&listing["tables"]));
        words.extend(names(&listing["functions"]).into_iter().map(|name| format!("{name}(")));
        for table in listing["tables"].as_array().into_iter().flatten() {
            words.extend(names(&table["columns"]));
        }
        Words(words)
    }

    /// What the end of `line` may become, and where it begins.
    fn candidates(&self, line: &str) -> (usize, Vec<&str>) {
        let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
        let begin = line.len()
            - line.chars().rev().take_while(|c| is_name(*c)).map(char::len_utf8).sum::<usize>();
        let begun = line[begin..].to_lowercase();
        if begun.is_empty() {
            return (begin, Vec::new());
        }
        let words = self.0.iter().map(String::as_str);
        (begin, words.filter(|word| word.to_lowercase().starts_with(&begun)).collect())
    }
}

/// Whether a statement has its `;`, or is a command. One in a text or a comment is none.
pub fn is_whole(text: &str) -> bool {
    let text = text.trim();
    if text.is_empty() || text.starts_with('\\') {
        return true;
    }
    let (mut quote, mut ends) = (None, false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (Some(_), _) => continue,
            (None, '\'' | '"') => quote = Some(letter),
            (None, '-') if letters.peek() == Some(&'-') => {
                letters.by_ref().find(|letter| *letter == '\n');
                continue;
            }
            (None, _) => {}
        }
        ends = letter == ';' && quote.is_none() || ends && letter.is_whitespace();
    }
    ends
}

impl Completer for Words {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        place: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (begin, words) = self.candidates(&line[..place]);
        let pair = |word: &str| Pair { display: word.to_owned(), replacement: word.to_owned() };
        Ok((begin, words.into_iter().map(pair).collect()))
    }
}

impl Validator for Words {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match is_whole(context.input()) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Borrowed(hint)
    }
}

impl Helper for Words {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_statement_is_whole_with_its_semicolon() {
        for whole in ["SELECT 1;", "SELECT ';';", "SELECT 1 -- ; no\n;", "\\d", "", "SELECT 1;  "] {
            assert!(is_whole(whole), "{whole}");
        }
        for open in ["SELECT 1", "SELECT ';'", "SELECT 1 -- ;", "SELECT 'a;", "SELECT 1; SELECT"] {
            assert!(!is_whole(open), "{open}");
        }
    }

    #[test]
    fn names_complete_from_the_word_at_hand() {
        let listing = json!({
            "tables": [{"name": "events", "columns": [{"name": "event_name"}]}],
            "functions": [{"name": "funnel"}],
        });
        let words = Words::of(&listing);
        assert_eq!(words.candidates("SELECT eve"), (7, vec!["event_name", "events"]));
        assert_eq!(words.candidates("select * FROM fun"), (14, vec!["funnel("]));
        assert_eq!(words.candidates("sel"), (0, vec!["SELECT"]));
        assert_eq!(words.candidates("SELECT "), (7, Vec::new()));
        assert_eq!(words.candidates("é"), (0, Vec::new()));
    }
}
