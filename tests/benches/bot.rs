//! A machine that sends millions of events as one visitor, as fast as they are taken, beside others: what
//! it costs them and how much memory, and how long its sessions take to be repaired.
//!
//! `cargo bench -p footfall-tests --bench bot`; `-- 1000000` sends a million.

use std::fmt::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use footfall_tests::attack::Others;
use footfall_tests::{Footfall, binary, wait_until};
use tempfile::TempDir;

const BATCH_EVENTS: usize = 10_000;
const SENDERS: usize = 2;
const OTHERS: usize = 4;
const FOLDED_MAX: Duration = Duration::from_secs(600);
const QUIET: Duration = Duration::from_secs(15);

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let events: usize = arguments.first().map_or(Ok(10_000_000), |text| text.parse())?;
    let folder = TempDir::new()?;
    // Sessions close soon, so that they can be repaired at the end.
    let footfall = Footfall::at(folder.path()).set("rules.session_gap=5s");
    let running = footfall.start("up")?;
    let others = Others::start(running.ingest(), OTHERS);
    std::thread::sleep(QUIET);
    let quiet = others.finish()?;
    let before = running.resident_mb()?.0;

    let others = Others::start(running.ingest(), OTHERS);
    let began = Instant::now();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    while let first = next.fetch_add(BATCH_EVENTS, Relaxed)
                        && first < events
                    {
                        let (status, answer) =
                            running.post("/v1/events?status=summary", body(first))?;
                        ensure!(status == 202, "{status} {answer}");
                    }
                    Ok(())
                })
            })
            .collect();
        senders.into_iter().try_for_each(|sender| sender.join().ok().context("panicked")?)
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let fared = others.finish()?;
    println!("{events} events in {seconds:.0} s, {:.0} a second", events as f64 / seconds);
    println!(
        "others: p99 {:.1} ms before, {:.1} ms beside; {} refused",
        quiet.p99_ms(),
        fared.p99_ms(),
        fared.refused.len()
    );
    let bot = "SELECT count(*) FROM events WHERE visitor_id = 'bot'";
    wait_until("all events in SQL", FOLDED_MAX, || {
        Ok(running.number(bot).is_ok_and(|rows| rows == events as i64))
    })?;
    println!("all in SQL after {:.0} s", began.elapsed().as_secs_f64());
    println!("memory: {before} MB before, {} MB at most", running.resident_mb()?.1);
    for (who, sign) in [("the bot", "="), ("others", "<>")] {
        let late = format!("SELECT count(*) FROM events WHERE late AND visitor_id {sign} 'bot'");
        println!("{who}: {} late", running.number(&late)?);
    }
    let over = "SELECT count(*) FROM (SELECT max(watermark) AS newest FROM receipts \
                GROUP BY log_partition) WHERE newest < (SELECT max(event_time) FROM events) + \
                INTERVAL '5 seconds'";
    wait_until("the bot's run over", FOLDED_MAX, || Ok(running.number(over)? == 0))?;
    running.stop()?;
    maintain(&footfall)?;
    let verified = footfall.run_well(&["verify"])?;
    println!("{}", verified.lines().last().unwrap_or_default());
    Ok(())
}

/// The bot's events, each with an id of its own; the collector gives them their times.
fn body(first: usize) -> String {
    let mut body = String::new();
    for number in first..first + BATCH_EVENTS {
        // Writing to a text cannot fail.
        let _ = writeln!(
            body,
            "{{\"event_id\":\"{number:x}\",\"visitor_id\":\"bot\",\"event_name\":\"page_view\",\
             \"page_path\":\"/product/{}\"}}",
            number % 10_000
        );
    }
    body
}

/// Repairs the bot's sessions; how long it takes, and in how much memory.
fn maintain(footfall: &Footfall) -> Result<()> {
    let lake = footfall.lake();
    let data = lake.parent().context("a lake lies in a data directory")?;
    let began = Instant::now();
    let said = Command::new("/usr/bin/env")
        .args(["python3", "-c", MEASURED])
        .arg(binary())
        .args(["maintain", "--set", "rules.session_gap=5s", "--data-dir"])
        .arg(data)
        .output()?;
    ensure!(said.status.success(), "maintain: {}", String::from_utf8_lossy(&said.stderr));
    print!("{}", String::from_utf8_lossy(&said.stdout));
    println!("maintained in {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Runs its arguments, then tells the most memory that they had.
const MEASURED: &str = "
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 // 1_000_000
print(f'{most} MB at most')
";
