//! Funnels: how far a visitor came through a sequence of steps (docs/semantics.md, Funnels). The
//! search for the chain of events that counts is left to `funnel/chain.rs`, the shortest question, how
//! far at all, to `funnel/level.rs`.

mod any;
mod chain;
mod level;

use serde::{Deserialize, Serialize};

use crate::Hit;

pub use level::level;

/// Steps of a funnel, at most; condition number `i` is step `i`.
pub const STEPS_MAX: usize = 32;
/// Exclusions of a funnel, at most; number `i` is condition [`EXCLUSION_BIT`] `+ i`.
pub const EXCLUSIONS_MAX: usize = 16;
pub const EXCLUSION_BIT: usize = STEPS_MAX;
/// Comparisons that the trials of one visitor may take: some seconds of one core.
const WORK_MAX: usize = 1_000_000_000;

/// What may lie between the events of two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Order {
    /// Any other events.
    Ordered,
    /// Nothing: the next event of the visitor fulfils the next step.
    Strict,
    /// After the first step the others come in any order.
    Any,
}

/// Which of the events that fulfil the first step begin a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Entry {
    First,
    Every,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Funnel {
    pub order: Order,
    pub entry: Entry,
    /// From the first step to the last, inclusive.
    pub window_us: i64,
    /// At least one. The first is not optional, and has no bounds.
    pub steps: Vec<Step>,
    pub exclusions: Vec<Exclusion>,
    /// Trials begin in `[from_us, to_us)`.
    pub from_us: i64,
    pub to_us: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Step {
    /// Least and greatest time since the step before it in the chain, inclusive.
    pub min_us: i64,
    pub max_us: Option<i64>,
    /// A chain may pass it over.
    pub optional: bool,
}

/// An event that fulfils it and lies between the events of two successive steps of the chain, neither
/// before step `after` nor behind step `before`, keeps them apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Exclusion {
    /// Steps, counted from 0.
    pub after: usize,
    pub before: usize,
}

/// A hit with what a funnel may ask of it besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    pub hit: Hit,
    /// What all events of a chain have in common; 0 for all where nothing is asked.
    /// [`Event::NOTHING`] has nothing in common with any.
    pub same: u32,
    /// By what the trial that it begins is broken down.
    pub label: u32,
}

impl Event {
    pub const NOTHING: u32 = u32::MAX;
}

/// How one entry went on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The label of the event that began it.
    pub label: u32,
    /// When each step was reached, in order; `None` for a step passed over or not reached. With
    /// [`Order::Any`], when so many steps were fulfilled.
    pub times_us: Vec<Option<i64>>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "one visitor has {events} events in the funnel and {entries} entries: too many to compare. A shorter window, entry 'first' or a filter leaves fewer"
)]
pub struct TooMany {
    pub events: usize,
    pub entries: usize,
}

impl Funnel {
    /// The trials of one visitor, in the order of their entries. `events` are in order, with
    /// [`Order::Strict`] all of the visitor's.
    ///
    /// # Errors
    /// [`TooMany`] for a visitor whose trials could not be compared in a reasonable time.
    pub fn trials(&self, events: &[Event]) -> Result<Vec<Trial>, TooMany> {
        let begins = |event: &Event| {
            event.hit.fulfils(0)
                && event.same != Event::NOTHING
                && (self.from_us..self.to_us).contains(&event.hit.time_us)
        };
        let entries = (0..events.len()).filter(|place| begins(&events[*place]));
        let entries: Vec<usize> = match self.entry {
            Entry::First => entries.take(1).collect(),
            Entry::Every => entries.collect(),
        };
        let mut work = 0_usize;
        let mut trials = Vec::with_capacity(entries.len());
        for &entry in &entries {
            let within = self.within(&events[entry..]);
            work = work.saturating_add(within.len().saturating_mul(self.steps.len()));
            if work > WORK_MAX {
                return Err(TooMany { events: events.len(), entries: entries.len() });
            }
            trials.push(self.trial(within));
        }
        Ok(trials)
    }

    /// The events that a trial which begins with the first of `events` may reach.
    fn within<'a>(&self, events: &'a [Event]) -> &'a [Event] {
        let until_us = events[0].hit.time_us.saturating_add(self.window_us);
        &events[..events.partition_point(|event| event.hit.time_us <= until_us)]
    }

    fn trial(&self, events: &[Event]) -> Trial {
        let first = events[0];
        let steps_of = |event: &Event| Hit {
            // What differs from the entry is still an event, but no step.
            bits: match event.same == first.same {
                true => event.hit.bits,
                false => event.hit.bits & !((1 << STEPS_MAX) - 1),
            },
            ..event.hit
        };
        let hits: Vec<Hit> = events.iter().map(steps_of).collect();
        let times_us = match self.order {
            Order::Any => any::times(&hits, self.steps.len()),
            Order::Ordered if self.is_plain() => chain::earliest(&hits, self.steps.len()),
            Order::Ordered | Order::Strict => chain::best(self, &hits),
        };
        Trial { label: first.label, times_us }
    }

    /// Whether the earliest event for each step is always the best one.
    pub fn is_plain(&self) -> bool {
        let is_plain = |step: &Step| *step == Step::default();
        self.exclusions.is_empty() && self.steps.iter().all(is_plain)
    }
}
