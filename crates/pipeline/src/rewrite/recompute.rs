//! `recompute`: history folded again after needs, steps or conditions were changed. The runs whose sessions
//! follow other rules are folded as a repair folds them, day by day, and their rows replaced.
//!
//! What is left to do is told by `events` that have no session, and by the `config_id` of `sessions`. The runs
//! that the one tells of come first, then those of the other, and each time the table that tells is replaced last:
//! one that died is finished by the same command. The commits of one replacement mark their tables alike, so that
//! `verify` sees where one stands apart from the others.

mod queue;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use footfall_event::schema::Table;
use footfall_event::{Day, Micros};
use footfall_lake::{Lake, Rewrite, TableWriter, recompute_app_id};
use footfall_sessionizer::Rules;

use super::repair::{
    End, Horizon, Job, Order, REPLACED, SettledFiles, VisitorKey, events_of, find_runs,
};
use super::repair::{leave_out_erased, repair, rules_in_force};
use crate::conditions::Conditions;
use crate::{PipelineError, rules_store};
use queue::{outdated_sessions, told_by_events, told_by_sessions};

/// Compactions and repairs that may come first before a day is given up.
const ATTEMPTS_MAX: usize = 20;

/// The days of sessions' starts that are folded again, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayRange {
    pub from: Day,
    pub to: Day,
}

/// What a recomputation came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recomputed {
    /// Sessions of the range that followed other rules.
    pub sessions: u64,
    /// Runs that were folded again.
    pub runs: usize,
    /// Runs that are not over yet: what follows them may still be of them. One that both tables tell of counts twice.
    pub waiting: usize,
    /// Sessions whose events retention has removed, in part or all: they stay what they are.
    pub left: u64,
}

/// Which of how many days is done next.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    pub day: Day,
    pub done: usize,
    pub days: usize,
}

/// How many sessions of the range follow other rules than `rules`.
///
/// # Errors
/// As [`recompute`].
pub async fn outdated(
    lake: &Lake,
    rules: &Arc<Rules>,
    range: DayRange,
) -> Result<Recomputed, PipelineError> {
    require_rules(lake, rules).await?;
    let mut counted = Recomputed::default();
    let mut tables = Tables::open(lake).await?;
    let first = tables.first_whole_day(rules.session_gap).await?;
    for day in tables.days(range)? {
        let sessions = outdated_sessions(lake, &tables.writers, day, rules).await?;
        if first.is_some_and(|first| day < first) {
            counted.left += sessions;
        } else {
            counted.sessions += sessions;
        }
    }
    Ok(counted)
}

/// Folds the runs of the range's sessions again by `rules`, after late events were repaired. `told` is
/// called before each day.
///
/// # Errors
/// `RecomputeRules` where other rules are in force; `Lake`, `Rows`, `Conditions`, `Snapshot`, `Races`. What
/// was replaced before stays, and the same call goes on from there.
pub async fn recompute(
    lake: &Lake,
    rules: &Arc<Rules>,
    range: DayRange,
    mut told: impl FnMut(Turn),
) -> Result<Recomputed, PipelineError> {
    let mut done = outdated(lake, rules, range).await?;
    let Some(settings) = lake.settings().await? else { return Ok(done) };
    rules_store::keep(lake, rules).await?;
    let mut settled = SettledFiles::default();
    repair(lake, rules, &mut settled).await?;
    let mut tables = Tables::open(lake).await?;
    let first = tables.first_whole_day(rules.session_gap).await?;
    let mut days = tables.days(range)?;
    days.retain(|day| first.is_none_or(|first| *day >= first));
    let gap = rules.session_gap;
    let horizon = Horizon::read(lake, &settings, gap, &mut tables.writers).await?;
    let mut folding = Folding { lake, rules, horizon };
    for (number, day) in days.iter().enumerate() {
        told(Turn { day: *day, done: number, days: days.len() });
        let of_day = folding.day(*day).await?;
        done.runs += of_day.runs;
        done.waiting += of_day.waiting;
    }
    level_marks(lake).await?;
    tracing::info!(?done, config_id = rules.config_id(), "history was folded again");
    Ok(done)
}

/// The rules that are in force live must be those given: what comes next would follow others again.
async fn require_rules(lake: &Lake, given: &Arc<Rules>) -> Result<(), PipelineError> {
    let none = || PipelineError::Source(format!("there is no lake at {}", lake.url()));
    let settings = lake.settings().await?.ok_or_else(none)?;
    let (in_force, given) =
        (rules_in_force(lake, &settings, given).await?.config_id(), given.config_id());
    match in_force == given {
        true => Ok(()),
        false => Err(PipelineError::RecomputeRules { in_force, given }),
    }
}

