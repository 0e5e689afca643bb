//! History folded again by other rules: held against a load by them, killed half-way, and beside a pipeline
//! that goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use footfall_tests::{Footfall, binary, oracle_of_all, repository, wait_until, watermarks};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::changed_rules::{SECOND, ensure_equal, file, rows, verify};
use crate::pauses::Pauses;
use crate::repair::WAITING;
use crate::sample::{Posting, free_port, quick, wait_until_folded};

const PATIENCE: Duration = Duration::from_secs(120);
/// How often a recompute is killed.
const KILLS: u64 = 10;

/// A load's rows but for the time at which it began.
const TABLES: [(&str, &str); 4] = [
    ("events", "SELECT * EXCEPT (received_time) FROM events ORDER BY log_offset"),
    ("sessions", "SELECT * FROM sessions ORDER BY session_id"),
    ("needs", "SELECT * FROM needs ORDER BY session_id, need"),
    ("page_views", "SELECT * FROM page_views ORDER BY session_id, index_in_session"),
];

fn sample(folder: &Path, sessions: &str) -> Result<PathBuf> {
    let path = folder.join("sample.jsonl");
    let status = Command::new(binary())
        .args(["sample", "--sessions", sessions])
        .stdout(fs::File::create(&path)?)
        .status()?;
    ensure!(status.success(), "sample: {status}");
    Ok(path)
}

fn load(footfall: &Footfall, file: &Path) -> Result<()> {
    let map = repository().join("config/maps/footfall.toml");
    footfall.run_well(&["load", &file.to_string_lossy(), "--map", &map.to_string_lossy()])?;
    Ok(())
}

#[test]
fn history_recomputed_is_what_a_load_by_the_new_rules_gives() -> Result<()> {
    let folder = TempDir::new()?;
    let events = sample(folder.path(), "4000")?;
    let second = file(folder.path(), "second.toml", SECOND)?;
    let at = |name: &str| Footfall::at(&folder.path().join(name));
    let (first, other) = (at("first"), at("first").config(&second));
    let fresh = at("fresh").config(&second);
    load(&first, &events)?;
    load(&fresh, &events)?;
    let config_id = |footfall: &Footfall| -> Result<String> {
        let ids = rows(footfall, "SELECT DISTINCT config_id FROM sessions ORDER BY 1")?;
        Ok(ids.iter().filter_map(|row| row[0].as_str()).collect::<Vec<_>>().join(" "))
    };
    let sessions = rows(&first, "SELECT count(*) FROM sessions")?[0][0].clone();
    let said = other.run_well(&["recompute", "--dry-run"])?;
    ensure!(said.contains(&format!("{sessions} sessions follow other rules")), "{said}");
    let before = config_id(&first)?;
    let wrong = other.run(&["recompute", "--from", "2026-02-01", "--to", "2026-01-01"])?;
    ensure!(wrong.status.code() == Some(2), "{wrong:?}");
    let said = other.run_well(&["recompute", "--to", "1999-12-31"])?;
    ensure!(said.contains("0 sessions followed other rules"), "{said}");
    ensure!(config_id(&first)? == before, "days beyond the range were folded again");
    let said = other.run_well(&["recompute"])?;
    ensure!(said.contains(&format!("{sessions} sessions followed other rules")), "{said}");
    ensure_equal(&other, &fresh, &TABLES)?;
    verify(&other)?;
    // What compaction makes of it, and what is done again, changes nothing.
    other.run_well(&["maintain"])?;
    let said = other.run_well(&["recompute"])?;
    ensure!(said.contains("0 runs folded again"), "{said}");
    ensure_equal(&other, &fresh, &TABLES)?;
    verify(&other)?;
    killed_it_is_done_again(&first, &before, &config_id)
}

