//! Late events: repaired beside the live fold, by hand and by killed hands, equal a batch of all events.

use std::time::Duration;

use anyhow::{Result, ensure};
use footfall_tests::{
    Footfall, Running, oracle_of_all, python_text, rules_with_gap, wait_until, watermarks,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::pauses::Pauses;
use crate::sample::{GAP_S, Posting, quick, wait_until_folded};
use crate::verify::BY_HAND;

/// Longer than a session gap, lateness, snapshots and repairs together.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often a repair is killed.
const KILLS: u64 = 12;

/// Late events that wait for their repair.
pub const WAITING: &str = "SELECT count(*) FROM events WHERE late AND session_id IS NULL \
    AND visitor_id IS NOT NULL AND NOT (event_name = 'heartbeat' AND visible_ms = 0)";

/// Holds the lake against the oracle, late events in their sessions, and lets the binary verify it.
fn check(folder: &TempDir, footfall: &Footfall, running: Running) -> Result<()> {
    let watermarks = watermarks(&running)?;
    running.stop()?;
    let rules = rules_with_gap(folder.path(), GAP_S)?;
    oracle_of_all(&footfall.lake(), &rules, &watermarks)?;
    let said = footfall.run_well(&["verify"])?;
    ensure!(!said.contains("left out"), "{said}");
    Ok(())
}

#[test]
fn late_events_are_repaired_beside_the_live_fold() -> Result<()> {
    let folder = TempDir::new()?;
    let footfall = quick(&folder.path().join("data")).set("pipeline.rewrite_interval=1s");
    let running = footfall.start("up")?;
    let more = ["--sessions", "800", "--rate", "400", "--seed", "11", "--late", "0.02"];
    let totals = Posting::start(folder.path(), running.ingest(), &more)?.finish()?;
    wait_until_folded(&running, &totals)?;
    wait_until("all repaired", PATIENCE, || Ok(running.number(WAITING)? == 0))?;
    ensure!(running.number("SELECT count(*) FROM sessions WHERE revision > 0")? > 0, "no revision");
    let repaired = running.metric(running.pipeline(), "footfall_pipeline_repaired_total")?;
    ensure!(repaired > 0.0, "{repaired} late events were repaired");
    // What was signalled stays so when its session is folded again.
    let signalled = "SELECT count(*) FROM needs WHERE signalled AND revision > 0";
    ensure!(running.number(signalled)? > 0, "no signal was taken over");
    check(&folder, &footfall, running)?;
    tampered_rows_are_seen(&folder, &footfall)
}

/// Rows of repaired runs are held against their events like all others.
fn tampered_rows_are_seen(folder: &TempDir, footfall: &Footfall) -> Result<()> {
    let changes = [
        ("sessions", "revision > 0", "event_count", "event_count + 1"),
        ("sessions", "revision > 0", "revision", "revision + 1"),
        ("sessions", "revision > 0", "close_cause", "'cap'"),
        ("needs", "revision > 0", "click_count", "click_count + 1"),
        ("page_views", "revision > 0", "is_exit", "not is_exit"),
        ("events", "late and session_id is not None", "session_id", "'0' * 32"),
    ];
    let copy = |number: usize| folder.path().join(format!("tampered-{number}"));
    let case = |(number, (table, row, column, value)): (usize, (&str, &str, &str, &str))| {
        json!({
            "table": table, "kind": "change", "where": row, "column": column, "value": value,
            "lake": copy(number).join("lake").to_string_lossy(),
        })
    };
    let cases: Vec<Value> = changes.into_iter().enumerate().map(case).collect();
    let lake = footfall.lake();
    python_text(BY_HAND, &[&lake.to_string_lossy(), &Value::from(cases.clone()).to_string()])?;
    for (number, case) in cases.iter().enumerate() {
        let verified = Footfall::at(&copy(number)).run(&["verify"])?;
        ensure!(verified.status.code() == Some(1), "{case} was not seen");
    }
    Ok(())
}

/// The pipeline goes on, and repairs too.
#[test]
fn repairs_that_are_killed_are_done_again() -> Result<()> {
    let folder = TempDir::new()?;
    let footfall = quick(&folder.path().join("data")).set("pipeline.rewrite_interval=3s");
    let running = footfall.start("up")?;
    let more = ["--sessions", "800", "--rate", "300", "--seed", "12", "--late", "0.05"];
    let posting = Posting::start(folder.path(), running.ingest(), &more)?;
    let mut pauses = Pauses::new(0x2545_f491_4f6c_dd1d);
    for _ in 0..KILLS {
        pauses.sleep(500, 1_500);
        let maintaining = footfall.spawn_command(&["maintain"])?;
        pauses.sleep(50, 1_200);
        maintaining.kill_unless_done()?;
    }
    let totals = posting.finish()?;
    wait_until_folded(&running, &totals)?;
    wait_until("all repaired", PATIENCE, || Ok(running.number(WAITING)? == 0))?;
    let said = footfall.run_well(&["maintain"])?;
    ensure!(said.contains("0 late events of 0 runs"), "{said}");
    check(&folder, &footfall, running)
}
