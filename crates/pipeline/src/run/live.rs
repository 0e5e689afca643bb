//! Looks at the open sessions for who asks, partition by partition between two deliveries, so that the
//! fold is held up for a short time only.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use footfall_event::Partition;
use footfall_event::schema::LiveTable;
use footfall_sessionizer::{LiveSession, Visitor};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::owned::Owned;
use crate::live::{Ask, LiveRefused, LiveWanted, Look, ROWS_MAX};
use crate::metrics::Metrics;
use crate::partition::PartitionFold;

/// After so long the loop goes on, and looks into the next partition in its next turn.
const TURN_MAX: Duration = Duration::from_millis(20);

/// The loop's end of [`crate::live::Live`].
pub struct Looking {
    asked: mpsc::Receiver<Ask>,
    current: Option<Answer>,
}

/// A question, and the part of its answer that is there.
struct Answer {
    ask: Ask,
    looks: Vec<Look>,
    sessions: usize,
    needs: usize,
}

impl Looking {
    pub fn new(asked: mpsc::Receiver<Ask>) -> Looking {
        Looking { asked, current: None }
    }

    /// Whether partitions are left to look into: the loop should not wait for records.
    pub fn is_under_way(&self) -> bool {
        self.current.is_some()
    }

    /// Goes on with the question under way, or takes up the next.
    pub fn look(&mut self, partitions: &BTreeMap<Partition, Owned>, metrics: &Metrics) {
        let began = Instant::now();
        while began.elapsed() < TURN_MAX {
            let next = || self.asked.try_recv().ok().map(Answer::to);
            let Some(mut answer) = self.current.take().or_else(next) else { return };
            // Whoever asked may have left.
            if answer.ask.answer.is_closed() {
                continue;
            }
            let looked = Instant::now();
            let done = answer.look_into_next(partitions);
            metrics.looked(looked.elapsed());
            match done {
                Ok(false) => self.current = Some(answer),
                Ok(true) => drop(answer.ask.answer.send(Ok(answer.looks))),
                Err(refused) => drop(answer.ask.answer.send(Err(refused))),
            }
        }
    }
}

impl Answer {
    fn to(ask: Ask) -> Answer {
        Answer { ask, looks: Vec::new(), sessions: 0, needs: 0 }
    }

    /// Whether no partition is left.
    fn look_into_next(
        &mut self,
        partitions: &BTreeMap<Partition, Owned>,
    ) -> Result<bool, LiveRefused> {
        let behind = self.looks.last().map_or(Unbounded, |look| Excluded(look.partition));
        let Some((partition, owned)) = partitions.range((behind, Unbounded)).next() else {
            return Ok(true);
        };
        let fold = owned.fold().filter(|fold| fold.is_whole());
        let fold = fold.ok_or(LiveRefused::Starting(*partition))?;
        let sessions = self.sessions_of(fold)?;
        let (book, as_of) = (fold.fold().rules().clone(), fold.last_append_time());
        self.looks.push(Look { partition: *partition, sessions, book, as_of });
        Ok(false)
    }

    fn sessions_of(&mut self, partition: &PartitionFold) -> Result<Vec<LiveSession>, LiveRefused> {
        let LiveWanted { table, site, visitor_id } = self.ask.wanted.clone();
        let fold = partition.fold();
        let mut found = Vec::new();
        let mut take = |live: LiveSession| {
            self.sessions += 1;
            self.needs += live.needs.len();
            if self.sessions.max(self.needs) > ROWS_MAX {
                return Err(LiveRefused::TooMany);
            }
            if table == LiveTable::Sessions || !live.needs.is_empty() {
                found.push(live);
            }
            Ok(())
        };
        match (&site, &visitor_id) {
            (Some(site), Some(visitor_id)) => {
                fold.live_visitor(site, visitor_id).into_iter().try_for_each(take)?;
            }
            _ => {
                let is_meant = |visitor: &Visitor| {
                    site.as_ref().is_none_or(|site| **site == *visitor.site)
                        && visitor_id.as_ref().is_none_or(|id| **id == *visitor.visitor_id)
                };
                fold.live(is_meant).try_for_each(&mut take)?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
