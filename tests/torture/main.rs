//! `torture --minutes M --seed S`: the binary under real faults, round after round, each on a lake of its own;
//! after each a reader of its own, the client's list and the program's `verify` must agree.

mod client;
mod cluster;
mod embedded;
mod full_disk;
mod proxy;
mod round;
mod stages;
mod strace;
mod watch;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::round::Totals;
use crate::stages::Hits;

#[derive(Parser)]
#[command(about = "Kills and starves the binary, and checks that nothing is lost or doubled")]
struct Arguments {
    /// For how long rounds are begun
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// What chance begins with: kinds and order of faults follow from it, their moments do not
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only rounds of this kind
    #[arg(long)]
    only: Option<Kind>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    /// One binary, killed at system calls
    Embedded,
    /// Parts on three Kafka brokers
    Cluster,
    /// One binary on a small disk
    FullDisk,
}

/// One after the other.
const KINDS: [Kind; 4] = [Kind::Embedded, Kind::Cluster, Kind::Embedded, Kind::FullDisk];
/// How long a round's faults last at most, and at least.
const STORM_MAX: Duration = Duration::from_secs(150);
const STORM_MIN: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut totals = Totals::default();
    let outcome = torture(&arguments, &mut totals);
    report(&totals);
    let outcome = outcome.and_then(|()| match arguments.only {
        None => totals.require_all_faults(),
        Some(Kind::Embedded) => totals.hits.require_all(),
        Some(Kind::Cluster | Kind::FullDisk) => Ok(()),
    });
    match outcome {
        Ok(()) => {
            println!("none lost, none doubled");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn torture(arguments: &Arguments, totals: &mut Totals) -> Result<()> {
    let limit = Duration::from_secs(arguments.minutes * 60);
    let storm = (limit / 8).clamp(STORM_MIN, STORM_MAX);
    let began = Instant::now();
    let mut rng = ChaCha8Rng::seed_from_u64(arguments.seed);
    for kind in KINDS.iter().cycle() {
        let kind = arguments.only.unwrap_or(*kind);
        let seed = rng.random_range(0..1_000_000);
        let storm = storm.mul_f64(rng.random_range(0.8..1.2));
        println!("round {}: {kind:?}, {:.0} s", totals.rounds + 1, storm.as_secs_f64());
        let mut own = ChaCha8Rng::seed_from_u64(seed);
        let done = match kind {
            Kind::Embedded => embedded::round(seed, &mut own, storm, totals),
            Kind::Cluster => cluster::round(seed, &mut own, storm, totals),
            Kind::FullDisk => full_disk::round(seed, &mut own, storm, totals),
        };
        done.with_context(|| format!("round {} of seed {}", totals.rounds + 1, arguments.seed))?;
        totals.rounds += 1;
        let is_complete = arguments.only.is_some() || totals.rounds >= KINDS.len() as u64;
        if began.elapsed() > limit && is_complete {
            break;
        }
    }
    Ok(())
}

fn report(totals: &Totals) {
    println!(
        "{} rounds: {} kills, {} stops, {} brokers killed, {} faults of the network, {} full disks, \
         {} records by hand, {} s of lag; {} events acknowledged, {} batches without an answer, {} refused",
        totals.rounds,
        totals.kills,
        totals.stops,
        totals.broker_kills,
        totals.network_faults,
        totals.full_disks,
        totals.poison,
        totals.lag_longest.as_secs(),
        totals.acknowledged,
        totals.broken,
        totals.refused,
    );
    println!("killed in:");
    for stage in Hits::all() {
        println!("  {:>5}  {stage}", totals.hits.of(stage));
    }
}
