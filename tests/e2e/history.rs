//! History by `load`: real rows, a sample, twice, and killed half-way.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use footfall_tests::{Footfall, binary, oracle, repository};
use serde_json::Value;
use tempfile::TempDir;

fn rules() -> PathBuf {
    repository().join("tests/oracle/default_rules.json")
}

fn map(name: &str) -> String {
    repository().join("config/maps").join(name).to_string_lossy().into_owned()
}

/// A count, as `footfall sql` prints it.
fn count(footfall: &Footfall, statement: &str) -> Result<i64> {
    let answer = footfall.run_well(&["sql", statement, "--format", "json"])?;
    let answer: Value = serde_json::from_str(&answer)?;
    answer["rows"][0][0].as_i64().with_context(|| format!("{statement}: {answer}"))
}

fn check_rees46(file: &Path, events: i64) -> Result<()> {
    let folder = TempDir::new()?;
    let footfall = Footfall::at(folder.path());
    let file = file.to_string_lossy();
    let load = ["load", &file, "--map", &map("rees46.toml")];
    let receipt = footfall.run_well(&load)?;
    ensure!(receipt.contains(&format!("{} rows read", events + 1)), "{receipt}");
    for again in [false, true] {
        if again {
            footfall.run_well(&load)?;
        }
        ensure!(count(&footfall, "SELECT count(*) FROM events")? == events, "events");
        ensure!(count(&footfall, "SELECT count(*) FROM rejected")? == 1, "rejected");
        oracle(&footfall.lake(), &rules(), &[], None)?;
        footfall.run_well(&["verify"])?;
    }
    Ok(())
}

#[test]
fn a_slice_of_a_real_shop_loads_and_adds_up() -> Result<()> {
    check_rees46(&repository().join("tests/data/rees46-slice.csv"), 300)
}

/// The whole file is too large for the repository; where it lies beside it, it is loaded too.
#[test]
fn the_whole_morning_of_a_real_shop_loads_where_it_is_there() -> Result<()> {
    let file = repository().join("../shared/data/rees46-2019-10-01.csv.gz");
    if !file.is_file() {
        return say(&format!("NOT RUN: {} is not there", file.display()));
    }
    say(&format!("loading {}", file.display()))?;
    check_rees46(&file, 17_434)
}

/// Tells it also where a test passes, whose prints are kept back.
fn say(text: &str) -> Result<()> {
    Ok(std::io::stderr().write_all(format!("{text}\n").as_bytes())?)
}

fn sample(folder: &Path, sessions: &str) -> Result<(PathBuf, PathBuf)> {
    let (events, truth) = (folder.join("sample.jsonl"), folder.join("truth.jsonl"));
    let status = Command::new(binary())
        .args(["sample", "--sessions", sessions, "--truth", &truth.to_string_lossy()])
        .stdout(std::fs::File::create(&events)?)
        .status()?;
    ensure!(status.success(), "sample: {status}");
    Ok((events, truth))
}

/// Sessions of a million events.
const MILLION: &str = "110000";

#[test]
fn a_million_loaded_events_give_what_the_oracle_and_the_generator_say() -> Result<()> {
    let folder = TempDir::new()?;
    let (events, truth) = sample(folder.path(), MILLION)?;
    let footfall = Footfall::at(&folder.path().join("data"));
    footfall.run_well(&["load", &events.to_string_lossy(), "--map", &map("footfall.toml")])?;
    let loaded = count(&footfall, "SELECT count(*) FROM events")?;
    ensure!(loaded > 1_000_000, "{loaded} events");
    oracle(&footfall.lake(), &rules(), &[], Some(&truth))?;
    footfall.run_well(&["verify"])?;
    Ok(())
}

/// How often a load is tried until it was killed where a test wants it.
const TRIES_MAX: usize = 30;

/// A load in a process of its own, into a lake that it makes.
struct Loading {
    child: Child,
    data: PathBuf,
}

impl Loading {
    fn start(data: PathBuf, events: &Path) -> Result<Loading> {
        let child = Command::new(binary())
            .args(["load", &events.to_string_lossy(), "--map", &map("footfall.toml")])
            .args(["--data-dir", &data.to_string_lossy()])
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Loading { child, data })
    }

    /// Whether a table has a version: 0 is the empty table, 1 the load's rows.
    fn has(&self, table: &str, version: u64) -> bool {
        let log = self.data.join("lake").join(table).join("_delta_log");
        log.join(format!("{version:020}.json")).is_file()
    }

    /// kill -9 once a table has a version; whether the load was still running.
    fn kill_at(&mut self, table: &str, version: u64) -> Result<bool> {
        let began = Instant::now();
        while !self.has(table, version) && self.child.try_wait()?.is_none() {
            ensure!(began.elapsed() < Duration::from_secs(60), "{table} has no version {version}");
            std::thread::sleep(Duration::from_millis(1));
        }
        let is_running = self.child.try_wait()?.is_none();
        // It may have ended in between.
        let _ = self.child.kill();
        self.child.wait()?;
        Ok(is_running)
    }
}

#[test]
fn a_load_killed_before_its_first_commit_leaves_nothing_visible() -> Result<()> {
    let folder = TempDir::new()?;
    let (events, truth) = sample(folder.path(), "3000")?;
    for number in 0..TRIES_MAX {
        let mut loading = Loading::start(folder.path().join(format!("data-{number}")), &events)?;
        // The last of the tables is made, and the rows are being read.
        if !loading.kill_at("receipts", 0)? || loading.has("events", 1) {
            continue;
        }
        let footfall = Footfall::at(&loading.data);
        for table in ["events", "sessions", "rejected", "duplicates", "receipts"] {
            let rows = count(&footfall, &format!("SELECT count(*) FROM {table}"))?;
            ensure!(rows == 0, "{rows} rows in {table}");
        }
        return finish(&footfall, &events, &truth);
    }
    anyhow::bail!("no load was killed before its first commit")
}

#[test]
fn a_load_killed_between_its_commits_is_finished_by_the_same_command() -> Result<()> {
    let folder = TempDir::new()?;
    let (events, truth) = sample(folder.path(), "3000")?;
    for number in 0..TRIES_MAX {
        let mut loading = Loading::start(folder.path().join(format!("data-{number}")), &events)?;
        if !loading.kill_at("events", 1)? || loading.has("sessions", 1) {
            continue;
        }
        let footfall = Footfall::at(&loading.data);
        ensure!(count(&footfall, "SELECT count(*) FROM events")? > 0, "`events` was committed");
        ensure!(count(&footfall, "SELECT count(*) FROM sessions")? == 0, "`sessions` was not");
        return finish(&footfall, &events, &truth);
    }
    anyhow::bail!("no load was killed between its commits")
}

/// The same command, and what must come of it.
fn finish(footfall: &Footfall, events: &Path, truth: &Path) -> Result<()> {
    footfall.run_well(&["load", &events.to_string_lossy(), "--map", &map("footfall.toml")])?;
    oracle(&footfall.lake(), &rules(), &[], Some(truth))?;
    footfall.run_well(&["verify"])?;
    Ok(())
}
