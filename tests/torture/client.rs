//! The client: a storefront that sends each batch until it is answered 2xx, and keeps a list of what it sent
//! and of what was acknowledged.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use footfall_tests::binary;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// Senders at work at once.
const SENDERS: u64 = 4;
/// Visitors of a sender who are in the shop at once.
const VISITORS_AT_ONCE: usize = 24;
/// Sessions of a sample; a sender makes itself another when all have been in the shop.
const SESSIONS: u64 = 2_000;
/// How long an answer may take before the batch is sent again.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a batch may stay without a 2xx, whatever goes wrong.
const UNANSWERED_MAX: Duration = Duration::from_secs(180);
/// Of a thousand events: held back until they are late; of no fit type.
const LATE: u32 = 30;
const BAD: u32 = 10;
/// Of a thousand batches: sent again although it was acknowledged.
const AGAIN: u32 = 150;

/// What all senders share.
#[derive(Default)]
struct Counts {
    broken: AtomicU64,
    refused: AtomicU64,
    acknowledged: AtomicU64,
    records: AtomicU64,
}

pub struct Client {
    counts: Arc<Counts>,
    is_over: Arc<AtomicBool>,
    senders: Vec<JoinHandle<Result<()>>>,
    list: Arc<Mutex<BufWriter<File>>>,
}

/// What was sent, in numbers.
pub struct Sent {
    /// Events that were acknowledged, each once.
    pub acknowledged: u64,
    /// Events and refused ones that were acknowledged, each as often as it was.
    pub records: u64,
}

impl Client {
    /// Sends to `server` until it is told to finish. `list` becomes a line of JSON for each event sent, and one
    /// more when it was acknowledged.
    pub fn start(server: &str, list: &Path, seed: u64, pause: Duration) -> Result<Client> {
        let counts = Arc::new(Counts::default());
        let is_over = Arc::new(AtomicBool::new(false));
        let file = Arc::new(Mutex::new(BufWriter::new(File::create(list)?)));
        let mut senders = Vec::new();
        for number in 0..SENDERS {
            let mut sender = Sender {
                rng: ChaCha8Rng::seed_from_u64(seed.wrapping_mul(31).wrapping_add(number)),
                http: reqwest::blocking::Client::builder().timeout(ANSWER).build()?,
                url: format!("{server}/v1/events?status=summary"),
                sample: seed * 1_000_000 + number,
                visits: Vec::new(),
                in_shop: Vec::new(),
                held_back: Vec::new(),
                counts: counts.clone(),
                is_over: is_over.clone(),
                list: file.clone(),
                pause,
            };
            senders.push(std::thread::spawn(move || sender.run()));
        }
        Ok(Client { counts, is_over, senders, list: file })
    }

    /// Batches without an answer: the connection broke, or none came in time.
    pub fn broken(&self) -> u64 {
        self.counts.broken.load(Ordering::Relaxed)
    }

    /// Batches that were answered 503.
    pub fn refused(&self) -> u64 {
        self.counts.refused.load(Ordering::Relaxed)
    }

    /// Records that were acknowledged so far.
    pub fn records(&self) -> u64 {
        self.counts.records.load(Ordering::Relaxed)
    }

    /// No new batches; those under way are sent until they are acknowledged.
    pub fn finish(self) -> Result<Sent> {
        self.is_over.store(true, Ordering::Relaxed);
        for sender in self.senders {
            sender.join().map_err(|_| anyhow!("a sender panicked"))??;
        }
        self.list.lock().unwrap_or_else(PoisonError::into_inner).flush()?;
        Ok(Sent {
            acknowledged: self.counts.acknowledged.load(Ordering::Relaxed),
            records: self.counts.records.load(Ordering::Relaxed),
        })
    }
}

/// The events of each visitor of a sample in their order, the last visitor first.
fn visits(seed: u64) -> Result<Vec<Vec<Value>>> {
    let arguments = ["sample", "--seed", &seed.to_string(), "--sessions", &SESSIONS.to_string()];
    let output = Command::new(binary()).args(arguments).output()?;
    ensure!(output.status.success(), "sample: {}", String::from_utf8_lossy(&output.stderr));
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut visits: Vec<Vec<Value>> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let event: Value = serde_json::from_str(line)?;
        let Some(visitor) = event["visitor_id"].as_str() else { continue };
        // Resends are this client's own.
        if !seen.insert(event["event_id"].as_str().context("an event without id")?.to_owned()) {
            continue;
        }
        let place = *places.entry(visitor.to_owned()).or_insert(visits.len());
        match visits.get_mut(place) {
            Some(visit) => visit.push(event),
            None => visits.push(vec![event]),
        }
    }
    // The next event is the last of its visit, so that it can be taken off.
    visits.iter_mut().for_each(|visit| visit.reverse());
    visits.reverse();
    Ok(visits)
}

