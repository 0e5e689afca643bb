//! What is promised to be on disk was synced: seen in the system calls, for a kill does not take from a file what
//! a power failure would.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use footfall_tests::wait_until;
use tempfile::TempDir;

use crate::sample::quick;

const PATIENCE: Duration = Duration::from_secs(90);
const EVENTS: usize = 20;
const CALLS: &str = "fsync,linkat,mkdir,rename,sendto,write,writev";

#[test]
fn an_answer_and_a_name_come_after_the_sync() -> Result<()> {
    let folder = TempDir::new()?;
    let trace = folder.path().join("strace.txt");
    let options = ["-f", "-q", "-y", "-s", "16", "-e", "signal=none", "-o"];
    let traced = format!("trace={CALLS}");
    let tracer = ["strace", "-D"].into_iter().chain(options).map(str::to_owned);
    let tracer: Vec<String> =
        tracer.chain([trace.to_string_lossy().into(), "-e".to_owned(), traced]).collect();
    let footfall = quick(&folder.path().join("data")).under(&tracer);
    let running = footfall.start("up")?;
    for number in 0..EVENTS {
        let event = format!(r#"{{"event_id":"d{number}","event_name":"click","visitor_id":"v"}}"#);
        let (status, answer) = running.post("/v1/events", event)?;
        ensure!(status == 202, "{answer}");
    }
    wait_until("the tables have them", PATIENCE, || {
        Ok(running.number("SELECT count(*) FROM events")? == EVENTS as i64)
    })?;
    running.stop()?;
    let calls = Calls::read(&std::fs::read_to_string(&trace)?);
    calls.require_synced_answers()?;
    calls.require_synced_folders(&folder.path().join("data"))?;
    calls.require_synced_names(&footfall.lake())
}

/// The calls that were made well, in the order of their ends.
struct Calls(Vec<String>);

impl Calls {
    fn read(trace: &str) -> Calls {
        let mut begun = std::collections::HashMap::new();
        let mut calls = Vec::new();
        for line in trace.lines() {
            let Some((thread, call)) = line.split_once(' ') else { continue };
            let call = call.trim_start();
            if let Some(begin) = call.strip_suffix("<unfinished ...>") {
                begun.insert(thread.to_owned(), begin.to_owned());
            } else if call.starts_with("<...") {
                let begin = begun.remove(thread).unwrap_or_default();
                calls.push(format!("{begin} {call}"));
            } else {
                calls.push(call.to_owned());
            }
        }
        // One that failed ends with its error's name.
        calls.retain(|call| call.contains(" = ") && !call.contains(" = -1 "));
        Calls(calls)
    }

    /// Before each answer 202 the log's file was synced, since the answer before it.
    fn require_synced_answers(&self) -> Result<()> {
        let (mut answers, mut is_synced) = (0, false);
        for call in &self.0 {
            if call.starts_with("fsync(") && call.contains(".jnl>") {
                is_synced = true;
            } else if call.contains("\"HTTP/1.1 202") {
                ensure!(is_synced, "answer {answers} was sent before the log was synced: {call}");
                (answers, is_synced) = (answers + 1, false);
            }
        }
        ensure!(answers == EVENTS, "{answers} answers of {EVENTS} are in the trace");
        Ok(())
    }

    /// Before an answer 202 and before a commit the folder of each new folder was synced.
    fn require_synced_folders(&self, data: &Path) -> Result<()> {
        let (mut unsynced, mut made) = (HashSet::new(), 0);
        for call in &self.0 {
            let path = |quote: &[char]| call.split(quote).nth(1).unwrap_or_default().to_owned();
            if call.starts_with("fsync(") {
                unsynced.remove(&path(&['<', '>']));
            } else if call.starts_with("mkdir(") {
                let path = path(&['"']);
                let above = Path::new(&path).parent().context("a folder in no folder")?;
                if Path::new(&path).starts_with(data) {
                    made += 1;
                    unsynced.insert(above.to_string_lossy().into_owned());
                }
            } else if call.contains("\"HTTP/1.1 202") {
                let of_log = unsynced.iter().find(|folder| !folder.contains("/lake"));
                ensure!(of_log.is_none(), "answered 202 with a folder unsynced: {of_log:?}");
            } else if call.starts_with("linkat(")
                && let Some((table, _)) = call.rsplit_once("/_delta_log/")
            {
                // Other tables' writers may be anywhere.
                let table = table.rsplit('"').next().unwrap_or_default();
                let of_table = unsynced.iter().find(|folder| folder.starts_with(table));
                ensure!(of_table.is_none(), "committed with a folder unsynced: {of_table:?}");
            }
        }
        ensure!(made > 10, "{made} folders were made");
        Ok(())
    }

    /// A file of the lake was synced before it got its name, and its folder behind that.
    fn require_synced_names(&self, lake: &Path) -> Result<()> {
        let (mut synced, mut named) = (HashSet::new(), Vec::new());
        let mut names = 0;
        for call in &self.0 {
            if call.starts_with("fsync(") {
                let path = call.split(['<', '>']).nth(1).context("an fsync of nothing")?;
                named.retain(|folder| folder != path);
                synced.insert(path.to_owned());
            } else if call.starts_with("linkat(") || call.starts_with("rename(") {
                let mut files = call.split('"').skip(1).step_by(2);
                let (Some(staged), Some(name)) = (files.next(), files.next()) else { continue };
                if !Path::new(name).starts_with(lake) {
                    continue;
                }
                ensure!(synced.contains(staged), "{name} got its name before it was synced");
                let folder = Path::new(name).parent().context("a file in no folder")?;
                named.push(folder.to_string_lossy().into_owned());
                names += 1;
            }
        }
        ensure!(named.is_empty(), "never synced behind a new name: {named:?}");
        ensure!(names > 20, "{names} files got their names");
        Ok(())
    }
}
