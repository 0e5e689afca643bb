//! `funnel`, `funnel_visitors`, `window_funnel` and `window_funnel_times`.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use super::calendar::time_text;
use super::chains::{Exclusion, Funnel, MODES, Mode, Step};
use super::log::{
    self, Condition, Event, HORIZON_US, Scope, Text, compare, condition, in_order, text,
};

const SEED: u64 = 31;
const CALLS: usize = 60;
/// Calls of which each cell is asked for.
const CALLS_BY_CELL: usize = 12;
/// In the units of the logs, so that they end at an event.
const WINDOWS_US: [i64; 6] = [1, 4, 7, 500_000, 1_500_000, 86_400_000_000];

struct Call {
    funnel: Funnel,
    scope: Scope,
    is_every: bool,
    breakdown: Option<Text>,
    arguments: String,
}

/// An entry's label, and when it reached the steps.
struct Trial<'a> {
    whose: &'a log::Whose,
    breakdown: Option<&'static str>,
    times_us: Vec<Option<i64>>,
}

impl Trial<'_> {
    /// Of the furthest step, from 0.
    fn furthest(&self) -> usize {
        self.times_us.iter().rposition(Option::is_some).unwrap()
    }

    fn outcome(&self, funnel: &Funnel) -> &'static str {
        match self.times_us[0].unwrap() + funnel.window_us < HORIZON_US {
            _ if self.furthest() + 1 == funnel.steps.len() => "converted",
            true => "lost",
            false => "still_open",
        }
    }

    /// What its step counts it for; `None` where it did not reach the step.
    fn outcome_at(&self, step: usize, funnel: &Funnel) -> Option<&'static str> {
        self.times_us[step]?;
        Some(if step < self.furthest() { "converted" } else { self.outcome(funnel) })
    }
}

impl Call {
    fn random(rng: &mut SmallRng) -> Call {
        let (mode_name, mode) = *MODES.choose(rng).unwrap();
        let count = rng.random_range(1..5);
        let mut arguments = Vec::new();
        let mut steps: Vec<Step> = Vec::new();
        for number in 0..count {
            // Now and then the step before it once more.
            let condition = match steps.last() {
                Some(last) if rng.random_ratio(1, 4) => last.condition,
                _ => condition(rng),
            };
            let is_plain = number == 0 || mode == Mode::Any || rng.random_ratio(1, 2);
            let step = step(rng, condition, is_plain);
            arguments.push(match is_plain {
                true => condition.0.to_owned(),
                false => format!(
                    "step({}, min => '{}us', max => INTERVAL '{} microseconds', optional => {})",
                    condition.0, step.min_us, step.max_us, step.is_optional
                ),
            });
            steps.push(step);
        }
        let mut exclusions = Vec::new();
        if count > 1 && mode != Mode::Any && rng.random_ratio(1, 2) {
            let after = rng.random_range(0..count - 1);
            let before = rng.random_range(after + 1..count);
            let condition = condition(rng);
            let (from, to) = (after + 1, before + 1);
            arguments.push(format!("exclude({}, after => {from}, before => {to})", condition.0));
            exclusions.push(Exclusion { condition, after, before });
        }
        let window_us = *WINDOWS_US.choose(rng).unwrap();
        let (is_every, scope) = (rng.random_ratio(1, 2), Scope::random(rng));
        let same = rng.random_ratio(1, 3).then(|| text(rng));
        let breakdown = rng.random_ratio(2, 3).then(|| text(rng));
        let mut arguments = arguments.join(", ");
        arguments.push_str(&format!(
            ", within => '{window_us}us', mode => '{mode_name}', entry => '{}', scope => '{}'",
            if is_every { "every" } else { "first" },
            if scope.is_session { "session" } else { "visitor" },
        ));
        arguments.push_str(&scope.arguments());
        for (name, text) in [("same", same), ("breakdown", breakdown)] {
            if let Some((sql, _)) = text {
                arguments.push_str(&format!(", {name} => {sql}"));
            }
        }
        let funnel = Funnel { mode, window_us, steps, exclusions, same };
        Call { funnel, scope, is_every, breakdown, arguments }
    }

