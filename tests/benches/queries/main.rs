//! CPU seconds of questions over a compacted lake of 10 million events, beside those of DuckDB and of
//! ClickHouse (chDB) over the same files, and how soon small answers come. Equal answers are required.
//!
//! `cargo bench -p footfall-tests --bench queries`; `-- FOLDER 10000000 500000` keeps the lake of so many
//! events and visitors in a folder, for the next time. Python's packages are those of
//! tests/requirements-bench.txt, in tests/.venv.

mod shop;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use footfall_tests::{Footfall, Running, cpu_seconds_of, python, repository};
use serde_json::Value;
use tempfile::TempDir;

const RUNS: usize = 5;
const LATENCY_RUNS: usize = 51;
const THREADS: &str = "2";

const MAP: &str = r#"
format = "csv"
site = "shop"
time_format = "unix_ms"
rest = "same_name"
"#;

const COUNTS: &str = "SELECT event_date, utm_medium, count(*) FROM events GROUP BY 1, 2";
const COUNT: &str = "SELECT count(*) FROM events";
const FUNNEL: &str = "
SELECT count(*) FILTER (WHERE level >= 1), count(*) FILTER (WHERE level >= 2),
       count(*) FILTER (WHERE level >= 3), count(*) FILTER (WHERE level >= 4),
       count(*) FILTER (WHERE level >= 5)
FROM (SELECT window_funnel(INTERVAL '1 hour', 'ordered', event_time, seq,
                           event_name = 'view_item', event_name = 'add_to_cart',
                           event_name = 'begin_checkout', event_name = 'add_shipping_info',
                           event_name = 'purchase') AS level
      FROM events
      WHERE event_name IN ('view_item', 'add_to_cart', 'begin_checkout', 'add_shipping_info', 'purchase')
      GROUP BY visitor_id)";
/// Sessions; with an item seen; with its delivery found within 3 s; without, and over 30 s after the last item.
const UNMET: &str = "
SELECT count(*), count(seen), count(*) FILTER (WHERE level = 2),
       count(*) FILTER (WHERE level = 1 AND ended - seen <= INTERVAL '30 seconds')
FROM (SELECT max(event_time) AS ended, max(event_time) FILTER (WHERE event_name = 'view_item') AS seen,
             window_funnel(INTERVAL '3 seconds', 'ordered', event_time, seq,
                           event_name = 'view_item', event_name = 'view_delivery_info') AS level
      FROM events GROUP BY session_id)";
/// What a dashboard asks.
const DASHBOARD: [&str; 4] = [
    COUNTS,
    "SELECT event_date, count(DISTINCT visitor_id) FROM events GROUP BY 1",
    "SELECT page_path, count(*) FROM events WHERE event_name = 'page_view' GROUP BY 1 ORDER BY 2 DESC LIMIT 10",
    "SELECT exit_path, count(*), avg(event_count) FROM sessions GROUP BY 1 ORDER BY 2 DESC LIMIT 10",
];
/// Small questions, whose answers should be there at once.
const SMALL: [&str; 4] = [
    COUNT,
    "SELECT event_date, count(*) FROM events WHERE event_date = '2026-01-03' GROUP BY 1",
    "SELECT event_id, event_name FROM events LIMIT 1",
    "SELECT event_name, event_time FROM events WHERE visitor_id = (SELECT min(visitor_id) FROM events)",
];

