//! Resident memory of `footfall up`: idle, and with many sessions open at once.
//!
//! `cargo bench -p footfall-tests --bench memory`; `-- 100000` opens 100,000 sessions.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Result, ensure};
use footfall_tests::{Footfall, wait_until};
use tempfile::TempDir;

const EVENTS_PER_SESSION: usize = 3;
const BATCH_EVENTS: usize = 1_000;
/// How long an idle process may still be settling.
const SETTLING: Duration = Duration::from_secs(10);
const FOLDED_MAX: Duration = Duration::from_secs(180);

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let sessions: usize = arguments.first().map_or(Ok(500_000), |text| text.parse())?;
    let folder = TempDir::new()?;
    let running = Footfall::at(folder.path()).start("up")?;
    std::thread::sleep(SETTLING);
    println!("idle: {} MB resident", running.resident_mb()?.0);
    for round in 0..EVENTS_PER_SESSION {
        for first in (0..sessions).step_by(BATCH_EVENTS) {
            let last = sessions.min(first + BATCH_EVENTS);
            let (status, answer) = running.post("/v1/events", body(round, first..last))?;
            ensure!(status == 202, "{status} {answer}");
        }
    }
    let events = (sessions * EVENTS_PER_SESSION) as i64;
    wait_until("all events in the table", FOLDED_MAX, || {
        Ok(running.number("SELECT count(*) FROM events")? == events)
    })?;
    let open = running.metric(running.pipeline(), "footfall_pipeline_open_sessions")?;
    ensure!(open == sessions as f64, "{open} sessions are open");
    std::thread::sleep(SETTLING);
    let (resident, peak) = running.resident_mb()?;
    println!(
        "{sessions} sessions open, {EVENTS_PER_SESSION} events each: {resident} MB resident, {peak} MB at most"
    );
    running.stop()
}

/// Page views of each visitor, as a shop's pages send them.
fn body(round: usize, visitors: std::ops::Range<usize>) -> String {
    let mut body = String::new();
    for visitor in visitors {
        let page = visitor * 7 + round;
        // Writing to a text cannot fail.
        let _ = writeln!(
            body,
            "{{\"event_id\":\"{round}-{visitor:08x}\",\"visitor_id\":\"0192f3a4-5b6c-7d8e-9f00-{visitor:012x}\",\
             \"event_name\":\"page_view\",\"page_view_id\":\"{round}-{visitor}\",\
             \"page_url\":\"https://shop.example/product/{page}\",\"page_path\":\"/product/{page}\",\
             \"page_type\":\"product\",\"device_type\":\"mobile\",\"country\":\"DE\"}}",
        );
    }
    body
}
