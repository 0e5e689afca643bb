//! A data directory as an earlier version left it, killed while events came: this version goes on from it.

use anyhow::Result;
use footfall_tests::{python_text, repository, wait_until};
use serde_json::Value;
use std::time::Duration;
use tempfile::TempDir;

use crate::sample::{check, quick, wait_until_folded};

/// Log time leaps to this day first, and is believed some seconds later.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_first_versions_data_is_folded_on() -> Result<()> {
    let folder = TempDir::new()?;
    let archive = repository().join("tests/data/data-dir-of-layout-3.tar.xz");
    let unpack =
        "import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2], filter='data')";
    python_text(unpack, &[&archive.to_string_lossy(), &folder.path().to_string_lossy()])?;
    let first = folder.path().join("first");
    let totals: Value = serde_json::from_str(&std::fs::read_to_string(first.join("totals.json"))?)?;
    let footfall = quick(&first.join("data")).set("log.partitions=1");
    let running = footfall.start("up")?;
    wait_until_folded(&running, &totals)?;
    let event = r#"{"event_id":"after","visitor_id":"after","event_name":"page_view"}"#;
    running.post("/v1/events", event)?;
    let stands = "SELECT count(*) FROM events WHERE event_id = 'after'";
    wait_until("an event of this version", PATIENCE, || Ok(running.number(stands)? == 1))?;
    let closed = "SELECT count(*) FROM sessions WHERE visitor_id = 'after'";
    wait_until("a session of this version", PATIENCE, || Ok(running.number(closed)? == 1))?;
    check(folder.path(), &footfall, running, &first.join("truth.jsonl"))?;
    footfall.run_well(&["maintain"])?;
    footfall.run_well(&["verify"])?;
    Ok(())
}
