//! What attacks on the collector and the worst queries cost others: their p99 from POST to 202 beside
//! each, over the p99 of the seconds just before it, and the memory of all processes.
//!
//! `cargo bench -p footfall-tests --bench attacks`; `-- 10 query` takes 10 seconds for each, and those
//! alone whose name holds `query`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use footfall_tests::attack::{self, Others};
use footfall_tests::{Footfall, Running};
use tempfile::TempDir;

const OTHERS: usize = 4;
const IDLE: usize = 10_000;
const SLOW: usize = 2_000;
/// Attackers that send one thing after the other.
const SENDERS: usize = 4;
const BOMB_BYTES: usize = 64 * 1024 * 1024;
/// How long an attack's traces may last.
const REST: Duration = Duration::from_secs(3);

/// Attacks the server until told to stop.
type Attack = fn(&Target) -> Result<()>;

struct Target {
    ingest: String,
    query: String,
    seconds: u64,
    stop: AtomicBool,
}

impl Target {
    fn goes_on(&self) -> bool {
        !self.stop.load(Relaxed)
    }

    fn wait(&self) {
        while self.goes_on() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Does it again and again on several threads; refusals are what is wanted.
    fn repeat(&self, act: impl Fn() + Sync) {
        std::thread::scope(|scope| {
            for _ in 0..SENDERS {
                scope.spawn(|| {
                    while self.goes_on() {
                        act();
                    }
                });
            }
        });
    }

    fn ask(&self, statement: &str) {
        let client = reqwest::blocking::Client::new();
        let url = format!("{}/v1/sql", self.query);
        drop(client.post(url).body(statement.to_owned()).send().and_then(|answer| answer.text()));
    }
}

const ATTACKS: [(&str, Attack); 11] = [
    ("nothing", |target| {
        target.wait();
        Ok(())
    }),
    ("idle connections", |target| {
        let sockets = attack::idle(&target.ingest, IDLE);
        println!("  {} of {IDLE} connections were made", sockets.len());
        target.wait();
        Ok(())
    }),
    ("slow heads", |target| slow(target, "-H")),
    ("slow bodies", |target| slow(target, "-B")),
    ("heads without end", |target| {
        target.repeat(|| drop(attack::endless_head(&target.ingest)));
        Ok(())
    }),
    ("half requests", |target| {
        let sockets: Vec<_> =
            (0..SLOW).filter_map(|_| attack::half_request(&target.ingest).ok()).collect();
        println!("  {} of {SLOW} were begun", sockets.len());
        target.wait();
        Ok(())
    }),
    ("bombs", |target| {
        let bomb = attack::bomb(BOMB_BYTES)?;
        target.repeat(|| {
            let request =
                reqwest::blocking::Client::new().post(format!("{}/v1/events", target.ingest));
            drop(request.body(bomb.clone()).send());
        });
        Ok(())
    }),
    ("query: long values", |target| {
        target.repeat(|| target.ask(LONG_VALUES));
        Ok(())
    }),
    ("query: cross join", |target| {
        target.repeat(|| target.ask("SELECT count(*) FROM generate_series(1, 10000000) a, generate_series(1, 10000000) b WHERE a.value * b.value % 7 = 1"));
        Ok(())
    }),
    ("query: sort to disk", |target| {
        target.repeat(|| target.ask("SELECT max(n) FROM (SELECT row_number() OVER (ORDER BY md5(CAST(value AS TEXT))) AS n FROM generate_series(1, 100000000000))"));
        Ok(())
    }),
    ("query: stuck", |target| {
        target.repeat(|| target.ask("SELECT max(levenshtein(repeat('x', 60000 + value), repeat('y', 60000 + value))) FROM generate_series(1, 900)"));
        Ok(())
    }),
];

/// `||` is outside the memory that DataFusion accounts for: 32 GB for one batch of rows.
const LONG_VALUES: &str = "
    WITH a AS (SELECT repeat('x', 8000) || value AS s FROM generate_series(1, 8192)),
    b AS (SELECT s || s || s || s AS s FROM a), c AS (SELECT s || s || s || s AS s FROM b)
    SELECT max(length(s || s || s || s)) FROM c";

fn slow(target: &Target, mode: &str) -> Result<()> {
    let mut child = attack::slow(&target.ingest, mode, SLOW, target.seconds)?;
    target.wait();
    child.kill()?;
    child.wait()?;
    Ok(())
}

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let seconds: u64 = arguments.first().map_or(Ok(15), |text| text.parse())?;
    let wanted = arguments.get(1).map_or("", String::as_str);
    let folder = TempDir::new()?;
    let running = Footfall::at(folder.path()).start("up")?;
    println!("idle: {} MB resident", running.resident_mb()?.0);
    println!("attack: p99 without, with, ratio; refused; memory before, most");
    for (name, attack) in ATTACKS.iter().filter(|(name, _)| name.contains(wanted)) {
        measure(&running, seconds, name, *attack)?;
        std::thread::sleep(REST);
    }
    running.stop()
}

fn measure(running: &Running, seconds: u64, name: &str, attack: Attack) -> Result<()> {
    let time = Duration::from_secs(seconds);
    let others = Others::start(running.ingest(), OTHERS);
    std::thread::sleep(time);
    let quiet = others.finish()?;
    ensure!(quiet.refused.is_empty(), "{name}: refused before it: {:?}", quiet.refused.first());
    let target = Arc::new(Target {
        ingest: running.ingest().to_owned(),
        query: running.query().to_owned(),
        seconds,
        stop: AtomicBool::new(false),
    });
    let before = running.resident_mb()?.0;
    let attacked = Arc::clone(&target);
    let attacker = std::thread::spawn(move || attack(&attacked));
    let others = Others::start(running.ingest(), OTHERS);
    let (began, mut most) = (Instant::now(), before);
    while began.elapsed() < time {
        // A process of queries may be on its way out.
        most = most.max(running.resident_mb().map_or(0, |(resident, _)| resident));
        std::thread::sleep(Duration::from_millis(20));
    }
    let beside = others.finish()?;
    target.stop.store(true, Relaxed);
    ensure!(attacker.join().is_ok_and(|result| result.is_ok()), "{name}: the attack broke");
    let (without, with) = (quiet.p99_ms(), beside.p99_ms());
    let (refused, posts) = (beside.refused.len(), beside.refused.len() + beside.seconds.len());
    println!(
        "{name}: {without:.1} ms, {with:.1} ms, {:.2}; {refused} of {posts}{}; {before} MB, {most} MB",
        with / without,
        beside.refused.first().map(|why| format!(" ({why})")).unwrap_or_default(),
    );
    Ok(())
}
