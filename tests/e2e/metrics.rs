//! The pipeline's and the query part's metrics: each moved to a value that is known, and all of them in
//! the documentation.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use footfall_tests::{Running, repository, wait_until};
use tempfile::TempDir;

use crate::sample::quick;

/// Longer than a test's session gap, lateness and commit together.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn each_metric_of_the_pipeline_is_moved_to_a_known_value() -> Result<()> {
    let folder = TempDir::new()?;
    let footfall = quick(&folder.path().join("data")).set("log.partitions=1");
    let running = footfall.start("up")?;
    let pipeline = |selector: &str| running.metric(running.pipeline(), selector);
    wait_until("a watermark", PATIENCE, || {
        Ok(pipeline("footfall_pipeline_watermark_seconds")? > 1e9)
    })?;
    let product =
        r#"{"event_id":"a","visitor_id":"v","event_name":"page_view","page_type":"product"}"#;
    post(&running, product, 202)?;
    post(&running, product, 202)?;
    post(&running, r#"{"event_id":"b","visitor_id":"v","event_name":"scroll"}"#, 202)?;
    post(&running, r#"{"event_id":"c","visitor_id":"w"}"#, 400)?;
    let late = r#"{"event_id":"d","visitor_id":"w","event_name":"scroll","timestamp":"LATE"}"#;
    let hour_ago = hour_ago(&running)?;
    post(&running, &late.replace("LATE", &hour_ago), 202)?;
    equals(&running, "footfall_pipeline_records_total{status=\"accepted\"}", 3.0)?;
    equals(&running, "footfall_pipeline_records_total{status=\"duplicate\"}", 1.0)?;
    equals(&running, "footfall_pipeline_records_total{status=\"rejected\"}", 1.0)?;
    equals(&running, "footfall_pipeline_late_total", 1.0)?;
    equals(&running, "footfall_pipeline_remembered_ids", 4.0)?;
    equals(&running, "footfall_pipeline_held_events", 2.0)?;
    equals(&running, "footfall_pipeline_open_sessions", 1.0)?;
    equals(&running, "footfall_pipeline_signals_total{outcome=\"published\"}", 1.0)?;
    equals(&running, "footfall_pipeline_signal_delay_seconds_count", 1.0)?;
    equals(&running, "footfall_pipeline_sessions_closed_total{cause=\"timeout\"}", 1.0)?;
    equals(&running, "footfall_pipeline_needs_total{outcome=\"abandoned\"}", 1.0)?;
    let rows = [("events", 3.0), ("sessions", 1.0), ("needs", 1.0), ("page_views", 1.0)];
    for (table, count) in rows.into_iter().chain([("rejected", 1.0), ("duplicates", 1.0)]) {
        equals(&running, &format!("footfall_pipeline_rows_total{{table=\"{table}\"}}"), count)?;
        let commits = format!("footfall_pipeline_commit_seconds_count{{table=\"{table}\"}}");
        ensure!(pipeline(&commits)? >= 1.0, "{commits}");
    }
    equals(&running, "footfall_pipeline_lag_records", 0.0)?;
    equals(&running, "footfall_pipeline_lag_seconds", 0.0)?;
    equals(&running, "footfall_pipeline_held_events", 0.0)?;
    equals(&running, "footfall_pipeline_open_sessions", 0.0)?;
    wait_until("a snapshot", PATIENCE, || {
        Ok(pipeline("footfall_pipeline_snapshot_seconds_count")? >= 1.0)
    })?;
    let freshness = pipeline("footfall_pipeline_freshness_seconds")?;
    ensure!((0.0..60.0).contains(&freshness), "the tables are {freshness} s old");
    ensure!(pipeline("footfall_pipeline_commit_conflicts_total")? == 0.0, "nobody else writes");
    queries(&running)?;
    documented(&running)?;
    crate::promql::all_are_served(&running)?;
    running.stop()
}

fn post(running: &Running, body: &str, expected: u16) -> Result<()> {
    let (status, answer) = running.post("/v1/events", body)?;
    ensure!(status == expected, "{body}: {status} {answer}");
    Ok(())
}

fn equals(running: &Running, selector: &str, value: f64) -> Result<()> {
    wait_until(&format!("{selector} is {value}"), PATIENCE, || {
        Ok(running.metric(running.pipeline(), selector)? == value)
    })
}

fn hour_ago(running: &Running) -> Result<String> {
    let rows = running.sql("SELECT CAST(now() - INTERVAL '1 hour' AS VARCHAR) AS hour_ago")?;
    Ok(rows[0][0].as_str().unwrap_or_default().to_owned())
}

/// What is asked counts, by its outcome.
fn queries(running: &Running) -> Result<()> {
    let query = |selector: &str| running.metric(running.query(), selector);
    let before = query("footfall_queries_total{outcome=\"ok\"}")?;
    let rows = query("footfall_query_rows_total")?;
    running.sql("SELECT * FROM (VALUES (1), (2), (3)) AS three")?;
    ensure!(running.sql("SELECT nothing FROM nowhere").is_err(), "it was answered");
    ensure!(query("footfall_queries_total{outcome=\"ok\"}")? == before + 1.0, "one more was ok");
    ensure!(query("footfall_queries_total{outcome=\"bad_query\"}")? == 1.0, "one was bad");
    ensure!(query("footfall_query_rows_total")? == rows + 3.0, "three rows were answered");
    ensure!(query("footfall_query_seconds_count")? == before + 2.0, "each was timed");
    ensure!(query("footfall_queries_running")? == 0.0, "none is running");
    Ok(())
}

/// docs/metrics.md names what is served, all of it and nothing else.
fn documented(running: &Running) -> Result<()> {
    let text = std::fs::read_to_string(repository().join("docs/metrics.md"))?;
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `footfall_"));
    let documented: BTreeSet<String> =
        rows.filter_map(|row| Some(format!("footfall_{}", row.split('`').next()?))).collect();
    let mut served = BTreeSet::new();
    for part in [running.ingest(), running.pipeline(), running.query()] {
        let text = reqwest::blocking::get(format!("{part}/metrics"))?.text()?;
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE footfall_"));
        served
            .extend(types.filter_map(|line| Some(format!("footfall_{}", line.split(' ').next()?))));
    }
    // A counter with labels is served once it counted something.
    let unseen = BTreeSet::from([
        "footfall_pipeline_commit_conflicts_total".to_owned(),
        "footfall_pipeline_expired_rows_total".to_owned(),
        "footfall_pipeline_rewrite_files_total".to_owned(),
    ]);
    let missing: Vec<_> = served.difference(&documented).collect();
    ensure!(missing.is_empty(), "not documented: {missing:?}");
    let gone: Vec<_> =
        documented.difference(&served).filter(|name| !unseen.contains(*name)).collect();
    ensure!(gone.is_empty(), "not served: {gone:?}");
    Ok(())
}
