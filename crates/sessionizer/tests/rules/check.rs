//! `check(log, expected)`: folds the log and compares what comes out.

use super::language::Log;
use super::render::{Row, rows};
use super::run::Run;

/// Folds `log` and requires, of each kind of row that `expected` names, just the rows it lists, in
/// its order: each with an equal head and equal values of the fields it names. `no signal` says that
/// there is none.
#[track_caller]
pub fn check(log: &str, expected: &str) {
    let log = Log::parse(log);
    let all = rows(&Run::of(&log));
    let lines = expected.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let lines: Vec<_> = lines.filter(|words| !words.is_empty()).collect();
    let kind_of = |words: &Vec<&str>| if words[0] == "no" { words[1] } else { words[0] }.to_owned();
    let mut kinds: Vec<String> = lines.iter().map(kind_of).collect();
    kinds.sort();
    kinds.dedup();
    let (mut wanted, mut found) = (String::new(), String::new());
    for kind in kinds {
        let listed: Vec<_> = lines.iter().filter(|words| words[0] == kind).collect();
        let actual: Vec<_> = all.iter().filter(|row| row.kind == kind).collect();
        for words in &listed {
            wanted += &format!("{}\n", words.join(" "));
        }
        for (at, row) in actual.iter().enumerate() {
            found += &format!("{}\n", as_asked(row, listed.get(at).map_or(&[], |words| words)));
        }
    }
    let everything = all.iter().map(|row| format!("  {row}\n")).collect::<String>();
    assert!(found == wanted, "\nexpected\n{wanted}\nfound\n{found}\nof all rows\n{everything}");
}

/// The row with just the fields that `words` names.
fn as_asked(row: &Row, words: &[&str]) -> String {
    let keys = words.iter().filter_map(|word| Some(word.split_once('=')?.0));
    let mut text = format!("{} {}", row.kind, row.head);
    for key in keys {
        let value = row.fields.iter().find(|(field, _)| *field == key).map(|(_, value)| value);
        let value = value.unwrap_or_else(|| panic!("a {} has no field `{key}`", row.kind));
        text += &format!(" {key}={value}");
    }
    text
}
