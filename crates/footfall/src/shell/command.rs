//! The commands of the shell, each a line that begins with a backslash.

use std::path::PathBuf;

use anyhow::bail;
use clap::ValueEnum;

use crate::sql::SqlFormat;

pub const HELP: &str = "\
  \\d [NAME]         tables and views, or the columns of one
  \\df               Footfall's own functions
  \\timing [on|off]  tell how long each statement takes
  \\format FORMAT    table, csv, json, jsonl, arrow or parquet
  \\o [FILE]         write answers to FILE, each over the one before; without FILE, to the terminal
  \\?                this list
  \\q                leave (so does Ctrl-D)
Ctrl-C stops a statement that runs. Tab completes names.";

#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Quit,
    Help,
    Timing(Option<bool>),
    Format(SqlFormat),
    Out(Option<PathBuf>),
    Describe(Option<String>),
    Functions,
}

impl Command {
    /// # Errors
    /// A sentence: what is wrong with the line.
    pub fn read(line: &str) -> anyhow::Result<Command> {
        let line = line.trim_end_matches(';');
        let (name, argument) = match line.split_once(char::is_whitespace) {
            Some((name, argument)) => (name, Some(argument.trim()).filter(|it| !it.is_empty())),
            None => (line, None),
        };
        Ok(match (name, argument) {
            ("\\q", _) => Command::Quit,
            ("\\?" | "\\h" | "\\help", _) => Command::Help,
            ("\\timing", None) => Command::Timing(None),
            ("\\timing", Some("on")) => Command::Timing(Some(true)),
            ("\\timing", Some("off")) => Command::Timing(Some(false)),
            ("\\timing", Some(other)) => bail!("\\timing is `on` or `off`, not `{other}`"),
            ("\\format", Some(format)) => match SqlFormat::from_str(format, true) {
                Ok(format) => Command::Format(format),
                Err(_) => bail!("there is no format `{format}`: {FORMATS}"),
            },
            ("\\format", None) => bail!("\\format takes one of {FORMATS}"),
            ("\\o", file) => Command::Out(file.map(PathBuf::from)),
            ("\\d" | "\\d+" | "\\dt" | "\\dv", name) => Command::Describe(name.map(str::to_owned)),
            ("\\df" | "\\df+", _) => Command::Functions,
            (name, _) => bail!("there is no command `{name}`; \\? lists them"),
        })
    }
}

const FORMATS: &str = "table, csv, json, jsonl, arrow, parquet";
