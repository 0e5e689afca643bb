//! Python's side: the batch oracle, and readers that know nothing of Footfall.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::Running;

/// The checkout.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}

/// Runs a Python program with the packages of tests/requirements.txt; what it printed.
///
/// # Errors
/// When it fails, with what it said.
pub fn python(arguments: &[&str]) -> Result<String> {
    let interpreter = repository().join("tests/.venv/bin/python");
    let missing = || format!("{} is missing: run ./test, which makes it", interpreter.display());
    let output = Command::new(&interpreter).args(arguments).output().with_context(missing)?;
    let (out, said) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{}\n{out}{said}", output.status);
    Ok(out.into_owned())
}

/// Runs a text as [`python`] runs a program; `arguments` are its own.
///
/// It ends where its text does: threads of pyarrow that are still about when an interpreter takes itself apart
/// abort it now and then (apache/arrow#34314), after all of its work.
///
/// # Errors
/// As [`python`].
pub fn python_text(text: &str, arguments: &[&str]) -> Result<String> {
    let text = format!("import os, sys\n{text}\nsys.stdout.flush()\nos._exit(0)\n");
    python(&[&["-c", &text], arguments].concat())
}

/// Each partition's newest watermark, as the oracle wants it: `P=MICROS`.
///
/// # Errors
/// As [`Running::sql`].
pub fn watermarks(running: &Running) -> Result<Vec<String>> {
    let newest = "SELECT log_partition, max(CAST(watermark AS BIGINT)) FROM receipts \
                  WHERE watermark IS NOT NULL GROUP BY 1 ORDER BY 1";
    let rows = running.sql(newest)?;
    Ok(rows.iter().map(|row| format!("{}={}", row[0], row[1])).collect())
}

/// A rules file of the oracle in `folder`: the defaults with another session gap.
///
/// # Errors
/// When it cannot be written.
pub fn rules_with_gap(folder: &Path, gap_s: u64) -> Result<PathBuf> {
    let defaults = repository().join("tests/oracle/default_rules.json");
    let mut rules: Value = serde_json::from_str(&std::fs::read_to_string(defaults)?)?;
    rules["session_gap_us"] = json!(gap_s * 1_000_000);
    let path = folder.join("rules.json");
    std::fs::write(&path, rules.to_string())?;
    Ok(path)
}

/// Holds a lake's sessions, needs and page views against the oracle, and against what the sample
/// meant.
///
/// # Errors
/// The differences.
pub fn oracle(
    lake: &Path,
    rules: &Path,
    watermarks: &[String],
    truth: Option<&Path>,
) -> Result<String> {
    run_oracle(lake, rules, watermarks, truth, &[])
}

/// As [`oracle`], with late events in their sessions: what the tables hold when all are repaired.
///
/// # Errors
/// As [`oracle`].
pub fn oracle_of_all(lake: &Path, rules: &Path, watermarks: &[String]) -> Result<String> {
    run_oracle(lake, rules, watermarks, None, &["--include-late"])
}

fn run_oracle(
    lake: &Path,
    rules: &Path,
    watermarks: &[String],
    truth: Option<&Path>,
    more: &[&str],
) -> Result<String> {
    let program = repository().join("tests/oracle/oracle.py");
    let table = |name: &str| lake.join(name).to_string_lossy().into_owned();
    let mut arguments = vec![program.to_string_lossy().into_owned(), "--check-events".to_owned()];
    arguments.extend(["--rules".to_owned(), rules.to_string_lossy().into_owned()]);
    let tables = [
        ("--events", "events"),
        ("--sessions", "sessions"),
        ("--needs", "needs"),
        ("--page-views", "page_views"),
    ];
    for (option, name) in tables {
        arguments.extend([option.to_owned(), table(name)]);
    }
    for watermark in watermarks {
        arguments.extend(["--watermark".to_owned(), watermark.clone()]);
    }
    if let Some(truth) = truth {
        arguments.extend(["--truth".to_owned(), truth.to_string_lossy().into_owned()]);
    }
    let arguments: Vec<&str> =
        arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
    python(&arguments)
}
