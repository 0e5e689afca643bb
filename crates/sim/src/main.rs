//! `footfall-sim --from SEED --seeds N`: runs so many seeds; the first that fails is made as short as it
//! still fails, and told with the command that repeats it.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use clap::Parser;
use footfall_sim::{Definitions, Manner, Outcome, Size, missing, run};

#[derive(Parser)]
#[command(
    about = "Runs the pipeline through seeded faults, and checks that nothing is lost or doubled"
)]
struct Arguments {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How many seeds
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// How many visitors
    #[arg(long, default_value_t = Size::FULL.visitors)]
    visitors: usize,
    /// How many events each of them sends
    #[arg(long, default_value_t = Size::FULL.events_each)]
    events_each: usize,
    /// How many things go wrong
    #[arg(long, default_value_t = Size::FULL.steps)]
    steps: usize,
    /// Tell a seed that fails as it is, without looking for a shorter run
    #[arg(long)]
    whole: bool,
    /// Keep tables in Delta's own logs, not in the model of them: some forty times as slow, and no seed is twice the same
    #[arg(long)]
    real_tables: bool,
    /// Print how often each step was done, and each fault met
    #[arg(long)]
    counts: bool,
    /// Print what is done
    #[arg(long)]
    trace: bool,
    /// Print what the program logs, by the filter in RUST_LOG
    #[arg(long)]
    log: bool,
}

/// The allocator of the program that it tries: seeds take less of a CPU with it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.log {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .init();
    }
    match run_all(&arguments) {
        Ok(told) => {
            println!("{told}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// All seeds, on all CPUs; what they came to.
fn run_all(arguments: &Arguments) -> Result<String> {
    let Arguments { from, seeds, visitors, events_each, steps, trace, whole, .. } = *arguments;
    let manner = Manner { on_real_tables: arguments.real_tables, shows: false };
    let size = Size { visitors, events_each, steps };
    let began = Instant::now();
    let next = AtomicU64::new(from);
    let work = || -> Result<Sum> {
        let mut definitions = Definitions::start()?;
        let mut sum = Sum::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + seeds {
                return Ok(sum);
            }
            match attempt(seed, size, Manner { shows: trace, ..manner }, &mut definitions) {
                Ok(outcome) => sum.add(outcome),
                Err(told) => {
                    // The others end with the seed that they are at.
                    next.store(from + seeds, Ordering::Relaxed);
                    let shortened =
                        if whole { size } else { shortened(seed, size, manner, &mut definitions) };
                    bail!("seed {seed}: {told}\n{}", again(seed, shortened, manner));
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = if trace { 1 } else { threads.min(usize::try_from(seeds)?) };
    let sums: Vec<Result<Sum>> = std::thread::scope(|scope| {
        let working: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = working.into_iter().map(|working| working.join());
        ended.map(|ended| ended.unwrap_or_else(|_| bail!("a thread panicked"))).collect()
    });
    let mut sum = Sum::default();
    for part in sums {
        sum.join(part?);
    }
    let Sum { events, rows, counts } = sum;
    if arguments.counts {
        for (what, count) in &counts {
            println!("{count:9} {what}");
        }
    }
    let missing = missing(&counts, seeds, size, manner.on_real_tables);
    ensure!(missing.is_empty(), "nothing was lost, but too little went wrong: {missing:?}");
    let count = |what: &str| counts.get(what).copied().unwrap_or(0);
    let (deaths, failures) = (count("death"), count("failure"));
    Ok(format!(
        "{seeds} seeds from {from} in {:.0?}: {events} events, {deaths} deaths, {failures} failures; none lost, none doubled; rows {rows:016x}",
        began.elapsed()
    ))
}

/// What some seeds came to.
#[derive(Default)]
struct Sum {
    events: usize,
    /// Stands for the rows of all runs, in whatever order they ran.
    rows: u64,
    /// How often each kind of step was done, and each fault met.
    counts: BTreeMap<String, u64>,
}

impl Sum {
    fn add(&mut self, outcome: Outcome) {
        let Outcome { events, rows, counts, .. } = outcome;
        self.join(Sum { events, rows, counts });
    }

    fn join(&mut self, other: Sum) {
        self.events += other.events;
        self.rows = self.rows.wrapping_add(other.rows);
        for (what, count) in other.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }
}

/// The command that runs a seed again.
fn again(seed: u64, size: Size, manner: Manner) -> String {
    let real = if manner.on_real_tables { " --real-tables" } else { "" };
    let Size { visitors, events_each, steps } = size;
    format!(
        "again: cargo run --release --bin footfall-sim -- --from {seed} --seeds 1 --visitors {visitors} --events-each {events_each} --steps {steps}{real} --trace"
    )
}

/// A run; a panic is a failure like any other.
fn attempt(
    seed: u64,
    size: Size,
    manner: Manner,
    definitions: &mut Definitions,
) -> std::result::Result<Outcome, String> {
    let ran = AssertUnwindSafe(|| run(seed, size, manner, definitions));
    let ran = std::panic::catch_unwind(ran);
    match ran {
        Ok(ran) => ran.map_err(|error| format!("{error:#}")),
        Err(_) => Err("it panicked".to_owned()),
    }
}

/// The smallest run that still fails, of those that halving finds.
fn shortened(seed: u64, size: Size, manner: Manner, definitions: &mut Definitions) -> Size {
    let mut smallest = size;
    loop {
        let Size { visitors, events_each, steps } = smallest;
        let smaller = [
            Size { visitors: visitors / 2, ..smallest },
            Size { events_each: events_each / 2, ..smallest },
            Size { steps: steps / 2, ..smallest },
        ];
        let fails =
            |size: &Size| *size != smallest && attempt(seed, *size, manner, definitions).is_err();
        match smaller.into_iter().find(fails) {
            Some(smaller) => smallest = smaller,
            None => return smallest,
        }
    }
}