    fn trials<'a>(&self, logs: &'a BTreeMap<log::Whose, Vec<&Event>>) -> Vec<Trial<'a>> {
        let steps = self.funnel.steps.iter().map(|step| step.condition);
        let excluded = self.funnel.exclusions.iter().map(|exclusion| exclusion.condition);
        let conditions: Vec<Condition> = steps.chain(excluded).collect();
        let texts: Vec<Text> = self.funnel.same.into_iter().chain(self.breakdown).collect();
        let mut trials = Vec::new();
        for (whose, log) in logs {
            let log = in_order(log, &conditions, &texts);
            let is_entry = |place: &usize| {
                self.funnel.is_entry(log[*place]) && self.scope.is_in_range(log[*place])
            };
            let entries = (0..log.len()).filter(is_entry);
            trials.extend(entries.take(if self.is_every { usize::MAX } else { 1 }).map(|entry| {
                let breakdown = self.breakdown.and_then(|(_, of)| of(log[entry]));
                Trial { whose, breakdown, times_us: self.funnel.times_us(&log, entry) }
            }));
        }
        trials
    }

    fn visitor_row(&self, trial: &Trial<'_>) -> Value {
        let (site, visitor, session) = trial.whose;
        let mut row = vec![json!(site), json!(visitor)];
        if self.scope.is_session {
            row.push(json!(session));
        }
        let time = |time_us: &Option<i64>| json!(time_us.map(time_text));
        let furthest = trial.furthest();
        row.extend([
            json!(trial.breakdown),
            time(&trial.times_us[0]),
            json!(furthest + 1),
            time(&trial.times_us[furthest]),
            json!(trial.outcome(&self.funnel)),
            trial.times_us.iter().map(time).collect(),
        ]);
        Value::from(row)
    }

    /// A row of the report for each step of each breakdown.
    fn report(&self, trials: &[Trial<'_>]) -> Vec<Value> {
        let mut parts: BTreeMap<Option<&str>, Vec<&Trial<'_>>> = BTreeMap::new();
        for trial in trials {
            parts.entry(trial.breakdown).or_default().push(trial);
        }
        if parts.is_empty() {
            parts.insert(None, Vec::new());
        }
        let rows = parts.into_iter().flat_map(|(breakdown, trials)| {
            (0..self.funnel.steps.len()).map(move |step| self.report_row(breakdown, step, &trials))
        });
        rows.collect()
    }

    fn report_row(&self, breakdown: Option<&str>, step: usize, trials: &[&Trial<'_>]) -> Value {
        let entered = |step: usize| trials.iter().filter(|it| it.times_us[step].is_some()).count();
        let count = |outcome: &str| {
            trials.iter().filter(|it| it.outcome_at(step, &self.funnel) == Some(outcome)).count()
        };
        let share = |of: usize| (of > 0).then(|| entered(step) as f64 / of as f64);
        // With any order there are no steps to be optional.
        let required = (0..step).rfind(|it| !self.funnel.steps[*it].is_optional);
        let (mut since_previous, mut since_entry) = (Vec::new(), Vec::new());
        for trial in trials.iter().filter(|_| step > 0) {
            let Some(time_us) = trial.times_us[step] else { continue };
            let previous_us = trial.times_us[..step].iter().rev().find_map(|it| *it);
            since_previous.push(time_us - previous_us.unwrap());
            since_entry.push(time_us - trial.times_us[0].unwrap());
        }
        json!([
            step + 1,
            breakdown,
            entered(step),
            count("converted"),
            count("still_open"),
            count("lost"),
            required.and_then(|required| share(entered(required))),
            share(entered(0)),
            nearest_rank_ms(&since_previous, 5),
            nearest_rank_ms(&since_previous, 9),
            nearest_rank_ms(&since_entry, 5),
            nearest_rank_ms(&since_entry, 9),
        ])
    }
}

fn step(rng: &mut SmallRng, condition: Condition, is_plain: bool) -> Step {
    if is_plain {
        return Step { condition, min_us: 0, max_us: i64::MAX, is_optional: false };
    }
    let min_us = [1, 2, 500_000][rng.random_range(0..3)];
    let max_us = min_us + [0, 3, 1_000_000][rng.random_range(0..3)];
    Step { condition, min_us, max_us, is_optional: rng.random_ratio(1, 3) }
}

/// The least time that at least so many tenths do not exceed.
fn nearest_rank_ms(times_us: &[i64], tenths: usize) -> Option<i64> {
    let reaches = |least: &&i64| {
        times_us.iter().filter(|time_us| time_us <= least).count() * 10 >= times_us.len() * tenths
    };
    times_us.iter().filter(reaches).min().map(|time_us| time_us / 1_000)
}

#[tokio::test]
async fn every_trial_and_every_number_of_a_funnel_is_that_of_its_definition() {
    let events = log::logs();
    let service = log::lake(&events, Vec::new()).await;
    let mut rng = log::rng(SEED);
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for number in 0..CALLS {
        let call = Call::random(&mut rng);
        let logs = call.scope.logs(&events);
        let trials = call.trials(&logs);
        let sql = format!("SELECT * FROM funnel_visitors({})", call.arguments);
        let wanted = trials.iter().map(|trial| call.visitor_row(trial)).collect();
        compare(service.rows(&sql).await, wanted, &sql);
        let sql = format!(
            "SELECT step, breakdown, entered, converted, still_open, lost, share_of_previous, \
             share_of_first, median_ms, p90_ms, median_total_ms, p90_total_ms FROM funnel({})",
            call.arguments
        );
        compare(service.rows(&sql).await, call.report(&trials), &sql);
        for trial in &trials {
            *outcomes.entry(trial.outcome(&call.funnel)).or_default() += 1;
        }
        if number < CALLS_BY_CELL {
            each_cell_has_its_visitors(&service, &call, &trials).await;
        }
    }
    assert!(outcomes.len() == 3 && outcomes.values().all(|count| *count > 1_000), "{outcomes:?}");
}

async fn each_cell_has_its_visitors(
    service: &crate::service::Service,
    call: &Call,
    trials: &[Trial<'_>],
) {
    for step in 0..call.funnel.steps.len() {
        for outcome in ["entered", "converted", "lost", "still_open"] {
            let sql = format!(
                "SELECT * FROM funnel_visitors({}, step => {}, outcome => '{outcome}')",
                call.arguments,
                step + 1
            );
            let in_cell = trials.iter().filter(|trial| {
                let counted = trial.outcome_at(step, &call.funnel);
                counted == Some(outcome) || (outcome == "entered" && counted.is_some())
            });
            let wanted = in_cell.map(|trial| call.visitor_row(trial)).collect();
            compare(service.rows(&sql).await, wanted, &sql);
        }
    }
}

#[tokio::test]
async fn the_level_of_a_group_is_that_of_its_best_entry() {
    let events = log::logs();
    let service = log::lake(&events, Vec::new()).await;
    let mut rng = log::rng(SEED + 1);
    let mut logs: BTreeMap<(&str, Option<&str>), Vec<&Event>> = BTreeMap::new();
    for event in &events {
        logs.entry((event.site, event.visitor.as_deref())).or_default().push(event);
    }
    for _ in 0..CALLS / 2 {
        let (mode_name, mode) = *MODES.choose(&mut rng).unwrap();
        let window_us = *WINDOWS_US.choose(&mut rng).unwrap();
        let conditions: Vec<Condition> =
            (0..rng.random_range(1..5)).map(|_| condition(&mut rng)).collect();
        let steps = conditions.iter().map(|it| step(&mut rng, *it, true)).collect();
        let funnel = Funnel { mode, window_us, steps, exclusions: Vec::new(), same: None };
        let wanted = logs.iter().map(|((site, visitor), log)| {
            let log = in_order(log, &conditions, &[]);
            let entries = (0..log.len()).filter(|place| funnel.is_entry(log[*place]));
            let mut best = Vec::new();
            for entry in entries {
                let times_us = funnel.times_us(&log, entry);
                let times_us: Vec<i64> = times_us.into_iter().flatten().collect();
                if times_us.len() > best.len() {
                    best = times_us;
                }
            }
            let times: Vec<String> = best.iter().map(|time_us| time_text(*time_us)).collect();
            json!([site, visitor, best.len(), times])
        });
        let named: Vec<&str> = conditions.iter().map(|(sql, _)| *sql).collect();
        let arguments =
            format!("'{window_us}us', '{mode_name}', event_time, seq, {}", named.join(", "));
        let sql = format!(
            "SELECT site, visitor_id, window_funnel({arguments}) AS level, \
             window_funnel_times({arguments}) AS times FROM events GROUP BY site, visitor_id"
        );
        compare(service.rows(&sql).await, wanted.collect(), &sql);
    }
}
