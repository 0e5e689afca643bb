//! How long an event takes from its 2xx to `live_needs`, while a sample is posted; and what it costs the fold
//! to tell 100,000 open sessions.
//!
//! `cargo bench -p footfall-tests --bench live`; `-- 1000 60` posts 1,000 events a second for 60 seconds.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use footfall_tests::{Footfall, Running, binary, wait_until};
use tempfile::TempDir;

const OPEN_SESSIONS: usize = 100_000;
/// The default of `ingest.batch_events_max`.
const BODY_EVENTS: usize = 10_000;
/// One whose signals do not come due at once for all who have it.
const NEED: &str = "[[need]]\nname = \"delivery\"\nraised_by = \"page_type = 'product'\"\n\
                    found_by = \"info_key = 'delivery_price'\"\nwithin = \"20m\"\nmax_clicks = 2\n";
const LOOKS: usize = 20;
const PROBE_INTERVAL: Duration = Duration::from_millis(100);
const EVENTS_PER_SESSION: u64 = 9;
/// Seconds from the 2xx: what is promised.
const SEEN_P99_MAX: f64 = 1.0;
const SEEN_MAX: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let rate: u64 = arguments.first().map_or(Ok(5_000), |text| text.parse())?;
    let seconds: u64 = arguments.get(1).map_or(Ok(60), |text| text.parse())?;
    let folder = TempDir::new()?;
    let file = folder.path().join("footfall.toml");
    std::fs::write(&file, NEED)?;
    let running = Footfall::at(&folder.path().join("data")).config(&file).start("up")?;
    open_sessions(&running)?;
    look_at_all(&running)?;
    let mut posting = post_sample(&running, rate, seconds)?;
    let seen = probe(&running, seconds);
    let is_over = posting.try_wait()?.is_some();
    posting.kill()?;
    posting.wait()?;
    println!("{rate} events/s were {}posted to the end", if is_over { "not " } else { "" });
    let seen_p99 = print("2xx to live_needs", seen?)?;
    ensure!(seen_p99 < SEEN_P99_MAX, "that is more than {SEEN_P99_MAX} s");
    let held_up = running.metric(running.pipeline(), "footfall_pipeline_live_seconds_sum")?;
    let looks = running.metric(running.pipeline(), "footfall_pipeline_live_seconds_count")?;
    println!("all looks into a partition: {looks}, {:.3} ms each", 1e3 * held_up / looks);
    running.stop()
}

/// Visitors on a product page, who all look for the delivery price.
fn open_sessions(running: &Running) -> Result<()> {
    for body in 0..OPEN_SESSIONS / BODY_EVENTS {
        let event = |at: usize| {
            let visitor = body * BODY_EVENTS + at;
            format!(
                "{{\"event_id\":\"{visitor}\",\"visitor_id\":\"visitor-{visitor}\",\"site\":\"shop\",\
                 \"event_name\":\"page_view\",\"page_type\":\"product\",\
                 \"page_path\":\"/product/{at}\",\"utm_source\":\"newsletter\",\"country\":\"DE\"}}"
            )
        };
        let events: Vec<String> = (0..BODY_EVENTS).map(event).collect();
        let (status, answer) = running.post("/v1/events", format!("[{}]", events.join(",")))?;
        ensure!(status == 202, "{status} {answer}");
    }
    wait_until("all sessions are live", SEEN_MAX, || {
        // While so much is read at once, a look may be refused.
        let seen = running.number("SELECT count(*) FROM live_sessions");
        Ok(seen.is_ok_and(|seen| seen == OPEN_SESSIONS as i64))
    })
}

fn look_at_all(running: &Running) -> Result<()> {
    for table in ["live_sessions", "live_needs"] {
        let metric = |name: &str| running.metric(running.pipeline(), name);
        let before = metric("footfall_pipeline_live_seconds_sum")?;
        let mut took = Vec::new();
        for _ in 0..LOOKS {
            let began = Instant::now();
            let rows = running.number(&format!("SELECT count(*) FROM {table}"))?;
            took.push(began.elapsed().as_secs_f64());
            ensure!(rows == OPEN_SESSIONS as i64, "{rows} rows in {table}");
        }
        let held_up = metric("footfall_pipeline_live_seconds_sum")? - before;
        let each = 1e3 * held_up / LOOKS as f64;
        println!(
            "{table} of {OPEN_SESSIONS} sessions: the fold stands still for {each:.1} ms in all"
        );
        print(&format!("count(*) of {table}"), took)?;
    }
    Ok(())
}

/// Seconds from each probe's 2xx until its need is seen.
fn probe(running: &Running, seconds: u64) -> Result<Vec<f64>> {
    let began = Instant::now();
    let mut seen = Vec::new();
    while began.elapsed() < Duration::from_secs(seconds) {
        let id = format!("probe-{}", seen.len());
        let body = format!(
            "{{\"event_id\":\"{id}\",\"visitor_id\":\"{id}\",\"site\":\"probe\",\
             \"event_name\":\"page_view\",\"page_type\":\"product\"}}"
        );
        let (status, answer) = running.post("/v1/events", body)?;
        let posted = Instant::now();
        ensure!(status == 202, "{status} {answer}");
        let look = format!(
            "SELECT count(*) FROM live_needs WHERE site = 'probe' AND visitor_id = '{id}' \
             AND outcome = 'open'"
        );
        while running.number(&look)? == 0 {
            ensure!(posted.elapsed() < SEEN_MAX, "{id} is not seen");
        }
        seen.push(posted.elapsed().as_secs_f64());
        std::thread::sleep(PROBE_INTERVAL);
    }
    Ok(seen)
}

/// Twice as many sessions as the time takes: posting is ended from here.
fn post_sample(running: &Running, rate: u64, seconds: u64) -> Result<Child> {
    let sessions = 2 * rate * seconds / EVENTS_PER_SESSION;
    let posting = Command::new(binary())
        .args(["sample", "--server", running.ingest(), "--rate", &rate.to_string()])
        .args(["--sessions", &sessions.to_string()])
        .stderr(Stdio::null())
        .spawn()?;
    Ok(posting)
}

/// Prints how they are spread; the 99th percentile.
fn print(what: &str, mut seconds: Vec<f64>) -> Result<f64> {
    ensure!(!seconds.is_empty(), "{what}: none was seen");
    seconds.sort_by(f64::total_cmp);
    let at = |share: f64| seconds[((seconds.len() - 1) as f64 * share).round() as usize];
    let (count, half, p99, most) = (seconds.len(), at(0.5), at(0.99), at(1.0));
    println!("{what}: {count} seen, p50 {half:.3} s, p99 {p99:.3} s, most {most:.3} s");
    Ok(p99)
}
