//! What all rounds share: quick settings, a folder, the client, and what must come of it all.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use footfall_tests::{
    Footfall, Running, oracle_of_all, python, repository, rules_with_gap, wait_until, watermarks,
};

use crate::client::Sent;
use crate::stages::Hits;

/// The gap that ends a session.
const GAP_S: u64 = 10;
/// How long everything may take to come right when the faults have stopped.
const CALM_MAX: Duration = Duration::from_secs(240);

/// Late events that wait for their repair, and sessions that are not closed.
const UNDONE: &str = "SELECT count(*) FROM events WHERE visitor_id IS NOT NULL \
    AND NOT (event_name = 'heartbeat' AND visible_ms = 0) \
    AND (session_id IS NULL OR session_id NOT IN (SELECT session_id FROM sessions))";

/// What the rounds came to.
#[derive(Default)]
pub struct Totals {
    pub rounds: u64,
    pub kills: u64,
    pub stops: u64,
    pub broker_kills: u64,
    pub network_faults: u64,
    pub full_disks: u64,
    pub poison: u64,
    pub lag_longest: Duration,
    pub acknowledged: u64,
    pub broken: u64,
    pub refused: u64,
    pub hits: Hits,
}

impl Totals {
    /// # Errors
    /// With what never happened.
    pub fn require_all_faults(&self) -> Result<()> {
        let happened = [
            ("a kill", self.kills),
            ("a broker's death", self.broker_kills),
            ("a fault of the network", self.network_faults),
            ("a full disk", self.full_disks),
            ("a record by hand", self.poison),
            ("lag", self.lag_longest.as_secs()),
        ];
        let missed = happened.iter().find(|(_, count)| *count == 0);
        ensure!(missed.is_none(), "{} never happened", missed.map_or("", |(what, _)| what));
        self.hits.require_all()
    }
}

/// A binary whose sessions, commits, snapshots and repairs come quickly.
pub fn quick(data: &Path) -> Footfall {
    Footfall::at(data)
        .set(&format!("rules.session_gap={GAP_S}s"))
        .set("rules.allowed_lateness=2s")
        .set("pipeline.commit_interval=300ms")
        .set("pipeline.snapshot_interval=2s")
        .set("telemetry.filter=off,footfall=warn")
}

pub fn port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The client's list of a round.
pub fn list(folder: &Path) -> PathBuf {
    folder.join("list.jsonl")
}

/// Waits, without a fault, until the tables speak of all that was sent, and all is repaired and closed.
///
/// # Errors
/// When it does not come right, with what is missing.
pub fn settle(query: &Running, sent: &Sent) -> Result<()> {
    let began = Instant::now();
    let counts = || -> Result<(i64, i64, i64)> {
        Ok((
            query.number("SELECT count(*) FROM events")?,
            query.number("SELECT sum(received) FROM receipts")?,
            query.number(UNDONE)?,
        ))
    };
    let is_done = |(events, received, undone): (i64, i64, i64)| {
        events >= sent.acknowledged as i64 && received >= sent.records as i64 && undone == 0
    };
    let settled = wait_until("all in the tables", CALM_MAX, || Ok(counts().is_ok_and(is_done)));
    if settled.is_err() {
        let (events, received, undone) = counts()?;
        ensure!(
            false,
            "after {:?} of calm: {events} events of {} acknowledged, {received} records received of {}, \
             {undone} events not in a closed session",
            began.elapsed(),
            sent.acknowledged,
            sent.records
        );
    }
    Ok(())
}

/// Holds the lake against the client's list, the definitions and the program's own `verify`. Ends `query`,
/// the last process.
///
/// # Errors
/// The differences.
pub fn check(folder: &Path, footfall: &Footfall, query: Running, poison: u64) -> Result<()> {
    let watermarks = watermarks(&query)?;
    query.stop()?;
    let program = repository().join("tests/torture/acknowledged.py");
    let (list, lake) = (list(folder), footfall.lake());
    let arguments = [&program, &list, &lake].map(|path| path.to_string_lossy().into_owned());
    let [program, list, lake_text] = &arguments;
    let said = python(&[program, list, lake_text, &poison.to_string()])?;
    print!("  {said}");
    let rules = rules_with_gap(folder, GAP_S)?;
    oracle_of_all(&lake, &rules, &watermarks)?;
    let said = footfall.run_well(&["verify"])?;
    ensure!(!said.contains("left out"), "{said}");
    Ok(())
}
