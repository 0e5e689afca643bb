//! `footfall load`: history from files into the lake, with a progress bar and a receipt.

mod source;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use footfall_event::{Limits, Micros};
use footfall_pipeline::{HistoryBatch, HistoryFiles, HistorySource, JobsRun, Load, LoadReceipt};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::map::LoadMap;
use crate::parts::made_lake;
use crate::settings::pipeline_rules;
use source::Sources;

/// Hexadecimal digits of a load's name.
const HASH_DIGITS: usize = 16;

/// Loads `files` as `map` reads them, and prints what they came to.
///
/// # Errors
/// A map with mistakes, a file that cannot be read, a lake that cannot be written.
pub async fn run(config: &Config, files: &[PathBuf], map: &Path) -> anyhow::Result<()> {
    let began = Instant::now();
    let started = Micros::clock();
    let parsed = LoadMap::load(map)?;
    let site = config.ingest.default_site.clone();
    let hash = hash_of(files, map, &site)?;
    let load = Load {
        hash,
        rules: Arc::new(pipeline_rules(config)),
        started,
        jobs_run: JobsRun::OnThreads,
    };
    let (files, log) = (files.to_owned(), load.log());
    let open = move || Sources::open(&files, &parsed, &site, Limits::default(), &log, started);
    let bar = progress_bar(&open()?);
    let lake = made_lake(config).await?;
    let shown = bar.clone();
    let opened: HistoryFiles = Box::new(move || match open() {
        Ok(sources) => Ok(reading(sources, shown.clone())),
        Err(error) => Err(error.to_string()),
    });
    let receipt = footfall_pipeline::load(&lake, &load, &opened).await?;
    bar.finish_and_clear();
    print_receipt(&load, &receipt, began.elapsed());
    Ok(())
}

/// The files in order, the map and the site: equal for the same load.
fn hash_of(files: &[PathBuf], map: &Path, site: &str) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    for path in files.iter().map(PathBuf::as_path).chain([map]) {
        let unreadable = || format!("cannot read {}", path.display());
        let mut file = File::open(path).with_context(unreadable)?;
        let (mut buffer, mut bytes) = (vec![0; 1 << 20], 0u64);
        loop {
            let read = file.read(&mut buffer).with_context(unreadable)?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            bytes += read as u64;
        }
        hash.update(bytes.to_be_bytes());
    }
    hash.update(site.as_bytes());
    let mut digits = hex::encode(hash.finalize());
    digits.truncate(HASH_DIGITS);
    Ok(digits)
}

fn progress_bar(sources: &Sources) -> ProgressBar {
    // It shows itself on a terminal only.
    let bar = ProgressBar::new(sources.bytes_total());
    let style = "{bar:40} {bytes}/{total_bytes} {msg} {eta}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}

fn reading(mut sources: Sources, bar: ProgressBar) -> HistorySource {
    let (began, mut rows) = (Instant::now(), 0usize);
    Box::new(move || {
        let Some(batch) = sources.next_batch().map_err(|error| error.to_string())? else {
            bar.set_message("folding");
            return Ok(None);
        };
        rows += batch.events.num_rows() + batch.rejected.len();
        bar.set_position(sources.bytes_read());
        bar.set_message(format!("{rows} rows, {:.0}/s", rate(rows as u64, began.elapsed())));
        Ok(Some(HistoryBatch { events: batch.events, rejected: batch.rejected }))
    })
}

fn rate(rows: u64, took: Duration) -> f64 {
    rows as f64 / took.as_secs_f64().max(1e-6)
}

fn print_receipt(load: &Load, receipt: &LoadReceipt, took: Duration) {
    let counts = receipt.counts;
    if !receipt.had.is_empty() {
        let had: Vec<&str> = receipt.had.iter().map(|table| table.name()).collect();
        println!("{} was loaded before: {} had its rows", load.log(), had.join(", "));
    }
    println!("receipt of {}", load.log());
    println!("  {:>12} rows read", counts.received());
    println!("  {:>12} accepted ({} left to the repair)", counts.accepted(), counts.late);
    println!("  {:>12} duplicates", counts.duplicate);
    println!("  {:>12} rejected", counts.rejected);
    println!("  {:>12} sessions", receipt.sessions);
    println!("  {:>12} page views", receipt.page_views);
    println!("  {:>12} needs", receipt.needs);
    let rate = rate(counts.received(), took);
    println!("  in {:.1} s, {rate:.0} rows a second", took.as_secs_f64());
}
