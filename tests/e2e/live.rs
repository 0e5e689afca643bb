//! Posted live on the embedded log: shuffled, resent, late; then read by others.

use anyhow::{Result, ensure};
use footfall_tests::{python_text, wait_until};
use serde_json::Value;
use std::time::Duration;
use tempfile::TempDir;

use crate::sample::{Posting, check, quick, wait_until_folded};

#[test]
fn a_live_sample_gives_what_the_oracle_and_the_generator_say() -> Result<()> {
    let folder = TempDir::new()?;
    let footfall = quick(&folder.path().join("data"));
    let running = footfall.start("up")?;
    let more = ["--sessions", "1000", "--rate", "800", "--seed", "7", "--late", "0.002"];
    let posting = Posting::start(folder.path(), running.ingest(), &more)?;
    let truth = posting.truth.clone();
    let totals = posting.finish()?;
    wait_until_folded(&running, &totals)?;
    ensure!(running.number("SELECT count(*) FROM events WHERE late")? > 0, "no event was late");
    ensure!(running.number("SELECT count(*) FROM duplicates")? > 0, "no event was resent");
    others_read_the_tables(
        &footfall.lake().to_string_lossy(),
        running.number("SELECT count(*) FROM sessions")?,
    )?;
    check(folder.path(), &footfall, running, &truth)
}

/// Python's deltalake names the files, and DuckDB reads them.
fn others_read_the_tables(lake: &str, sessions: i64) -> Result<()> {
    let program = "
import sys, duckdb, deltalake
table = deltalake.DeltaTable(sys.argv[1] + '/sessions')
files = table.file_uris()
print(duckdb.sql('SELECT count(*) FROM read_parquet(?)', params=[files]).fetchall()[0][0], len(table.to_pyarrow_table()))
for name in ('events', 'needs', 'page_views', 'rejected', 'duplicates', 'receipts'):
    deltalake.DeltaTable(sys.argv[1] + '/' + name).to_pyarrow_table()
";
    let counted = python_text(program, &[lake])?;
    ensure!(counted.trim() == format!("{sessions} {sessions}"), "{counted} is not {sessions}");
    Ok(())
}

#[test]
fn everything_posted_twice_counts_once() -> Result<()> {
    let folder = TempDir::new()?;
    let footfall = quick(&folder.path().join("data"));
    let running = footfall.start("up")?;
    let more = ["--sessions", "300", "--rate", "600", "--twice"];
    let posting = Posting::start(folder.path(), running.ingest(), &more)?;
    let truth = posting.truth.clone();
    let totals = posting.finish()?;
    wait_until_folded(&running, &totals)?;
    check(folder.path(), &footfall, running, &truth)
}

#[test]
fn a_signal_comes_while_the_session_is_open() -> Result<()> {
    let folder = TempDir::new()?;
    let footfall = quick(&folder.path().join("data"));
    let running = footfall.start("up")?;
    let url = format!("{}/v1/signals", running.pipeline());
    let (sender, signals) = std::sync::mpsc::channel();
    std::thread::spawn(move || -> Result<()> {
        let client = reqwest::blocking::Client::builder().timeout(None).build()?;
        let lines = std::io::BufReader::new(client.get(url).send()?);
        for line in std::io::BufRead::lines(lines) {
            if let Some(data) = line?.strip_prefix("data:") {
                sender.send(data.trim().to_owned())?;
            }
        }
        Ok(())
    });
    // A partition's first record is believed when another lies five seconds behind it.
    wait_until("a watermark", Duration::from_secs(30), || {
        Ok(running.metric(running.pipeline(), "footfall_pipeline_watermark_seconds")? > 0.0)
    })?;
    let event =
        r#"{"event_id":"p1","visitor_id":"v1","event_name":"page_view","page_type":"product"}"#;
    let (status, answer) = running.post("/v1/events", event)?;
    ensure!(status == 202, "{status} {answer}");
    let signal: Value = serde_json::from_str(&signals.recv_timeout(Duration::from_secs(20))?)?;
    ensure!(signal["need"] == "delivery" && signal["visitor_id"] == "v1", "{signal}");
    wait_until("the need's row", Duration::from_secs(60), || {
        Ok(running
            .number("SELECT count(*) FROM needs WHERE signalled AND outcome = 'abandoned'")?
            == 1)
    })?;
    running.stop()
}
