//! `footfall recompute`: history folded again by the rules of the configuration.

use std::sync::Arc;
use std::time::Instant;

use footfall_event::Day;
use footfall_lake::Lake;
use footfall_pipeline::{DayRange, Recomputed, Turn, outdated, recompute};
use indicatif::{ProgressBar, ProgressStyle};

use crate::arguments::RecomputeArguments;
use crate::config::{Config, process_environment};
use crate::exit::CalledWrongly;
use crate::settings::pipeline_rules;

/// No event happened before, and none can be told of behind (9999-12-31).
const ALL: DayRange = DayRange { from: Day(0), to: Day(2_932_896) };

/// Folds the sessions of the range that follow other rules again, and prints what was done.
///
/// # Errors
/// When the range is none, there is no lake, a pipeline runs by other rules, or the lake cannot be read or
/// written.
pub async fn run(config: &Config, arguments: &RecomputeArguments) -> anyhow::Result<()> {
    let range =
        DayRange { from: arguments.from.unwrap_or(ALL.from), to: arguments.to.unwrap_or(ALL.to) };
    if range.from > range.to {
        let DayRange { from, to } = range;
        let wrong = format!("--from {from} lies behind --to {to}: give the earlier day first");
        return Err(CalledWrongly(wrong).into());
    }
    let lake = Lake::at(&config.lake(), process_environment())?;
    let rules = Arc::new(pipeline_rules(config));
    if arguments.dry_run {
        let counted = outdated(&lake, &rules, range).await?;
        println!("{} sessions follow other rules", counted.sessions);
        print_left(&counted);
        return Ok(());
    }
    let (began, bar) = (Instant::now(), progress_bar());
    let done = recompute(&lake, &rules, range, |turn| show(&bar, &turn)).await?;
    bar.finish_and_clear();
    let took = began.elapsed().as_secs_f64();
    println!("{} sessions followed other rules", done.sessions);
    println!("{} runs folded again by {} in {took:.1} s", done.runs, rules.config_id());
    if done.waiting > 0 {
        let waiting = done.waiting;
        println!("{waiting} runs may still go on, or a load is not whole: run it again later");
    }
    print_left(&done);
    Ok(())
}

fn print_left(counted: &Recomputed) {
    if counted.left > 0 {
        println!("{} more have lost events to retention: they stay what they are", counted.left);
    }
}

/// It shows itself on a terminal only.
fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} days {msg} {eta}") {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, turn: &Turn) {
    bar.set_length(turn.days as u64);
    bar.set_position(turn.done as u64);
    bar.set_message(turn.day.to_string());
}
