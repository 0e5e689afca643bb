//! The trials of a funnel, by making every chain.

use super::log::{Condition, Event, Text};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Ordered,
    Strict,
    Any,
}

pub const MODES: [(&str, Mode); 3] =
    [("ordered", Mode::Ordered), ("strict", Mode::Strict), ("any", Mode::Any)];

pub struct Step {
    pub condition: Condition,
    pub min_us: i64,
    pub max_us: i64,
    pub is_optional: bool,
}

/// Between two steps, counted from 0.
pub struct Exclusion {
    pub condition: Condition,
    pub after: usize,
    pub before: usize,
}

pub struct Funnel {
    pub mode: Mode,
    pub window_us: i64,
    pub steps: Vec<Step>,
    pub exclusions: Vec<Exclusion>,
    pub same: Option<Text>,
}

impl Funnel {
    pub fn is_entry(&self, event: &Event) -> bool {
        (self.steps[0].condition.1)(event) && self.same.is_none_or(|(_, of)| of(event).is_some())
    }

    /// When the trial that begins with event number `entry` of `log` reached each step; with mode `any`,
    /// when it had fulfilled so many.
    pub fn times_us(&self, log: &[&Event], entry: usize) -> Vec<Option<i64>> {
        match self.mode {
            Mode::Any => self.in_any_order(log, entry),
            Mode::Ordered | Mode::Strict => {
                let mut times_us = vec![None; self.steps.len()];
                for (place, step) in self.best_chain(log, entry) {
                    times_us[step] = Some(log[place].time_us);
                }
                times_us
            }
        }
    }

    /// Places and steps of the chain that comes furthest, has most steps, and is the earliest.
    fn best_chain(&self, log: &[&Event], entry: usize) -> Vec<(usize, usize)> {
        let mut chains = vec![vec![(entry, 0)]];
        let mut longest = 0;
        while longest < chains.len() {
            let chain = chains[longest].clone();
            let (last, reached) = chain[chain.len() - 1];
            for place in last + 1..log.len() {
                for step in reached + 1..self.steps.len() {
                    if self.goes_on(log, &chain, (place, step)) {
                        let mut longer = chain.clone();
                        longer.push((place, step));
                        chains.push(longer);
                    }
                }
            }
            longest += 1;
        }
        let rank = |chain: &Vec<(usize, usize)>| {
            (usize::MAX - chain[chain.len() - 1].1, usize::MAX - chain.len(), chain.clone())
        };
        chains.into_iter().min_by_key(rank).unwrap()
    }

    fn goes_on(
        &self,
        log: &[&Event],
        chain: &[(usize, usize)],
        (place, number): (usize, usize),
    ) -> bool {
        let ((entry, _), (last, reached)) = (chain[0], chain[chain.len() - 1]);
        let (event, step) = (log[place], &self.steps[number]);
        let is_excluded = |exclusion: &Exclusion| {
            exclusion.after <= reached
                && number <= exclusion.before
                && log[last + 1..place].iter().any(|between| (exclusion.condition.1)(between))
        };
        let since_us = event.time_us - log[last].time_us;
        (step.condition.1)(event)
            && self.steps[reached + 1..number].iter().all(|passed| passed.is_optional)
            && event.time_us - log[entry].time_us <= self.window_us
            && (step.min_us..=step.max_us).contains(&since_us)
            && self.same.is_none_or(|(_, of)| of(event) == of(log[entry]))
            && (self.mode == Mode::Ordered || place == last + 1)
            && !self.exclusions.iter().any(is_excluded)
    }

    /// Each way to let events stand for steps is a set of fulfilled steps; all sets are kept.
    fn in_any_order(&self, log: &[&Event], entry: usize) -> Vec<Option<i64>> {
        let mut times_us = vec![None; self.steps.len()];
        times_us[0] = Some(log[entry].time_us);
        let mut sets = std::collections::BTreeSet::from([1_u32]);
        for event in &log[entry + 1..] {
            if event.time_us - log[entry].time_us > self.window_us
                || self.same.is_some_and(|(_, of)| of(event) != of(log[entry]))
            {
                continue;
            }
            for set in sets.clone() {
                for (number, step) in self.steps.iter().enumerate() {
                    if set >> number & 1 == 0 && (step.condition.1)(event) {
                        sets.insert(set | 1 << number);
                    }
                }
            }
            let most = sets.iter().map(|set| set.count_ones()).max().unwrap() as usize;
            times_us[most - 1].get_or_insert(event.time_us);
        }
        times_us
    }
}