type Answer = Vec<Vec<String>>;

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let temporary = TempDir::new()?;
    let folder = arguments.first().map_or(temporary.path().to_owned(), PathBuf::from);
    let events = arguments.get(1).map_or(Ok(10_000_000), |text| text.parse())?;
    let visitors = arguments.get(2).map_or(Ok(500_000), |text| text.parse())?;
    let footfall = Footfall::at(&folder).set(&format!("query.threads={THREADS}"));
    prepare(&footfall, &folder, events, visitors)?;
    let running = footfall.start("query")?;
    let mut ours = BTreeMap::new();
    for (name, sql) in [("counts", COUNTS), ("count", COUNT), ("funnel", FUNNEL), ("unmet", UNMET)]
    {
        let ask = || running.sql(sql);
        ask()?;
        let (mut took, mut answer) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let began = cpu_seconds_of(running.process())?;
            answer = ask()?;
            took.push(cpu_seconds_of(running.process())? - began);
        }
        ours.insert(name.to_owned(), (median(&mut took), rows(&answer)));
    }
    println!("question    ours CPU s   peer CPU s   times");
    for line in peers(&footfall.lake().join("events"))?.lines() {
        let told: Value = serde_json::from_str(line)?;
        let name = told["name"].as_str().context("a name")?;
        let (our_seconds, our_answer) = ours.get(name).context("a question of ours")?;
        let seconds = told["cpu"].as_array().context("seconds")?.iter();
        let peer = median(&mut seconds.filter_map(Value::as_f64).collect::<Vec<_>>());
        let answer: Answer = serde_json::from_value(told["answer"].clone())?;
        ensure!(&answer == our_answer, "{name}: {answer:?} and ours {our_answer:?}");
        println!(
            "{name:10} {our_seconds:11.2} {peer:12.2} {:7.2}  {}",
            our_seconds / peer,
            told["peer"].as_str().unwrap_or_default()
        );
    }
    let client = reqwest::blocking::Client::new();
    for sql in SMALL {
        let mut took = Vec::new();
        for _ in 0..LATENCY_RUNS {
            let began = Instant::now();
            let url = format!("{}/v1/sql", running.query());
            let answer = client.post(url).body(sql).send()?;
            ensure!(answer.status().is_success(), "{sql}: {}", answer.text()?);
            answer.bytes()?;
            took.push(began.elapsed().as_secs_f64() * 1_000.0);
        }
        println!("{:8.1} ms  {sql}", median(&mut took));
    }
    dashboards(&running)?;
    running.stop()
}

/// Asks what 50 dashboards ask when all are opened at once; none may be refused.
fn dashboards(running: &Running) -> Result<()> {
    const COUNT: usize = 50;
    let began = Instant::now();
    std::thread::scope(|scope| {
        let ask =
            |index: usize| scope.spawn(move || running.sql(DASHBOARD[index % DASHBOARD.len()]));
        let asking: Vec<_> = (0..COUNT).map(ask).collect();
        asking.into_iter().try_for_each(|asking| match asking.join() {
            Ok(answer) => answer.map(drop),
            Err(_) => anyhow::bail!("a question broke off"),
        })
    })?;
    println!("{COUNT} dashboards at once: answered within {:.1?}", began.elapsed());
    Ok(())
}

/// Makes the lake unless the folder has it.
fn prepare(footfall: &Footfall, folder: &Path, events: usize, visitors: u64) -> Result<()> {
    let done = folder.join(format!("{events}-{visitors}.done"));
    if done.is_file() {
        return Ok(());
    }
    std::fs::create_dir_all(folder)?;
    let (csv, map) = (folder.join("events.csv"), folder.join("map.toml"));
    shop::write(&csv, events, visitors)?;
    std::fs::write(&map, MAP)?;
    let began = Instant::now();
    footfall.run_well(&["load", &csv.to_string_lossy(), "--map", &map.to_string_lossy()])?;
    println!("loaded in {:.0?}", began.elapsed());
    std::fs::remove_file(&csv)?;
    footfall.run_well(&["maintain"])?;
    Ok(std::fs::write(done, "")?)
}

fn peers(table: &Path) -> Result<String> {
    let program = repository().join("tests/benches/queries/peers.py");
    let runs = RUNS.to_string();
    python(&[&program.to_string_lossy(), &table.to_string_lossy(), THREADS, &runs])
}

/// As the peers print them.
fn rows(answer: &[Value]) -> Answer {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "None".to_owned(),
        other => other.to_string(),
    };
    let row = |row: &Value| row.as_array().into_iter().flatten().map(text).collect();
    let mut rows: Answer = answer.iter().map(row).collect();
    rows.sort();
    rows
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}
