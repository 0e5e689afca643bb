//! The shell of `footfall sql`, fed by a pipe: statements, commands, export.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use footfall_tests::{Footfall, binary};
use tempfile::TempDir;

fn shell(folder: &TempDir, input: &str) -> Result<Output> {
    let mut shell = Command::new(binary())
        .args(["sql", "--data-dir"])
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    shell.stdin.take().context("no input")?.write_all(input.as_bytes())?;
    Ok(shell.wait_with_output()?)
}

#[test]
fn statements_and_commands_come_one_after_the_other() -> Result<()> {
    let folder = TempDir::new()?;
    Footfall::at(folder.path()).start("up")?.stop()?;
    let export = folder.path().join("rows.csv");
    let input = format!(
        "SELECT 1 AS one,\n  ';' AS text;\n\\timing on\n\\format csv\n\\o {}\nSELECT 2 AS two;\n\\o\n\
         \\d page_views\n\\df\nSELECT 3 AS three",
        export.display()
    );
    let output = shell(&folder, &input)?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{said} {}", String::from_utf8_lossy(&output.stderr));
    for told in [
        "| 1   | ;    |",
        "Timing is on.",
        "Time: ",
        "page_views: a page view that is over",
        "funnel(step, …)",
        "three\n3\n",
    ] {
        ensure!(said.contains(told), "{told:?} is not in {said}");
    }
    ensure!(std::fs::read_to_string(&export)? == "two\n2\n");
    Ok(())
}

#[test]
fn a_pipe_ends_with_the_first_statement_that_fails() -> Result<()> {
    let folder = TempDir::new()?;
    Footfall::at(folder.path()).start("up")?.stop()?;
    for (input, told) in [
        ("SELECT evnt_name FROM events;\nSELECT 5;", "did you mean `event_name`?"),
        ("\\dd\nSELECT 5;", "there is no command `\\dd`"),
        ("\\format xml\nSELECT 5;", "there is no format `xml`"),
    ] {
        let output = shell(&folder, input)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1) && said.contains(told), "{input}: {said}");
        ensure!(output.stdout.is_empty(), "{input} went on");
    }
    Ok(())
}
