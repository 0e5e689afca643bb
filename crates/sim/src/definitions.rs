//! The definitions of docs/semantics.md, which `tests/oracle` evaluates in Python: they share no language
//! with what they check.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// A Python that answers for one run after another.
pub struct Definitions {
    python: Child,
    asked: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Definitions {
    /// # Errors
    /// When the Python of the tests is not there.
    pub fn start() -> Result<Definitions> {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let interpreter = repository.join("tests/.venv/bin/python");
        let missing =
            || format!("{} is missing: run ./test, which makes it", interpreter.display());
        let mut python = Command::new(&interpreter)
            .arg(repository.join("tests/oracle/simulated.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(missing)?;
        let asked = python.stdin.take().context("no standard input")?;
        let answers = BufReader::new(python.stdout.take().context("no standard output")?);
        Ok(Definitions { python, asked, answers })
    }

    /// Holds the tables of a run against the definitions.
    ///
    /// # Errors
    /// The first differences; a Python that breaks off, which is started anew for the next run.
    pub fn hold(&mut self, run: &Value) -> Result<()> {
        let differences = match self.differences(run) {
            Ok(differences) => differences,
            Err(error) => {
                *self = Definitions::start()?;
                return Err(error);
            }
        };
        ensure!(differences.is_empty(), "{}", differences.join("\n"));
        Ok(())
    }

    fn differences(&mut self, run: &Value) -> Result<Vec<String>> {
        writeln!(self.asked, "{run}")?;
        self.asked.flush()?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        serde_json::from_str(&answer).context("the oracle in Python broke off")
    }
}

impl Drop for Definitions {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.python.kill();
        let _ = self.python.wait();
    }
}
