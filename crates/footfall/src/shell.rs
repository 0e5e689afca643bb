//! The shell of `footfall sql`: reads statements and commands, one after the other, from a terminal with
//! history and completion, or from a pipe. Asking is left to `sql`, what a command means to
//! `shell/command.rs`.

mod command;
mod completion;
mod describe;

use std::fs::File;
use std::io::{BufRead, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

use crate::sql::{Source, SqlFormat};
use command::Command;
use completion::Words;

const PROMPT: &str = "footfall> ";
const WELCOME: &str = "Statements end with `;`. \\? lists the commands, \\q leaves.";
/// Lines that the history keeps.
const HISTORY_LINES: usize = 1_000;

/// What commands set.
struct Shell {
    source: Source,
    format: SqlFormat,
    is_timing: bool,
    /// Where answers go; `None`: to the terminal.
    file: Option<PathBuf>,
}

/// Reads until the input ends, or `\q`.
///
/// # Errors
/// From a pipe, the first statement that fails; from a terminal, that it cannot be read.
pub async fn run(source: Source, format: SqlFormat) -> anyhow::Result<()> {
    let shell = Shell { source, format, is_timing: false, file: None };
    match std::io::stdin().is_terminal() {
        true => shell.converse().await,
        false => shell.read_pipe().await,
    }
}

impl Shell {
    async fn converse(mut self) -> anyhow::Result<()> {
        println!("{WELCOME}");
        let words = Words::of(&self.source.listing().await?);
        let settings = Config::builder()
            .max_history_size(HISTORY_LINES)?
            .history_ignore_dups(true)?
            .completion_type(rustyline::CompletionType::List)
            .build();
        let mut editor: Editor<Words, FileHistory> = Editor::with_config(settings)?;
        editor.set_helper(Some(words));
        let history = history_file();
        if let Some(history) = &history {
            // There is none before the first time.
            let _ = editor.load_history(history);
        }
        loop {
            // Reading blocks its thread.
            let (returned, line) = tokio::task::spawn_blocking(move || {
                let line = editor.readline(PROMPT);
                (editor, line)
            })
            .await?;
            editor = returned;
            match line {
                Ok(line) if line.trim().is_empty() => continue,
                Ok(line) => {
                    editor.add_history_entry(line.trim())?;
                    match self.act(line.trim()).await {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(error) => eprintln!("{error:#}"),
                    }
                }
                // What was typed is thrown away.
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => break,
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(history) = history {
            if let Some(folder) = history.parent() {
                std::fs::create_dir_all(folder)?;
            }
            editor.save_history(&history).context("the history cannot be kept")?;
        }
        Ok(())
    }

    async fn read_pipe(mut self) -> anyhow::Result<()> {
        let mut statement = String::new();
        for line in std::io::stdin().lock().lines() {
            let line = line?;
            let is_command = statement.is_empty() && line.trim_start().starts_with('\\');
            statement.push_str(&line);
            if is_command || completion::is_whole(&statement) {
                let whole = std::mem::take(&mut statement);
                if !whole.trim().is_empty() && !self.act(whole.trim()).await? {
                    return Ok(());
                }
            } else {
                statement.push('\n');
            }
        }
        if !statement.trim().is_empty() {
            self.act(statement.trim()).await?;
        }
        Ok(())
    }

    /// Whether to go on.
    async fn act(&mut self, line: &str) -> anyhow::Result<bool> {
        if !line.starts_with('\\') {
            self.ask(line).await?;
            return Ok(true);
        }
        match Command::read(line)? {
            Command::Quit => return Ok(false),
            Command::Help => println!("{}", command::HELP),
            Command::Timing(is_timing) => {
                self.is_timing = is_timing.unwrap_or(!self.is_timing);
                println!("Timing is {}.", if self.is_timing { "on" } else { "off" });
            }
            Command::Format(format) => self.format = format,
            Command::Out(file) => self.file = file,
            Command::Describe(name) => {
                let listing = self.source.listing().await?;
                print!("{}", describe::describe(&listing, name.as_deref())?);
            }
            Command::Functions => {
                print!("{}", describe::functions(&self.source.listing().await?));
            }
        }
        Ok(true)
    }

    async fn ask(&self, statement: &str) -> anyhow::Result<()> {
        if self.file.is_none() {
            self.format.require_no_terminal()?;
        }
        let began = Instant::now();
        let asked = async {
            match &self.file {
                Some(file) => {
                    let out = File::create(file)
                        .with_context(|| format!("{} cannot be written", file.display()))?;
                    self.source.ask(statement, self.format, &mut BufWriter::new(out)).await
                }
                None => {
                    // A lock on the terminal's own output could not be held while rows are waited for.
                    let mut out = BufWriter::new(std::io::stdout());
                    self.source.ask(statement, self.format, &mut out).await
                }
            }
        };
        tokio::select! {
            answered = asked => answered?,
            // Who asked is not waited for any more, so the query stops.
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                bail!("cancelled");
            }
        }
        if self.is_timing {
            println!("Time: {:.3} ms", began.elapsed().as_secs_f64() * 1_000.0);
        }
        Ok(std::io::stdout().flush()?)
    }
}

/// Where what was asked is remembered, for its user alone.
fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let state = state
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state")));
    state.map(|state| state.join("footfall/sql_history"))
}
