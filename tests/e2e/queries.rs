//! Queries that want everything: each ends with an error that says why, in its time; the process of
//! queries may go with them, and is there again; what takes events is not touched.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use footfall_tests::attack::Others;
use footfall_tests::{Footfall, Running, wait_until};
use serde_json::Value;
use tempfile::TempDir;

use crate::sample::quick;

/// 32 GB for one batch of rows, outside of what DataFusion accounts for.
const LONG_VALUES: &str = "
    WITH a AS (SELECT repeat('x', 8000) || value AS s FROM generate_series(1, 8192)),
    b AS (SELECT s || s || s || s AS s FROM a), c AS (SELECT s || s || s || s AS s FROM b)
    SELECT max(length(s || s || s || s)) FROM c";
const TIME_MAX: Duration = Duration::from_secs(2);
/// Beside `time_max`: to be planned, told, and for a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);
/// 64 MiB and half of it for queries, 256 MiB for the process, and a quarter more until it ends.
const QUERY_MB_MAX: u64 = 600;

fn start(folder: &TempDir) -> Result<Running> {
    small(folder).start("up")
}

fn small(folder: &TempDir) -> Footfall {
    quick(folder.path())
        .set("query.memory_bytes_max=64MiB")
        .set("query.spill_bytes_max=64MiB")
        .set("query.time_max=2s")
        .set("query.rows_max=1000")
        .set("query.concurrency_max=2")
        .set("query.queue_time_max=1s")
}

/// Status and error of a statement.
fn refused(running: &Running, statement: &str) -> Result<(u16, Value)> {
    let client = reqwest::blocking::Client::builder().timeout(TIME_MAX + PATIENCE).build()?;
    let url = format!("{}/v1/sql", running.query());
    let answer = client.post(url).body(statement.to_owned()).send()?;
    let status = answer.status().as_u16();
    let mut answer: Value = serde_json::from_str(&answer.text()?)?;
    Ok((status, answer["error"].take()))
}

#[test]
fn a_query_that_wants_everything_ends_within_its_limits() -> Result<()> {
    let folder = TempDir::new()?;
    let running = start(&folder)?;
    let others = Others::start(running.ingest(), 2);
    let all = "generate_series(1, 100000000000)";
    let cases = [
        (format!("SELECT sum(value % 7) FROM {all}"), "timeout"),
        (format!("SELECT count(*) FROM {all} a, {all} b WHERE a.value * b.value % 7 = 1"), ""),
        (format!("SELECT value FROM {all}"), "rows"),
        (format!("SELECT value % 99999999 AS v, count(*) FROM {all} GROUP BY v"), ""),
        (
            format!(
                "SELECT max(n) FROM (SELECT row_number() OVER (ORDER BY md5(CAST(value AS TEXT))) AS n FROM {all})"
            ),
            "",
        ),
        (format!("SELECT array_agg(value) FROM {all}"), ""),
        // Whether time or memory ends first depends on how busy the machine is.
        (LONG_VALUES.to_owned(), ""),
    ];
    // First: what follows may leave the process too much memory to take any more.
    many_at_once(&running)?;
    for (statement, code) in &cases {
        let began = Instant::now();
        let (status, error) = refused(&running, statement)?;
        let told = error["code"].as_str().unwrap_or_default();
        let is_right = told == *code || (code.is_empty() && ["memory", "timeout"].contains(&told));
        ensure!(status == 422 && is_right, "{statement}: {status} {error}");
        ensure!(error["hint"].is_string(), "{statement}: {error}");
        ensure!(began.elapsed() < TIME_MAX + PATIENCE, "{statement} took {:?}", began.elapsed());
        wait_until("asked again", PATIENCE, || Ok(running.number("SELECT 1").is_ok()))?;
    }
    let fared = others.finish()?;
    ensure!(fared.refused.is_empty(), "others are refused: {:?}", fared.refused.first());
    ensure!(!fared.seconds.is_empty(), "others are not served");
    running.stop()
}

/// A hundred are answered or told that there are too many; none is left waiting.
fn many_at_once(running: &Running) -> Result<()> {
    const COUNT: usize = 100;
    let outcomes: Vec<Result<(u16, Value)>> = std::thread::scope(|scope| {
        let endless = "SELECT sum(value % 7) FROM generate_series(1, 100000000000)";
        let asking: Vec<_> =
            (0..COUNT).map(|_| scope.spawn(move || refused(running, endless))).collect();
        asking.into_iter().filter_map(|asking| asking.join().ok()).collect()
    });
    ensure!(outcomes.len() == COUNT, "some broke");
    let mut busy = 0;
    for outcome in outcomes {
        let (status, error) = outcome?;
        let code = error["code"].as_str().unwrap_or_default();
        ensure!([(422, "timeout"), (503, "busy")].contains(&(status, code)), "{status} {error}");
        busy += usize::from(code == "busy");
    }
    ensure!(busy >= COUNT - 10, "{busy} were told that there are too many");
    Ok(())
}

#[test]
fn the_query_process_is_there_again_when_a_query_brought_it_down() -> Result<()> {
    let folder = TempDir::new()?;
    let running = start(&folder)?;
    let first = running.query_process().context("queries have no process of their own")?;
    let up = running.process();
    let before = memory_mb(up)?;
    let (status, error) = refused(&running, LONG_VALUES)?;
    ensure!(status == 422, "{status} {error}");
    // Whether or not it had to end for that: the kernel may end it at any time.
    if let Some(process) = running.query_process() {
        kill(process)?;
    }
    wait_until("asked again", PATIENCE, || {
        Ok(running.number("SELECT 41 + 1").is_ok_and(|n| n == 42))
    })?;
    let second = running.query_process().context("it is not there again")?;
    ensure!(second != first, "it is the same process");
    ensure!(memory_mb(up)? < before + 100, "`up` grew from {before} MB");
    ensure!(memory_mb(second)? < QUERY_MB_MAX, "queries have {} MB", memory_mb(second)?);
    running.stop()?;
    gone(second)
}

#[test]
fn no_process_of_queries_outlives_its_up() -> Result<()> {
    let folder = TempDir::new()?;
    let running = start(&folder)?;
    let queries = running.query_process().context("queries have no process of their own")?;
    running.kill()?;
    gone(queries)?;
    let running = start(&folder)?;
    let queries = running.query_process().context("queries have no process of their own")?;
    running.stop()?;
    gone(queries)
}

fn kill(process: u32) -> Result<()> {
    std::process::Command::new("kill").args(["-9", &process.to_string()]).status()?;
    Ok(())
}

fn gone(process: u32) -> Result<()> {
    wait_until("no orphan", Duration::from_secs(5), || Ok(memory_mb(process).is_err()))
}

/// The most that a process had; an error when it is gone.
fn memory_mb(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes: u64 = line.context("it ended")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1_024 / 1_000_000)
}
