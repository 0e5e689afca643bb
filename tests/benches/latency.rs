//! How long an event takes from POST to SQL, and a signal from its deadline to a listener, while a
//! sample is posted at 5,000 events a second.
//!
//! `cargo bench -p footfall-tests --bench latency`; `-- 1000 60` posts 1,000 a second for 60 seconds.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use footfall_tests::{Footfall, Running, binary, wait_until};
use serde_json::Value;
use tempfile::TempDir;

/// A probe is posted so often, and looked for so often: what is measured is at most this too long.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);
const EVENTS_PER_SESSION: u64 = 9;
/// The need `delivery` of the default rules: 3 s, and 500 ms of grace.
const DEADLINE_SECONDS: f64 = 3.5;
/// The default of `log.partitions`.
const PARTITIONS: u8 = 4;
const SEEN_MAX: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let rate: u64 = arguments.first().map_or(Ok(5_000), |text| text.parse())?;
    let seconds: u64 = arguments.get(1).map_or(Ok(120), |text| text.parse())?;
    let folder = TempDir::new()?;
    let running = Footfall::at(folder.path()).start("up")?;
    let mut posting = (rate > 0).then(|| post_sample(&running, rate, seconds)).transpose()?;
    // A partition's first record is believed when another lies five seconds behind it.
    wait_until("all partitions have a watermark", SEEN_MAX, || {
        let sum = running.metric(running.pipeline(), "footfall_pipeline_watermark_seconds")?;
        Ok(sum > f64::from(PARTITIONS) * 1e9)
    })?;
    let signals = listen(&running)?;
    let mut probes = Probes::default();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        probes.post(&running)?;
        probes.look(&running)?;
        std::thread::sleep(PROBE_INTERVAL);
    }
    // Load without end would hide that the last probes come late.
    wait_until("all probes in SQL", SEEN_MAX, || {
        probes.look(&running)?;
        Ok(probes.seen.len() == probes.posted.len())
    })?;
    if let Some(posting) = &mut posting {
        let is_over = posting.try_wait()?.is_some();
        posting.kill()?;
        posting.wait()?;
        println!("{rate} events/s were {}posted to the end", if is_over { "not " } else { "" });
    }
    let accepted = running.metric(running.ingest(), "footfall_ingest_accepted_total")?;
    println!(
        "accepted in all: {accepted}, {:.0} a second",
        accepted / began.elapsed().as_secs_f64()
    );
    print("POST to SQL", probes.seen.values().copied().collect())?;
    let delay = |(id, at): (String, Instant)| {
        let posted = probes.posted.get(&id)?;
        Some(at.duration_since(*posted).as_secs_f64() - DEADLINE_SECONDS)
    };
    print("signal after deadline and grace", signals.try_iter().filter_map(delay).collect())?;
    running.stop()
}

fn print(what: &str, mut seconds: Vec<f64>) -> Result<()> {
    ensure!(!seconds.is_empty(), "{what}: none was seen");
    seconds.sort_by(f64::total_cmp);
    let at = |share: f64| seconds[((seconds.len() - 1) as f64 * share).round() as usize];
    let (count, half, p99, most) = (seconds.len(), at(0.5), at(0.99), at(1.0));
    println!("{what}: {count} seen, p50 {half:.3} s, p99 {p99:.3} s, most {most:.3} s");
    Ok(())
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

/// Visitors who look for the delivery price and do not find it: each raises a signal.
#[derive(Default)]
struct Probes {
    posted: BTreeMap<String, Instant>,
    seen: BTreeMap<String, f64>,
}

impl Probes {
    fn post(&mut self, running: &Running) -> Result<()> {
        let id = format!("probe-{}", self.posted.len());
        let body = format!(
            "{{\"event_id\":\"{id}\",\"visitor_id\":\"{id}\",\"site\":\"probe\",\
             \"event_name\":\"page_view\",\"page_type\":\"product\"}}"
        );
        self.posted.insert(id, Instant::now());
        let (status, answer) = running.post("/v1/events", body)?;
        ensure!(status == 202, "{status} {answer}");
        Ok(())
    }

    fn look(&mut self, running: &Running) -> Result<()> {
        let rows = running.sql("SELECT event_id FROM events WHERE site = 'probe'")?;
        for id in rows.iter().filter_map(|row| row[0].as_str()) {
            if let Some(posted) = self.posted.get(id) {
                self.seen.entry(id.to_owned()).or_insert_with(|| posted.elapsed().as_secs_f64());
            }
        }
        Ok(())
    }
}

/// Probes whose signal came, and when.
fn listen(running: &Running) -> Result<Receiver<(String, Instant)>> {
    let url = format!("{}/v1/signals", running.pipeline());
    let client = reqwest::blocking::Client::builder().timeout(None).build()?;
    let answer = BufReader::new(client.get(url).send()?);
    let (sender, signals) = channel();
    std::thread::spawn(move || {
        // It ends with the server.
        for line in answer.lines().map_while(Result::ok) {
            let Some(json) = line.strip_prefix("data: ") else { continue };
            let Ok(signal) = serde_json::from_str::<Value>(json) else { continue };
            if let Some(visitor) =
                signal["visitor_id"].as_str().filter(|_| signal["site"] == "probe")
            {
                let _ = sender.send((visitor.to_owned(), Instant::now()));
            }
        }
    });
    Ok(signals)
}
