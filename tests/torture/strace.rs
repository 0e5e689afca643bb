//! A process that strace kills as it enters a system call, and what it was doing then.
//!
//! strace counts calls thread by thread; a call that is killed on entry is not made. What follows a call is
//! killed by aiming at the next one: a file gets its name by `linkat` or `rename`, then its folder is synced.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use footfall_tests::{Footfall, wait_until};

use crate::stages::{Stage, TABLES, kind_of};

/// All that writes to disk.
const WRITES: &str = "write,pwrite64,fsync,fdatasync,linkat,rename,renameat,unlink";
/// How long strace may take to write its last lines.
const LAST_LINES: Duration = Duration::from_secs(60);

/// Where a process is to be killed.
pub struct Aim {
    /// Names of system calls, separated by commas.
    pub calls: &'static str,
    /// At which call of a thread, from 1.
    pub when: u64,
    /// Only calls on one of these, if any.
    pub paths: Vec<PathBuf>,
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.calls, self.when)?;
        match self.paths.first() {
            Some(path) => write!(f, " of {}", path.display()),
            None => Ok(()),
        }
    }
}

/// The trace of one life.
pub struct Trace {
    file: PathBuf,
    lake: PathBuf,
}

impl Trace {
    pub fn new(folder: &Path, lake: PathBuf) -> Trace {
        Trace { file: folder.join("strace.txt"), lake }
    }

    /// The binary, to be killed where `aim` says.
    pub fn attach(&self, footfall: &Footfall, aim: &Aim) -> Footfall {
        // Not --seccomp-bpf: with it strace 6.1 injects no signal.
        let mut tracer =
            ["strace", "-D", "-f", "-q", "-y", "-s", "0", "-o"].map(str::to_owned).to_vec();
        tracer.push(self.file.to_string_lossy().into_owned());
        // Where a process is killed at any path, all of its calls are seen, and told what they were.
        let calls = if aim.paths.is_empty() { WRITES } else { aim.calls };
        tracer.extend(["-e".to_owned(), format!("trace={calls}")]);
        let inject = format!("inject={}:signal=KILL:when={}", aim.calls, aim.when);
        tracer.extend(["-e".to_owned(), inject]);
        for path in &aim.paths {
            tracer.extend(["-P".to_owned(), path.to_string_lossy().into_owned()]);
        }
        footfall.clone().under(&tracer)
    }

    /// The stages of the calls that were under way when `process` was killed.
    ///
    /// # Errors
    /// When strace does not end, or its output is missing.
    pub fn hit(&self, process: u32) -> Result<BTreeSet<Stage>> {
        let mut text = String::new();
        let end = format!("{process} +++ ");
        wait_until("the trace's last line", LAST_LINES, || {
            text = String::from_utf8_lossy(&std::fs::read(&self.file)?).into_owned();
            // Threads of the query process may end behind it, more of them than a few dozen.
            Ok(text.lines().rev().any(|line| squeezed(line).starts_with(&end)))
        })?;
        Ok(under_way(&text).iter().filter_map(|call| self.stage(call)).collect())
    }

    fn stage(&self, call: &str) -> Option<Stage> {
        let (name, _) = call.split_once('(')?;
        // What is old is taken away behind a stage, not in it.
        if name == "unlink" {
            return None;
        }
        let mut paths = call.split(['<', '>', '"']).filter(|part| part.starts_with('/'));
        let path = paths.next_back()?;
        if path.ends_with(".jnl") {
            return Some(Stage::Log);
        }
        let path = Path::new(path).strip_prefix(&self.lake).ok()?;
        let mut folders = path.iter().map(|part| part.to_string_lossy());
        let first = folders.next()?;
        if first == "_footfall" {
            // The folder of a partition, or a file in it.
            return (folders.next()? == "snapshots" && folders.nth(1).is_some())
                .then_some(Stage::Snapshot);
        }
        let table = TABLES.into_iter().find(|table| *table == first)?;
        let second = folders.next()?;
        if second != "_delta_log" {
            return Some(Stage::Parquet);
        }
        let file = folders.next();
        match file {
            // The newest version had just been given its name.
            None if name == "fsync" => {
                kind_of(&newest(&self.lake.join(&*first).join("_delta_log"))?, table)
            }
            Some(file) if file.contains(".json") => self.kind_of_commit(table, call, &file),
            _ => None,
        }
    }

    /// A commit that was killed while it had another name yet is found by its staged file.
    fn kind_of_commit(&self, table: &'static str, call: &str, file: &str) -> Option<Stage> {
        let mut texts = call.split(['<', '>', '"']);
        let staged = texts.find(|part| part.contains(".json#")).map(PathBuf::from);
        let file = self.lake.join(table).join("_delta_log").join(file);
        kind_of(&staged.unwrap_or(file), table)
    }
}

/// `pid call`, however strace padded it.
fn squeezed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The calls that have no result, whole.
fn under_way(text: &str) -> Vec<String> {
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let mut dead = BTreeMap::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(call) = rest.strip_suffix("<unfinished ...>") {
            begun.insert(thread, call);
        } else if rest.ends_with("= ?") {
            let call = begun.remove(thread).filter(|_| rest.starts_with("<...")).unwrap_or(rest);
            dead.insert(thread, call);
        } else if rest.starts_with("<...") {
            begun.remove(thread);
        }
    }
    begun.values().chain(dead.values()).map(|call| (*call).to_owned()).collect()
}

/// The newest version of a table's log.
fn newest(log: &Path) -> Option<PathBuf> {
    let files = std::fs::read_dir(log).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    files.filter(|path| path.extension().is_some_and(|end| end == "json")).max()
}
