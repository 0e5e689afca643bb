//! What was rejected, listed, shown and replayed when the cause is mended: taken once, as of when it came.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use footfall_tests::{Footfall, Running, wait_until};
use serde_json::Value;
use tempfile::TempDir;

use crate::sample::quick;

const PATIENCE: Duration = Duration::from_secs(60);

fn event(id: &str, bytes: usize) -> String {
    let title = "t".repeat(bytes);
    format!(r#"{{"event_id":"{id}","visitor_id":"v","event_name":"click","page_title":"{title}"}}"#)
}

#[test]
fn rejected_events_are_replayed_once_when_the_cause_is_mended() -> Result<()> {
    let folder = TempDir::new()?;
    // One id is remembered: what is sent again is known by the look-up alone.
    let footfall = quick(folder.path()).set("log.partitions=1").set("rules.dedupe_ids_max=1");
    let running = footfall.clone().set("ingest.event_bytes_max=1KiB").start("up")?;
    for (id, bytes) in [("big", 2_000), ("huge", 40_000)] {
        let (status, answer) = running.post("/v1/events", event(id, bytes))?;
        ensure!(status == 400 && answer.contains("too_large"), "{status} {answer}");
    }
    wait_for(&running, "SELECT count(*) FROM rejected", 2)?;
    running.stop()?;
    listed_and_shown(&footfall)?;
    let replay = ["rejected", "replay", "--reason", "too_large"];
    let stopped = footfall.run(&replay)?;
    ensure!(stopped.status.code() == Some(1), "{}", said(&stopped));
    ensure!(said(&stopped).contains("no `footfall up` of this user answers"), "{}", said(&stopped));
    let unnamed = footfall.run(&["rejected", "replay"])?;
    ensure!(unnamed.status.code() == Some(2), "{}", said(&unnamed));

    let running = footfall.start("up")?;
    let tried = footfall.run(&[&replay[..], &["--dry-run"]].concat())?;
    ensure!(said(&tried).contains("1 events would be taken from 2 rows"), "{}", said(&tried));
    let replayed = footfall.run(&replay)?;
    let told = said(&replayed);
    ensure!(replayed.status.code() == Some(1), "{told}");
    for part in
        ["the payload is cut: 16384 of 4", "1 events taken from 2 rows", "1 rows were refused"]
    {
        ensure!(told.contains(part), "{part} is not in {told}");
    }
    wait_for(&running, "SELECT count(*) FROM events WHERE event_id = 'big'", 1)?;
    let same =
        "SELECT count(*) FROM events JOIN rejected USING (received_time) WHERE event_id = 'big'";
    ensure!(running.number(same)? == 1, "it was not received when its row was");

    let (status, answer) = running.post("/v1/events", event("other", 1))?;
    ensure!(status == 202, "{status} {answer}");
    wait_for(&running, "SELECT count(*) FROM events WHERE event_id = 'other'", 1)?;
    footfall.run(&replay)?;
    wait_for(&running, "SELECT count(*) FROM duplicates WHERE event_id = 'big'", 1)?;
    let events = running.number("SELECT count(*) FROM events WHERE event_id = 'big'")?;
    ensure!(events == 1, "it was taken {events} times");
    let rejected = running.number("SELECT count(*) FROM rejected")?;
    ensure!(rejected == 2, "{rejected} rows: what is refused again leaves no further one");
    running.stop()
}

fn listed_and_shown(footfall: &Footfall) -> Result<()> {
    let list = ["rejected", "list", "--format", "json"];
    let groups = rows(&footfall.run_well(&list)?)?;
    ensure!(groups.len() == 1, "{groups:?}");
    ensure!(groups[0][0] == "too_large" && groups[0][1] == "default", "{groups:?}");
    ensure!(groups[0][3] == 2, "{groups:?}");
    let single = rows(&footfall.run_well(&[&list[..], &["--rows"]].concat())?)?;
    ensure!(single.len() == 2, "{single:?}");
    for (filter, count) in [
        (["--reason", "missing"], 0),
        (["--until", "2020-01-01T00:00:00Z"], 0),
        (["--site", "default"], 1),
    ] {
        let found = rows(&footfall.run_well(&[&list[..], &filter].concat())?)?;
        ensure!(found.len() == count, "{filter:?}: {found:?}");
    }
    let place = single[1][0].as_str().context("no place")?;
    let shown = footfall.run_well(&["rejected", "show", place])?;
    for part in ["reason    too_large", "more than event_bytes_max", "\"event_id\":\"big\""] {
        ensure!(shown.contains(part), "{part} is not in {shown}");
    }
    let none = footfall.run(&["rejected", "show", "0/999999"])?;
    ensure!(none.status.code() == Some(1), "{}", said(&none));
    let wrong = footfall.run(&["rejected", "show", "there"])?;
    ensure!(wrong.status.code() == Some(2), "{}", said(&wrong));
    Ok(())
}

fn rows(json: &str) -> Result<Vec<Value>> {
    let answer: Value = serde_json::from_str(json)?;
    Ok(answer["rows"].as_array().cloned().unwrap_or_default())
}

fn wait_for(running: &Running, statement: &str, count: i64) -> Result<()> {
    wait_until(statement, PATIENCE, || Ok(running.number(statement)? == count))
}

fn said(output: &std::process::Output) -> String {
    let (out, said) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}{said}")
}
