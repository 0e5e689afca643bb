//! Rows per CPU second of `footfall load`, a process of its own: a sample as JSON lines.
//!
//! `cargo bench -p footfall-tests --bench load`; `-- 20000 5` takes 20,000 sessions, 5 times.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use footfall_tests::{Footfall, binary, children_cpu_seconds, repository};
use tempfile::TempDir;

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let sessions = arguments.first().map_or("110000", String::as_str);
    let runs = arguments.get(1).map_or(Ok(3), |text| text.parse())?;
    let folder = TempDir::new()?;
    let sample = folder.path().join("sample.jsonl");
    let status = Command::new(binary())
        .args(["sample", "--sessions", sessions])
        .stdout(std::fs::File::create(&sample)?)
        .status()?;
    ensure!(status.success(), "sample: {status}");
    println!("rows read  rows/CPU s");
    let mut receipts = Vec::new();
    for number in 0..runs {
        let (rows, cpu, receipt) = load(&sample, &folder.path().join(format!("data-{number}")))?;
        println!("{rows:9}  {:10.0}", rows / cpu);
        receipts.push(receipt);
    }
    ensure!(receipts.windows(2).all(|pair| pair[0] == pair[1]), "runs differ: {receipts:?}");
    Ok(())
}

/// Rows read, CPU seconds, and the receipt without its time.
fn load(sample: &Path, data: &Path) -> Result<(f64, f64, String)> {
    let map = repository().join("config/maps/footfall.toml");
    let before = children_cpu_seconds()?;
    let receipt = Footfall::at(data).run_well(&[
        "load",
        &sample.to_string_lossy(),
        "--map",
        &map.to_string_lossy(),
    ])?;
    let cpu = children_cpu_seconds()? - before;
    let rows = receipt.lines().find(|line| line.ends_with("rows read"));
    let rows = rows.and_then(|line| line.trim().split(' ').next()?.parse().ok());
    let counts = receipt.lines().filter(|line| !line.starts_with("  in "));
    Ok((rows.context("no rows in the receipt")?, cpu, counts.collect()))
}
