//! A sample on its way into a lake with a session gap of ten seconds, and what must come of it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use footfall_tests::{Footfall, Running, binary, oracle, rules_with_gap, wait_until, watermarks};
use serde_json::Value;

/// The gap that the lakes of live tests are made with, in seconds: sessions close while a test waits.
pub const GAP_S: u64 = 10;
const GAP: &str = "rules.session_gap=10s";
/// What the sample takes for the allowed lateness. It is less than the lake's 10 s by so much as a busy
/// machine may be behind: an event that is meant to be on time is, and what comes 5 s beyond is late.
const SAMPLE_LATENESS: &str = "rules.allowed_lateness=6s";

/// A binary with the settings of live tests.
pub fn quick(folder: &Path) -> Footfall {
    Footfall::at(folder)
        .set(GAP)
        .set("pipeline.commit_interval=500ms")
        .set("pipeline.snapshot_interval=3s")
}

/// A port that nobody listens at, for a collector that is started again where it was.
pub fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A sample that is being posted.
pub struct Posting {
    child: Child,
    pub truth: PathBuf,
}

impl Posting {
    /// Posts to `server` in a process of its own; `more` are further arguments.
    pub fn start(folder: &Path, server: &str, more: &[&str]) -> Result<Posting> {
        let truth = folder.join("truth.jsonl");
        let child = Command::new(binary())
            .args(["sample", "--server", server, "--truth", &truth.to_string_lossy()])
            .args(["--set", GAP, "--set", SAMPLE_LATENESS])
            .args(more)
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Posting { child, truth })
    }

    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// What was posted: the totals that the sample prints.
    pub fn finish(self) -> Result<Value> {
        let output = self.child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "sample: {said}");
        let totals = said.lines().rev().find(|line| line.starts_with('{')).context("no totals")?;
        Ok(serde_json::from_str(totals)?)
    }
}

/// Waits until every event of a sample is in the tables and every session is closed. None may be
/// lost, and none may stand there twice.
pub fn wait_until_folded(running: &Running, totals: &Value) -> Result<()> {
    let total = |name: &str| totals[name].as_i64().with_context(|| format!("no total of {name}"));
    let (events, resends, sessions) = (total("events")?, total("resends")?, total("sessions")?);
    wait_until("all sessions closed", Duration::from_secs(90), || {
        Ok(running.number("SELECT count(*) FROM sessions")? >= sessions)
    })?;
    wait_until("all events and resends", Duration::from_secs(30), || {
        Ok(running.number("SELECT count(*) FROM events")? >= events
            && running.number("SELECT count(*) FROM duplicates")? >= resends)
    })?;
    // Tables are committed side by side, so the receipts may follow.
    wait_until("receipts of all rows", Duration::from_secs(30), || {
        let accepted = running.number("SELECT sum(accepted) FROM receipts")?;
        Ok(accepted - running.number(PENDING)? >= events)
    })?;
    let rows = running.number("SELECT count(*) FROM events")?;
    let ids = running.number("SELECT count(DISTINCT event_id) FROM events")?;
    ensure!((rows, ids) == (events, events), "{events} events were posted, {rows} rows, {ids} ids");
    let accepted = running.number("SELECT sum(accepted) FROM receipts")?;
    let pending = running.number(PENDING)?;
    ensure!(accepted - pending == rows, "{accepted} accepted, {pending} pending, {rows} rows");
    let counted = "SELECT sum(received) - sum(accepted) - sum(rejected) FROM receipts";
    let (counted, duplicates) =
        (running.number(counted)?, running.number("SELECT count(*) FROM duplicates")?);
    ensure!(counted == duplicates, "{duplicates} duplicates, the receipts say {counted}");
    Ok(())
}

/// What is pending in the newest row of each partition and site.
const PENDING: &str = "SELECT sum(pending) FROM (SELECT pending, row_number() OVER \
    (PARTITION BY log, log_partition, site ORDER BY from_offset DESC) AS age FROM receipts) \
    WHERE age = 1";

/// Holds the lake against the oracle and the truth, and lets the binary verify it.
pub fn check(folder: &Path, footfall: &Footfall, running: Running, truth: &Path) -> Result<()> {
    let watermarks = watermarks(&running)?;
    running.stop()?;
    let rules = rules_with_gap(folder, GAP_S)?;
    oracle(&footfall.lake(), &rules, &watermarks, Some(truth))?;
    footfall.run_well(&["verify"])?;
    Ok(())
}
