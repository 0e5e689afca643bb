//! What is promised to be on disk was synced: seen in the system calls, for a kill does not take from a file what
//! a power failure would. Where a sync of the log fails, nothing more is promised.

use std::collections::HashSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use footfall_tests::{Running, wait_until};
use serde_json::json;
use tempfile::TempDir;

use crate::sample::quick;

const PATIENCE: Duration = Duration::from_secs(90);
const EVENTS: usize = 20;
const CALLS: &str = "fsync,linkat,mkdir,recvfrom,rename,sendto,tgkill,write,writev";
/// From this one on each thread's syncs fail. No thread makes half as many while it starts; the log's writer makes one
/// an event.
const FAILING_SYNC: usize = 200;
const ABORT: i32 = 6;

#[test]
fn an_answer_and_a_name_come_after_the_sync() -> Result<()> {
    let folder = TempDir::new()?;
    let trace = folder.path().join("strace.txt");
    // A single partition, to which much is posted, has no ticks: what is synced is an event.
    let footfall = quick(&folder.path().join("data")).set("log.partitions=1");
    // Made by a process that died before it synced the folder above.
    std::fs::create_dir_all(log_of_events(&footfall.lake()))?;
    let running = footfall.clone().under(&tracer(&trace, &[])).start("up")?;
    for number in 0..EVENTS {
        let (status, answer) = running.post("/v1/events", event(&format!("d{number}")))?;
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

/// Nor can anybody say whether a table has a version whose name was not synced: nothing is built on it.
#[test]
fn a_failed_sync_of_a_name_ends_the_process() -> Result<()> {
    let folder = TempDir::new()?;
    let trace = folder.path().join("strace.txt");
    let footfall = quick(&folder.path().join("data"));
    footfall.start("up")?.stop()?;
    // Nothing is committed before the first event was answered.
    let slow = footfall.clone().set("pipeline.commit_interval=3s");
    let slow = slow.set("pipeline.snapshot_interval=60s");
    let versions = log_of_events(&footfall.lake());
    let more = ["-P", &versions.to_string_lossy(), "-e", "inject=fsync:error=EIO"];
    let mut running = slow.under(&tracer(&trace, &more)).start("up")?;
    let answered = post_until_it_aborts(&mut running)?;
    let calls = std::fs::read_to_string(&trace)?;
    ensure!(calls.contains("(INJECTED)") && !answered.is_empty(), "{answered:?}: {calls}");
    let running = footfall.start("up")?;
    wait_until("the tables have them", PATIENCE, || {
        Ok(running.number("SELECT count(*) FROM events")? >= answered.len() as i64)
    })?;
    let stored = running.sql("SELECT event_id FROM events ORDER BY 1")?;
    ensure!(answered.iter().all(|id| stored.contains(&json!([id]))), "{answered:?}: {stored:?}");
    running.stop()
}

/// What the disk holds then nobody can say: a later sync may succeed, and have dropped what this one did not write.
#[test]
fn a_failed_sync_of_the_log_ends_the_process() -> Result<()> {
    let folder = TempDir::new()?;
    let trace = folder.path().join("strace.txt");
    // A single partition, to which much is posted, has no ticks: every sync is of an event.
    let footfall = quick(&folder.path().join("data")).set("log.partitions=1");
    let inject = format!("inject=fsync:error=EIO:when={FAILING_SYNC}+");
    // Nothing is committed before the end: what stands in the tables at last was in the log.
    let failing = footfall.clone().set("pipeline.commit_interval=60s");
    let failing = failing.set("pipeline.snapshot_interval=60s");
    let mut running = failing.under(&tracer(&trace, &["-e", &inject])).start("up")?;
    let answered = post_until_it_aborts(&mut running)?;
    let mut text = String::new();
    wait_until("the trace tells of the end", PATIENCE, || {
        text = std::fs::read_to_string(&trace)?;
        Ok(text.lines().any(|line| line.contains("tgkill(") && line.contains("SIGABRT")))
    })?;
    let calls = ended_calls(&text);
    let failed = calls.iter().position(|call| is_sync_of_log(call) && call.contains(" = -1 EIO"));
    let (before, behind) = calls.split_at(failed.context("no sync of the log failed")?);
    let answers = |calls: &[String]| calls.iter().filter(|call| is_answer(call)).count();
    let (before, behind) = (answers(before), answers(behind));
    ensure!(before > 0 && before == answered.len(), "{before} of {} answers", answered.len());
    ensure!(behind == 0, "{behind} answers 202 came behind a sync that failed");
    let running = footfall.start("up")?;
    wait_until("the tables have them", PATIENCE, || {
        Ok(running.number("SELECT count(*) FROM events")? >= answered.len() as i64)
    })?;
    let stored = running.sql("SELECT event_id, count(*) FROM events GROUP BY event_id")?;
    for id in &answered {
        ensure!(stored.contains(&json!([id, 1])), "{id} is not there once: {stored:?}");
    }
    running.stop()
}

/// Posts events one by one to what ends by itself; those that were answered.
fn post_until_it_aborts(running: &mut Running) -> Result<Vec<String>> {
    let (began, mut answered) = (Instant::now(), Vec::new());
    while began.elapsed() < PATIENCE {
        let id = format!("d{}", answered.len());
        let Ok((status, answer)) = running.post("/v1/events", event(&id)) else { break };
        ensure!(status == 202, "{id}: {status} {answer}");
        answered.push(id);
    }
    let mut status = None;
    wait_until("it ends by itself", PATIENCE, || {
        status = running.ended()?;
        Ok(status.is_some())
    })?;
    let status = status.context("no status")?;
    ensure!(status.signal() == Some(ABORT), "it ended with {status}");
    Ok(answered)
}

/// Where the versions of `events` are named.
fn log_of_events(lake: &Path) -> PathBuf {
    lake.join("events/_delta_log")
}

/// Writes the calls of what it starts to `trace`; `more` are further arguments.
fn tracer(trace: &Path, more: &[&str]) -> Vec<String> {
    let (trace, traced) = (trace.to_string_lossy(), format!("trace={CALLS}"));
    let program = ["strace", "-D", "-f", "-q", "-y", "-s", "16", "-e", "signal=none"];
    let options = ["-o", &trace, "-e", &traced];
    [&program[..], &options, more].concat().into_iter().map(str::to_owned).collect()
}

fn event(id: &str) -> String {
    format!(r#"{{"event_id":"{id}","event_name":"click","visitor_id":"v"}}"#)
}

/// The calls that came back, in the order of their ends.
fn ended_calls(trace: &str) -> Vec<String> {
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
    calls.retain(|call| call.contains(" = "));
    calls
}

fn is_sync_of_log(call: &str) -> bool {
    call.starts_with("fsync(") && call.contains(".jnl>")
}

fn is_answer(call: &str) -> bool {
    call.contains("\"HTTP/1.1 202")
}

/// The calls that were made well, in the order of their ends.
struct Calls(Vec<String>);

impl Calls {
    fn read(trace: &str) -> Calls {
        let mut calls = ended_calls(trace);
        // One that failed ends with its error's name.
        calls.retain(|call| !call.contains(" = -1 "));
        Calls(calls)
    }

    /// Before each answer 202 the log's file was synced, since its request came.
    fn require_synced_answers(&self) -> Result<()> {
        let (mut requests, mut answers, mut is_synced) = (0, 0, false);
        for call in &self.0 {
            if is_sync_of_log(call) {
                is_synced = true;
            } else if call.contains("\"POST /v1/events") {
                (requests, is_synced) = (requests + 1, false);
            } else if is_answer(call) {
                ensure!(is_synced, "answer {answers} was sent before the log was synced: {call}");
                (answers, is_synced) = (answers + 1, false);
            }
        }
        ensure!(requests == EVENTS, "{requests} requests of {EVENTS} are in the trace");
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
            } else if is_answer(call) {
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

    /// A file of the lake was synced before it got its name, and its folder behind that; all folders above were synced
    /// before, whoever made them.
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
                for above in folder.ancestors().skip(1) {
                    let is_synced = synced.contains(&*above.to_string_lossy());
                    let above = above.display();
                    ensure!(is_synced, "{name} got its name before {above} was synced");
                }
                named.push(folder.to_string_lossy().into_owned());
                names += 1;
            }
        }
        ensure!(named.is_empty(), "never synced behind a new name: {named:?}");
        ensure!(names > 20, "{names} files got their names");
        Ok(())
    }
}
