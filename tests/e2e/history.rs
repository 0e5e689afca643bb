//! History by `load`: real rows, a sample, twice, and killed half-way.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

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
        println!("NOT RUN: {} is not there", file.display());
        return Ok(());
    }
    println!("loading {}", file.display());
    check_rees46(&file, 17_434)
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

#[test]
fn a_loaded_sample_gives_what_the_oracle_and_the_generator_say() -> Result<()> {
    let folder = TempDir::new()?;
    let (events, truth) = sample(folder.path(), "3000")?;
    let footfall = Footfall::at(&folder.path().join("data"));
    footfall.run_well(&["load", &events.to_string_lossy(), "--map", &map("footfall.toml")])?;
    oracle(&footfall.lake(), &rules(), &[], Some(&truth))?;
    footfall.run_well(&["verify"])?;
    Ok(())
}

#[test]
fn a_killed_load_is_finished_by_the_same_command() -> Result<()> {
    let folder = TempDir::new()?;
    let (events, truth) = sample(folder.path(), "3000")?;
    let footfall = Footfall::at(&folder.path().join("data"));
    let (events, map) = (events.to_string_lossy().into_owned(), map("footfall.toml"));
    for milliseconds in [50, 150, 300, 450, 600, 800, 1000, 1200] {
        let mut child = Command::new(binary())
            .args(["load", &events, "--map", &map])
            .args(["--data-dir", &folder.path().join("data").to_string_lossy()])
            .spawn()?;
        std::thread::sleep(Duration::from_millis(milliseconds));
        // It may have ended before.
        let _ = child.kill();
        child.wait()?;
    }
    footfall.run_well(&["load", &events, "--map", &map])?;
    oracle(&footfall.lake(), &rules(), &[], Some(&truth))?;
    footfall.run_well(&["verify"])?;
    Ok(())
}
