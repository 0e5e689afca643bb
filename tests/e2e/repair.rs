//! Late events: repaired beside the live fold, by hand and by killed hands, equal a batch of all events.

use std::time::Duration;

use anyhow::{Result, ensure};
use footfall_tests::{Footfall, Running, oracle_of_all, wait_until, watermarks};
use tempfile::TempDir;

use crate::pauses::Pauses;
use crate::sample::{Posting, quick, quick_rules, wait_until_folded};

/// Longer than a session gap, lateness, snapshots and repairs together.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often a repair is killed.
const KILLS: u64 = 12;

const WAITING: &str = "SELECT count(*) FROM events WHERE late AND session_id IS NULL \
    AND visitor_id IS NOT NULL AND NOT (event_name = 'heartbeat' AND visible_ms = 0)";

/// Holds the lake against the oracle, late events in their sessions, and lets the binary verify it.
fn check(folder: &TempDir, footfall: &Footfall, running: Running) -> Result<()> {
    let watermarks = watermarks(&running)?;
    running.stop()?;
    let rules = quick_rules(folder.path())?;
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
    check(&folder, &footfall, running)
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
        maintaining.kill()?;
    }
    let totals = posting.finish()?;
    wait_until_folded(&running, &totals)?;
    wait_until("all repaired", PATIENCE, || Ok(running.number(WAITING)? == 0))?;
    let said = footfall.run_well(&["maintain"])?;
    ensure!(said.contains("0 late events of 0 runs"), "{said}");
    check(&folder, &footfall, running)
}
