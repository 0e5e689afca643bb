//! `footfall-sim --from SEED --seeds N`: runs so many seeds; the first that fails is made as short as it
//! still fails, and told with the command that repeats it.

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use footfall_sim::{Definitions, Outcome, Size, run};

#[derive(Parser)]
#[command(
    about = "Runs the pipeline through seeded faults, and checks that nothing is lost or doubled"
)]
struct Arguments {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How many seeds
    #[arg(long, default_value_t = 100)]
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
    /// Print what is done
    #[arg(long)]
    trace: bool,
    /// Print what the program logs, by the filter in RUST_LOG
    #[arg(long)]
    log: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.log {
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
            .init();
    }
    let Arguments { visitors, events_each, steps, .. } = arguments;
    let size = Size { visitors, events_each, steps };
    let mut definitions = match Definitions::start() {
        Ok(definitions) => definitions,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    };
    let began = Instant::now();
    let mut sum = (0, 0, 0);
    for seed in arguments.from..arguments.from + arguments.seeds {
        match attempt(seed, size, arguments.trace, &mut definitions) {
            Ok(outcome) => {
                sum = (sum.0 + outcome.events, sum.1 + outcome.deaths, sum.2 + outcome.failures);
                if arguments.seeds == 1 {
                    println!("{outcome:?}");
                }
            }
            Err(told) => {
                let Size { visitors, events_each, steps } = shortened(seed, size, &mut definitions);
                println!("seed {seed}: {told}");
                println!(
                    "again: cargo run --release -p footfall-sim -- --from {seed} --seeds 1 --visitors {visitors} --events-each {events_each} --steps {steps} --trace"
                );
                return ExitCode::FAILURE;
            }
        }
    }
    let (events, deaths, failures) = sum;
    println!(
        "{} seeds from {} in {:.0?}: {events} events, {deaths} deaths, {failures} failures, none lost, none doubled",
        arguments.seeds,
        arguments.from,
        began.elapsed()
    );
    ExitCode::SUCCESS
}

/// A run; a panic is a failure like any other.
fn attempt(
    seed: u64,
    size: Size,
    shows: bool,
    definitions: &mut Definitions,
) -> Result<Outcome, String> {
    let ran = AssertUnwindSafe(|| run(seed, size, shows, definitions));
    let ran = std::panic::catch_unwind(ran);
    match ran {
        Ok(ran) => ran.map_err(|error| format!("{error:#}")),
        Err(_) => Err("it panicked".to_owned()),
    }
}

/// The smallest run that still fails, of those that halving finds.
fn shortened(seed: u64, size: Size, definitions: &mut Definitions) -> Size {
    let mut smallest = size;
    loop {
        let Size { visitors, events_each, steps } = smallest;
        let smaller = [
            Size { visitors: visitors / 2, ..smallest },
            Size { events_each: events_each / 2, ..smallest },
            Size { steps: steps / 2, ..smallest },
        ];
        let fails =
            |size: &Size| *size != smallest && attempt(seed, *size, false, definitions).is_err();
        match smaller.into_iter().find(fails) {
            Some(smaller) => smallest = smaller,
            None => return smallest,
        }
    }
}
