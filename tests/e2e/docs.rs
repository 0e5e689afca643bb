//! The examples of docs/functions.md and docs/cookbook.md, on the sample that the README loads: each
//! statement runs, and answers what stands below it. With WRITE_DOCS=1 the answers are written there.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use footfall_tests::{Footfall, oracle, python, repository};
use tempfile::TempDir;

const DOCS: [&str; 2] = ["docs/functions.md", "docs/cookbook.md"];
/// Statements in all of them together, at least.
const STATEMENTS_MIN: usize = 28;

#[test]
fn every_example_answers_what_the_docs_say() -> Result<()> {
    let folder = TempDir::new()?;
    let footfall = sampled(folder.path())?;
    let writes = std::env::var_os("WRITE_DOCS").is_some();
    let mut statements = 0;
    for name in DOCS {
        let path = repository().join(name);
        let text = std::fs::read_to_string(&path)?;
        let answered = answered(&footfall, &text, &mut statements)?;
        match writes {
            true => std::fs::write(&path, answered)?,
            false => same(Path::new(name), &text, &answered)?,
        }
    }
    ensure!(statements >= STATEMENTS_MIN, "{statements} statements were found");
    Ok(())
}

/// The answers in the docs are written by the code that they test. A program that shares nothing with it
/// computes some of each kind from the events' files.
#[test]
fn figures_of_the_docs_are_those_of_a_second_program() -> Result<()> {
    let folder = TempDir::new()?;
    let lake = sampled(folder.path())?.lake();
    let program = repository().join("tests/oracle/answers.py");
    let docs = DOCS.map(|name| repository().join(name));
    let arguments = [&program, &lake].into_iter().chain(&docs).map(|path| path.to_string_lossy());
    let arguments: Vec<_> = arguments.collect();
    let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
    python(&arguments)?;
    Ok(())
}

/// `needs(…)` with what is declared gives the rows that the fold wrote, in every column that both have.
#[test]
fn needs_asked_for_are_those_of_the_table() -> Result<()> {
    let folder = TempDir::new()?;
    needs_are_those_of_the_table(&sampled(folder.path())?)
}

/// The same of random small logs, whose times tie and whose gaps and windows end on the microsecond. The
/// table itself is held against the batch oracle.
#[test]
fn needs_asked_for_are_those_of_the_table_on_random_logs() -> Result<()> {
    let folder = TempDir::new()?;
    let footfall = Footfall::at(&folder.path().join("data"));
    let program = repository().join("tests/oracle/random_logs.py");
    let lines = python(&[&program.to_string_lossy(), "4000"])?;
    loaded(&footfall, folder.path(), &lines)?;
    let rules = repository().join("tests/oracle/default_rules.json");
    oracle(&footfall.lake(), &rules, &[], None)?;
    needs_are_those_of_the_table(&footfall)
}

fn needs_are_those_of_the_table(footfall: &Footfall) -> Result<()> {
    let columns = "session_id, site, visitor_id, need, raised_at, raised_path, raised_page_type, found_at, \
                   info_ms, click_count, outcome, left_after_ms, left_before_deadline, converted, \
                   session_date";
    for need in ["delivery", "returns"] {
        let (table, asked) = (
            format!("SELECT {columns} FROM needs WHERE need = '{need}'"),
            format!("SELECT {columns} FROM needs('{need}', include_bots => true)"),
        );
        let differ = |from: &str, without: &str| {
            format!("(SELECT count(*) FROM ({from} EXCEPT ALL {without}))")
        };
        let sql = format!(
            "SELECT (SELECT count(*) FROM ({table})) AS rows, {} AS missing, {} AS beyond",
            differ(&table, &asked),
            differ(&asked, &table)
        );
        let answer = footfall.run_well(&["sql", "--format", "csv", &sql])?;
        let figures = answer.lines().last().unwrap_or_default();
        let (rows, rest) = figures.split_once(',').context("there are no figures")?;
        ensure!(rows.parse::<u64>()? > 1_000 && rest == "0,0", "{need}: {figures}");
    }
    Ok(())
}

/// A lake with the README's sample.
pub fn sampled(folder: &Path) -> Result<Footfall> {
    let footfall = Footfall::at(&folder.join("data"));
    let sample = footfall.run_well(&["sample", "--sessions", "5000"])?;
    loaded(&footfall, folder, &sample)?;
    Ok(footfall)
}

fn loaded(footfall: &Footfall, folder: &Path, lines: &str) -> Result<()> {
    let file = folder.join("events.jsonl");
    std::fs::write(&file, lines)?;
    let map = repository().join("config/maps/footfall.toml");
    footfall.run_well(&["load", &file.to_string_lossy(), "--map", &map.to_string_lossy()])?;
    Ok(())
}

/// The text with the answer of each statement in the block below it.
fn answered(footfall: &Footfall, text: &str, statements: &mut usize) -> Result<String> {
    let mut pieces = text.split("```sql\n");
    let mut answered = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (statement, mut rest) = piece.split_once("```\n").context("a block has no end")?;
        if let Some(block) = rest.strip_prefix("\n```\n") {
            rest = block.split_once("```\n").context("an answer has no end")?.1;
        }
        let answer = footfall.run_well(&["sql", statement])?;
        answered.push_str(&format!("```sql\n{statement}```\n\n```\n{answer}```\n{rest}"));
        *statements += 1;
    }
    Ok(answered)
}

fn same(name: &Path, text: &str, answered: &str) -> Result<()> {
    let lines = text.lines().zip(answered.lines()).enumerate();
    for (number, (told, answered)) in lines {
        let place = format!("{}:{}", name.display(), number + 1);
        ensure!(told == answered, "{place} says {told:?}, and the answer is {answered:?}");
    }
    ensure!(text.len() == answered.len(), "{} has other answers at its end", name.display());
    Ok(())
}