struct Sender {
    rng: ChaCha8Rng,
    http: reqwest::blocking::Client,
    url: String,
    /// Seed of the next sample, which nobody else makes.
    sample: u64,
    visits: Vec<Vec<Value>>,
    in_shop: Vec<Vec<Value>>,
    /// Events that are sent when they are late.
    held_back: Vec<(Instant, Value)>,
    counts: Arc<Counts>,
    is_over: Arc<AtomicBool>,
    list: Arc<Mutex<BufWriter<File>>>,
    pause: Duration,
}

impl Sender {
    fn run(&mut self) -> Result<()> {
        while !self.is_over.load(Ordering::Relaxed) {
            let batch = self.batch(false)?;
            self.send(&batch)?;
            if !batch.is_empty() && self.rng.random_ratio(AGAIN, 1_000) {
                self.send_once(&batch)?;
            }
            std::thread::sleep(self.pause.mul_f64(self.rng.random_range(0.5..1.5)));
        }
        let left = self.batch(true)?;
        if left.is_empty() { Ok(()) } else { self.send(&left) }
    }

    /// What some of the visitors do now, and what was held back and is due.
    fn batch(&mut self, is_last: bool) -> Result<Vec<Value>> {
        let now = Instant::now();
        let (due, held_back) = self.held_back.drain(..).partition(|(at, _)| *at <= now || is_last);
        self.held_back = held_back;
        let mut batch: Vec<Value> =
            Vec::from_iter(due).into_iter().map(|(_, event)| event).collect();
        let events = if is_last { 0 } else { self.rng.random_range(1..=20) };
        for _ in 0..events {
            while self.in_shop.len() < VISITORS_AT_ONCE {
                match self.visits.pop() {
                    Some(visit) => self.in_shop.push(visit),
                    None => {
                        self.visits = visits(self.sample)?;
                        self.sample += SENDERS;
                    }
                }
            }
            let place = self.rng.random_range(0..self.in_shop.len());
            let Some(mut event) = self.in_shop[place].pop() else {
                self.in_shop.swap_remove(place);
                continue;
            };
            event["timestamp"] = json!(now_rfc3339());
            if self.rng.random_ratio(BAD, 1_000) {
                event["x"] = json!("left");
            }
            if self.rng.random_ratio(LATE, 1_000) {
                let later = Duration::from_millis(self.rng.random_range(3_000..15_000));
                self.held_back.push((now + later, event));
            } else {
                batch.push(event);
            }
        }
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        for event in &batch {
            writeln!(list, "{}", json!({ "sent": event }))?;
        }
        Ok(batch)
    }

    /// Sends until the batch is acknowledged.
    fn send(&mut self, batch: &[Value]) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        while !self.send_once(batch)? {
            ensure!(began.elapsed() < UNANSWERED_MAX, "no 2xx within {UNANSWERED_MAX:?}");
            std::thread::sleep(Duration::from_millis(self.rng.random_range(20..300)));
        }
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        for event in batch {
            writeln!(list, "{}", json!({ "acknowledged": event["event_id"] }))?;
        }
        let accepted = batch.iter().filter(|event| !is_bad(event)).count() as u64;
        self.counts.acknowledged.fetch_add(accepted, Ordering::Relaxed);
        Ok(())
    }

    /// Whether it was acknowledged.
    fn send_once(&mut self, batch: &[Value]) -> Result<bool> {
        let body = Value::from(batch.to_vec()).to_string();
        let Ok(answer) = self.http.post(&self.url).body(body).send() else {
            self.counts.broken.fetch_add(1, Ordering::Relaxed);
            return Ok(false);
        };
        let status = answer.status().as_u16();
        let Ok(text) = answer.text() else {
            self.counts.broken.fetch_add(1, Ordering::Relaxed);
            return Ok(false);
        };
        match status {
            202 => {
                let told: Value = serde_json::from_str(&text)?;
                let bad = batch.iter().filter(|event| is_bad(event)).count();
                let wanted = (Some((batch.len() - bad) as u64), Some(bad as u64));
                let found = (told["accepted"].as_u64(), told["rejected"].as_u64());
                ensure!(found == wanted, "{wanted:?} accepted and rejected were meant: {text}");
                self.counts.records.fetch_add(batch.len() as u64, Ordering::Relaxed);
                Ok(true)
            }
            503 => {
                self.counts.refused.fetch_add(1, Ordering::Relaxed);
                Ok(false)
            }
            _ => bail!("a batch was answered {status}: {text}"),
        }
    }
}

fn is_bad(event: &Value) -> bool {
    event["x"].is_string()
}

/// Now, as a client writes it.
fn now_rfc3339() -> String {
    chrono::Utc::now().format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}
