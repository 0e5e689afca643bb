//! The live tables in SQL: what is posted, before anything of it is committed, and across a `kill -9`.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use footfall_tests::{Footfall, Running, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

const SEEN_MAX: Duration = Duration::from_secs(30);

/// One that commits long after the test.
fn patient(folder: &std::path::Path) -> Footfall {
    Footfall::at(folder)
        .set("pipeline.commit_interval=5m")
        .set("pipeline.snapshot_interval=10m")
        .set("rules.allowed_lateness=4m")
}

fn post(running: &Running, id: &str, visitor: &str, more: &str) -> Result<()> {
    let event = format!(r#"{{"event_id":"{id}","site":"shop","visitor_id":"{visitor}",{more}}}"#);
    let (status, answer) = running.post("/v1/events", event)?;
    ensure!(status == 202, "{status} {answer}");
    Ok(())
}

const PRODUCT: &str = r#""event_name":"page_view","page_type":"product","page_path":"/p""#;
const CLICK: &str = r#""event_name":"click","target":"tab""#;
const FOUND: &str =
    r#""event_name":"info_exposed","info_key":"delivery_price","visible_ms":200,"page_path":"/p""#;

fn needs(running: &Running) -> Result<Vec<Value>> {
    running.sql(
        "SELECT visitor_id, need, outcome, click_count, raised_path FROM live_needs \
         WHERE site = 'shop' ORDER BY visitor_id, need",
    )
}

/// A pipeline that has only just begun to read its partition answers 503 until it knows what is open.
fn wait_for_needs(running: &Running, wanted: &[Value]) -> Result<()> {
    let mut seen = Err(anyhow!("not asked yet"));
    let waited = wait_until("the live needs", SEEN_MAX, || {
        seen = needs(running);
        Ok(seen.as_ref().is_ok_and(|seen| seen == wanted))
    });
    ensure!(waited.is_ok(), "{seen:?} is not {wanted:?}");
    Ok(())
}

fn lost(running: &Running) -> Result<i64> {
    running.number("SELECT count(*) FROM needs")
}

#[test]
fn a_need_is_open_before_anything_is_committed_and_never_lost_while_it_is() -> Result<()> {
    let folder = TempDir::new()?;
    let footfall = patient(&folder.path().join("data"));
    let running = footfall.start("up")?;
    wait_for_needs(&running, &[])?;
    post(&running, "p1", "v1", PRODUCT)?;
    post(&running, "p2", "v2", PRODUCT)?;
    post(&running, "c2", "v2", CLICK)?;
    let open = |visitor: &str, clicks: u64| json!([visitor, "delivery", "open", clicks, "/p"]);
    wait_for_needs(&running, &[open("v1", 0), open("v2", 1)])?;
    ensure!(running.number("SELECT count(*) FROM events")? == 0, "something was committed");
    let sessions = running.sql(
        "SELECT event_count, page_view_count, exit_path, converted, needs_raised, needs_open, \
         last_event_at >= started_at, as_of IS NOT NULL FROM live_sessions \
         WHERE site = 'shop' AND visitor_id = 'v2'",
    )?;
    let row = json!([2, 1, "/p", false, ["delivery"], ["delivery"], true, true]);
    ensure!(sessions == [row.clone()], "{sessions:?} is not {row}");
    post(&running, "f1", "v1", FOUND)?;
    let found = json!(["v1", "delivery", "found_in_time", 0, "/p"]);
    wait_until("found", SEEN_MAX, || Ok(needs(&running)?[0][2] != "open"))?;
    let late = json!(["v1", "delivery", "found_late", 0, "/p"]);
    let seen = needs(&running)?;
    // A slow machine may post it too late.
    ensure!(seen[0] == found || seen[0] == late, "{seen:?}");
    ensure!(lost(&running)? == 0, "a need of an open session has a row");

    let before = (needs(&running)?, ids(&running)?);
    running.kill()?;
    let running = footfall.start("up")?;
    wait_for_needs(&running, &before.0)?;
    ensure!(ids(&running)? == before.1, "other sessions than before the kill");
    ensure!(lost(&running)? == 0, "a need of an open session has a row");
    running.stop()
}

fn ids(running: &Running) -> Result<Vec<Value>> {
    running.sql("SELECT session_id, started_at, event_count FROM live_sessions ORDER BY visitor_id")
}

#[test]
fn what_is_over_goes_from_the_live_tables_to_the_lake() -> Result<()> {
    let folder = TempDir::new()?;
    let footfall = Footfall::at(&folder.path().join("data"))
        .set("rules.session_gap=6s")
        .set("rules.allowed_lateness=500ms")
        .set("pipeline.commit_interval=100ms");
    // A need is decided within a session.
    let file = folder.path().join("footfall.toml");
    let need = "[[need]]\nname = \"delivery\"\nraised_by = \"page_type = 'product'\"\n\
                found_by = \"info_key = 'delivery_price'\"\nwithin = \"1s\"\nmax_clicks = 2\n";
    std::fs::write(&file, need)?;
    let running = footfall.config(&file).start("up")?;
    post(&running, "p1", "v1", PRODUCT)?;
    wait_until("the live session", SEEN_MAX, || {
        ensure!(lost(&running)? == 0, "the need was lost while it was open");
        Ok(needs(&running).is_ok_and(|needs| needs.len() == 1))
    })?;
    wait_until("the session's end", SEEN_MAX, || Ok(lost(&running)? == 1))?;
    let left = needs(&running)?;
    ensure!(left.is_empty(), "{left:?} is live still");
    let outcome = running.sql("SELECT outcome FROM needs")?;
    ensure!(outcome == [json!(["abandoned"])], "{outcome:?}");
    running.stop()
}