/// What of a replacement that broke off was left to do is done: no table stands apart any more.
async fn level_marks(lake: &Lake) -> Result<(), PipelineError> {
    for _ in 0..ATTEMPTS_MAX {
        let mut tables = Tables::open(lake).await?;
        let newest = tables.newest_mark().await?;
        let mut is_level = true;
        for (table, writer) in &mut tables.writers {
            let id = recompute_app_id(*table);
            if writer.progress(&id).await?.unwrap_or(0) < newest {
                let rewrite = Rewrite { marks: vec![(id, newest)], ..Rewrite::default() };
                is_level &= writer.rewrite(rewrite).await?;
            }
        }
        if is_level {
            return Ok(());
        }
    }
    Err(PipelineError::Races { table: Table::Sessions.name(), attempts: ATTEMPTS_MAX })
}

/// A recomputation under way.
struct Folding<'l> {
    lake: &'l Lake,
    rules: &'l Arc<Rules>,
    /// As of its beginning: what is over then is over still.
    horizon: Horizon,
}

/// What came of as many visitors of a day as are folded at once.
enum Part {
    Done {
        runs: usize,
        waiting: usize,
        /// Behind whom the next part begins; `None` where this was the last.
        next: Option<VisitorKey>,
    },
    /// A repair or a compaction was first: what is left to do is looked for again.
    Overtaken,
}

impl Folding<'_> {
    async fn day(&mut self, day: Day) -> Result<Recomputed, PipelineError> {
        let mut done = Recomputed::default();
        for told_by in [Table::Events, Table::Sessions] {
            let (mut attempts, mut behind) = (0, None);
            loop {
                match self.part(day, told_by, behind.clone()).await? {
                    Part::Done { runs, waiting, next } => {
                        (done.runs, done.waiting) = (done.runs + runs, done.waiting + waiting);
                        (attempts, behind) = (0, next);
                        if behind.is_none() {
                            break;
                        }
                    }
                    Part::Overtaken => attempts += 1,
                }
                if attempts == ATTEMPTS_MAX {
                    return Err(PipelineError::Races { table: told_by.name(), attempts });
                }
            }
        }
        Ok(done)
    }

    async fn part(
        &mut self,
        day: Day,
        told_by: Table,
        behind: Option<VisitorKey>,
    ) -> Result<Part, PipelineError> {
        let (lake, rules) = (self.lake, self.rules);
        let duplicates = TableWriter::open(lake, Table::Duplicates).await?;
        let mut tables = Tables::open(lake).await?;
        if let Some((_, events)) = tables.writers.last_mut() {
            self.horizon.follow_retention(events).await?;
        }
        let conditions = Conditions::compile(rules).map_err(PipelineError::Conditions)?;
        let mut queue = match told_by {
            Table::Events => {
                told_by_events(lake, &tables.writers, day, &conditions, behind).await?
            }
            _ => told_by_sessions(lake, &tables.writers, day, rules, behind).await?,
        };
        let next = queue.next();
        leave_out_erased(lake, &mut queue).await?;
        let files = events_of(&tables.writers)?;
        let runs = find_runs(lake, &files, &queue, &self.horizon, End::AsItStands).await?;
        let (waiting, count) = (runs.waiting, runs.count);
        if count == 0 {
            return Ok(Part::Done { runs: 0, waiting, next });
        }
        // Above the marks of all tables: one may have died between two of them.
        let recompute = Some(tables.newest_mark().await? + 1);
        let order = Order { last: told_by, recompute };
        let mut job = Job { lake, rules: rules.clone(), duplicates, tables: tables.writers };
        Ok(match job.replace(runs, conditions, &order).await? {
            Some(_) => Part::Done { runs: count, waiting, next },
            None => Part::Overtaken,
        })
    }
}

/// The tables whose rows are replaced.
struct Tables {
    /// Those of [`REPLACED`].
    writers: Vec<(Table, TableWriter)>,
}

impl Tables {
    async fn open(lake: &Lake) -> Result<Tables, PipelineError> {
        let mut writers = Vec::new();
        for table in REPLACED {
            writers.push((table, TableWriter::open(lake, table).await?));
        }
        Ok(Tables { writers })
    }

    /// The days of the range that hold events or sessions, ascending.
    fn days(&self, DayRange { from, to }: DayRange) -> Result<Vec<Day>, PipelineError> {
        let mut days = Vec::new();
        for (table, writer) in &self.writers {
            if matches!(table, Table::Sessions | Table::Events) {
                days.extend(writer.files()?.iter().map(|file| file.day));
            }
        }
        days.retain(|day| (from..=to).contains(day));
        days.sort_unstable();
        days.dedup();
        Ok(days)
    }

    /// The first day all of whose runs have their events; `None` where none was removed.
    async fn first_whole_day(&mut self, session_gap: Micros) -> Result<Option<Day>, PipelineError> {
        let Some((_, events)) = self.writers.last_mut() else { return Ok(None) };
        let kept_from = events.removed_before().await?;
        Ok(kept_from.map(|day| (day.start() + session_gap).day()))
    }

    /// The greatest number that a table is marked with.
    async fn newest_mark(&mut self) -> Result<i64, PipelineError> {
        let mut newest = 0;
        for (table, writer) in &mut self.writers {
            newest = writer.progress(&recompute_app_id(*table)).await?.unwrap_or(0).max(newest);
        }
        Ok(newest)
    }
}
