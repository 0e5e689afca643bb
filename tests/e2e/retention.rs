//! Old days removed by the rewrite job of a running pipeline: what was newer stays, and verification knows.

use std::time::Duration;

use anyhow::{Result, ensure};
use footfall_tests::{Footfall, Running, repository, wait_until};
use serde_json::json;
use tempfile::TempDir;

use crate::changed_rules::{file, verify_all_but};
use crate::repair::WAITING;
use crate::sample::{Posting, quick};

const PATIENCE: Duration = Duration::from_secs(90);
const KEPT: [&str; 4] = ["events", "sessions", "needs", "page_views"];

/// Visitors of two days of a year, the older far beyond what is kept.
fn old_days() -> String {
    let mut lines = String::new();
    for visitor in 0..50 {
        for (day, name) in [("2020-01-01", "page_view"), ("2020-06-01", "purchase")] {
            for second in [10, 20] {
                let event = json!({
                    "event_id": format!("{day}-{visitor}-{second}"),
                    "site": "shop",
                    "visitor_id": format!("old-{visitor}"),
                    "event_name": name,
                    "page_type": "product",
                    "timestamp": format!("{day}T12:00:{second}Z"),
                });
                lines.push_str(&format!("{event}\n"));
            }
        }
    }
    lines
}

fn old_rows(running: &Running, table: &str) -> Result<i64> {
    let day = if table == "events" { "event_date" } else { "session_date" };
    running.number(&format!("SELECT count(*) FROM {table} WHERE {day} < DATE '2021-01-01'"))
}

#[test]
fn old_days_go_and_nothing_else() -> Result<()> {
    let folder = TempDir::new()?;
    let footfall = quick(&folder.path().join("data")).set("pipeline.rewrite_interval=1s");
    let history = file(folder.path(), "old.jsonl", &old_days())?;
    let map = repository().join("config/maps/footfall.toml");
    footfall.run_well(&["load", &history.to_string_lossy(), "--map", &map.to_string_lossy()])?;
    let said = footfall.run_well(&["maintain"])?;
    ensure!(!said.contains("removed"), "{said}");
    let running = footfall.start("up")?;
    for (table, rows) in [("events", 200), ("sessions", 100), ("needs", 50), ("page_views", 100)] {
        let found = old_rows(&running, table)?;
        ensure!(found == rows, "{found} rows of {table}, not {rows}");
    }
    running.stop()?;
    let footfall = KEPT.iter().fold(footfall, |footfall: Footfall, table| {
        footfall.set(&format!("retention.{table}=400d"))
    });
    let running = footfall.start("up")?;
    let more = ["--sessions", "200", "--rate", "400", "--late", "0.02"];
    let totals = Posting::start(folder.path(), running.ingest(), &more)?.finish()?;
    wait_until("the old days are gone", PATIENCE, || {
        Ok(KEPT.iter().try_fold(0, |sum, table| anyhow::Ok(sum + old_rows(&running, table)?))? == 0)
    })?;
    let sessions = totals["sessions"].as_i64().unwrap_or_default();
    wait_until("all sessions closed", PATIENCE, || {
        Ok(running.number("SELECT count(*) FROM sessions")? >= sessions)
    })?;
    let events = totals["events"].as_i64().unwrap_or_default();
    wait_until("all events", PATIENCE, || {
        Ok(running.number("SELECT count(*) FROM events")? == events)
    })?;
    wait_until("all repaired", PATIENCE, || Ok(running.number(WAITING)? == 0))?;
    let removed = "footfall_pipeline_expired_rows_total{table=\"events\"}";
    ensure!(running.metric(running.pipeline(), removed)? == 200.0, "{removed}");
    running.stop()?;
    verify_all_but(&footfall, "retention removed them")?;
    // Loaded again, the history adds nothing: its load stands.
    footfall.run_well(&["load", &history.to_string_lossy(), "--map", &map.to_string_lossy()])?;
    let running = footfall.start("up")?;
    ensure!(running.number("SELECT count(*) FROM events")? == events, "removed rows came again");
    running.stop()?;
    verify_all_but(&footfall, "retention removed them")
}