/// Back to the rules of the beginning.
fn killed_it_is_done_again(
    footfall: &Footfall,
    config_id: &str,
    ids: &impl Fn(&Footfall) -> Result<String>,
) -> Result<()> {
    let mut pauses = Pauses::new(0x9e37_79b9_7f4a_7c15);
    let mut torn = 0;
    for _ in 0..KILLS {
        let running = footfall.spawn_command(&["recompute"])?;
        pauses.sleep(50, 1_500);
        running.kill_unless_done()?;
        // Nothing is lost at any time, and what stands apart is told.
        let said = footfall.run_well(&["verify"])?;
        torn += i32::from(said.contains("a recompute is under way or broke off"));
    }
    footfall.run_well(&["recompute"])?;
    let ended = ids(footfall)?;
    ensure!(ended == config_id, "{ended} in place of {config_id}, {torn} broke off in between");
    verify(footfall)
}

#[test]
fn a_recompute_beside_a_live_pipeline_gives_what_the_oracle_says() -> Result<()> {
    let folder = TempDir::new()?;
    let listen = format!("127.0.0.1:{}", free_port()?);
    let first = quick(&folder.path().join("data")).set("pipeline.rewrite_interval=1s");
    let second = first.clone().config(&file(folder.path(), "second.toml", SECOND)?);
    let running = first.start_on("up", &listen)?;
    let more = ["--sessions", "1200", "--rate", "200", "--seed", "31", "--late", "0.02"];
    let mut posting = Posting::start(folder.path(), running.ingest(), &more)?;
    wait_until("sessions", PATIENCE, || {
        Ok(running.number("SELECT count(*) FROM sessions WHERE revision > 0")? > 0)
    })?;
    let refused = second.run(&["recompute"])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(1) && said.contains("goes by other rules"), "{said}");
    running.stop()?;
    let running = second.start_on("up", &listen)?;
    // Its snapshots tell the rules, as soon as there is one.
    wait_until("recomputed", PATIENCE, || Ok(second.run(&["recompute"])?.status.success()))?;
    ensure!(posting.is_running()?, "the sample ended before the recompute");
    let mut pauses = Pauses::new(0x2545_f491_4f6c_dd1d);
    for _ in 0..KILLS {
        let recomputing = second.spawn_command(&["recompute"])?;
        pauses.sleep(50, 900);
        recomputing.kill_unless_done()?;
    }
    let totals = posting.finish()?;
    wait_until_folded(&running, &totals)?;
    wait_until("all repaired", PATIENCE, || Ok(running.number(WAITING)? == 0))?;
    let sets = "SELECT count(DISTINCT config_id) FROM sessions";
    wait_until("one set of rules", PATIENCE, || {
        second.run_well(&["recompute"])?;
        Ok(running.number(sets)? == 1)
    })?;
    ensure!(running.number("SELECT count(*) FROM needs WHERE signalled")? > 0, "no signal is kept");
    let watermarks = watermarks(&running)?;
    running.stop()?;
    verify(&second)?;
    let rules = oracle_rules(&second, folder.path())?;
    oracle_of_all(&second.lake(), &rules, &watermarks)?;
    Ok(())
}

/// The rules that all sessions follow, as the oracle reads them.
fn oracle_rules(footfall: &Footfall, folder: &Path) -> Result<PathBuf> {
    let ids = rows(footfall, "SELECT DISTINCT config_id FROM sessions")?;
    let id = ids[0][0].as_str().context("no config_id")?;
    let kept = footfall.lake().join("_footfall/rules").join(format!("{id}.json"));
    let mut rules: Value = serde_json::from_str(&fs::read_to_string(kept)?)?;
    for name in ["session_gap", "session_cap"] {
        rules[format!("{name}_us")] = rules[name].clone();
    }
    for need in rules["needs"].as_array_mut().into_iter().flatten() {
        need["within_us"] = need["within"].clone();
    }
    let wanted = ["session_gap_us", "session_cap_us", "events_per_session_max", "slow_page_ms"];
    let wanted = wanted.into_iter().chain(["conditions", "steps", "needs"]);
    let rules: serde_json::Map<String, Value> =
        wanted.map(|key| (key.to_owned(), rules[key].clone())).collect();
    let path = folder.join("oracle-rules.json");
    fs::write(&path, json!(rules).to_string())?;
    Ok(path)
}
