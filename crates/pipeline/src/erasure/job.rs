//! An erasure step by step. Each step is kept in the request's file when it is done; one that died is done
//! again and finds less to do.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use footfall_event::{Micros, Offset, Partition, parse_time};
use footfall_lake::Lake;
use footfall_log::{EventLog, Kind, Record, Redacted};

use super::tables::{Attempt, erase_rows};
use super::{Erasure, Mark, Person, old_files, record, redaction};
use crate::{PipelineError, snapshot};

/// Records of a partition that are searched for a control record whose offset was not kept: it was appended
/// right behind where the search begins.
const MARK_SEARCH_MAX: i64 = 10_000;

/// What a look at the erasures came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Advanced {
    pub done: usize,
    pub waiting: usize,
    pub failed: usize,
}

/// Takes each erasure that waits as far as it can go by now. One that fails is told in the log and keeps
/// none of the others up. `grace` is how long files and versions stay for those who read them.
///
/// # Errors
/// `Lake` when they cannot be listed.
pub async fn advance(
    lake: &Lake,
    log: &dyn EventLog,
    grace: Duration,
) -> Result<Advanced, PipelineError> {
    let mut advanced = Advanced::default();
    let mut before = HashSet::new();
    for request in record::waiting(lake).await? {
        let whom = (request.site, request.visitor.unwrap_or_default());
        // Held events are let go at one control record: whoever is erased again is when that is done.
        if before.contains(&whom) {
            advanced.waiting += 1;
            continue;
        }
        // As it stands by now: those before it may have taken long, and another process may have it.
        let ended = match record::find(lake, &request.id).await? {
            // It died between the proof and the request.
            Some(done) if done.is_done() => record::forget(lake, &done.id).await.map(|()| true),
            Some(mut erasure) => (Job { lake, log, grace }).take_on(&mut erasure).await,
            None => continue,
        };
        if !matches!(ended, Ok(true)) {
            before.insert(whom);
        }
        match ended {
            Ok(true) => advanced.done += 1,
            Ok(false) => advanced.waiting += 1,
            Err(error) => {
                advanced.waiting += 1;
                advanced.failed += 1;
                tracing::error!(id = request.id, %error, "an erasure failed, and is tried again");
            }
        }
    }
    Ok(advanced)
}

struct Job<'j> {
    lake: &'j Lake,
    log: &'j dyn EventLog,
    grace: Duration,
}

impl Job<'_> {
    /// Whether it is done.
    async fn take_on(&self, erasure: &mut Erasure) -> Result<bool, PipelineError> {
        let visitor_id = erasure.visitor.clone().unwrap_or_default();
        let person = Person::new(&erasure.site, &visitor_id);
        if erasure.control_offsets.is_empty() {
            self.mark_the_log(erasure).await?;
        }
        if erasure.rewritten_at.is_none() {
            match erase_rows(self.lake, erasure, &person).await? {
                Attempt::Done => erasure.rewritten_at = Some(Micros::clock().to_string()),
                Attempt::Waits(why) => {
                    tracing::debug!(id = erasure.id, why, "an erasure waits");
                    return Ok(false);
                }
            }
            record::keep(self.lake, erasure).await?;
        }
        if erasure.log_erased_at.is_none() {
            self.erase_snapshots_and_log(erasure, &visitor_id).await?;
        }
        if !self.is_grace_over(erasure).await? {
            return Ok(false);
        }
        old_files::purge(self.lake, erasure, &person, self.grace).await?;
        let done_at = Some(Micros::clock().to_string());
        let proof =
            Erasure { visitor: None, sessions: Vec::new(), done_at, ..std::mem::take(erasure) };
        record::finish(self.lake, &proof).await?;
        tracing::info!(id = proof.id, "a visitor was erased");
        Ok(true)
    }

    /// Bounds what is the person's. One that dies before it is kept finds the records that it appended: the
    /// fold let the person go at the first.
    async fn mark_the_log(&self, erasure: &mut Erasure) -> Result<(), PipelineError> {
        let mut offsets = self.standing_marks(erasure).await?;
        let partitions = (0..self.log.partitions() as i32).map(Partition);
        let missing: Vec<Partition> =
            partitions.filter(|partition| !offsets.contains_key(&partition.0)).collect();
        if !missing.is_empty() {
            for partition in &missing {
                let end = self.log.bounds(*partition).await?.end;
                erasure.marked_from.insert(partition.0, end.0);
            }
            record::keep(self.lake, erasure).await?;
            let mark = erasure.mark();
            let records = missing.iter().map(|partition| mark.record(*partition)).collect();
            let appended = self.log.append(records).await?;
            offsets.extend(appended.iter().map(|record| (record.partition.0, record.offset.0)));
        }
        erasure.control_offsets = offsets;
        record::keep(self.lake, erasure).await
    }

    /// The first control record of the erasure in each partition that has one.
    async fn standing_marks(&self, erasure: &Erasure) -> Result<BTreeMap<i32, i64>, PipelineError> {
        let mark = erasure.mark();
        let mut standing = BTreeMap::new();
        for (number, from) in &erasure.marked_from {
            let partition = Partition(*number);
            let bounds = self.log.bounds(partition).await?;
            let from = bounds.start.0.max(*from);
            for offset in from..bounds.end.0.min(from + MARK_SEARCH_MAX) {
                let record = self.log.read_one(partition, Offset(offset)).await?;
                let is_control = |record: &Record| record.kind == Kind::Control;
                if record.filter(is_control).and_then(|record| Mark::read(&record)).as_ref()
                    == Some(&mark)
                {
                    standing.insert(*number, offset);
                    break;
                }
            }
        }
        Ok(standing)
    }

    /// A start needs the newest snapshot alone, which lies behind the control record, and of the log what
    /// that one names: nothing of the person.
    async fn erase_snapshots_and_log(
        &self,
        erasure: &mut Erasure,
        visitor_id: &str,
    ) -> Result<(), PipelineError> {
        let home = erasure.home(visitor_id);
        let control = erasure.offsets().get(&home).copied().unwrap_or_default();
        let deleted = snapshot::delete_up_to(self.lake, &erasure.log, home, control).await?;
        erasure.snapshots_deleted += deleted;
        // All signals of the person are published by now: a snapshot waits for them. A clock that was set back may not
        // have come to their times.
        let now = Micros::clock();
        let meant = redaction(erasure, visitor_id);
        if erasure.log_records.is_none() {
            // Counted before they go, as one that dies in between finds none.
            match self.log.count_meant(meant.clone(), Micros(i64::MAX)).await? {
                Redacted::Records(records) => erasure.log_records = Some(records),
                Redacted::LeftToRetention => erasure.is_log_left_to_retention = true,
            }
            record::keep(self.lake, erasure).await?;
        }
        self.log.redact(meant).await?;
        erasure.log_erased_at = Some(now.to_string());
        record::keep(self.lake, erasure).await
    }

    /// It counts from the last step on: nothing of the person is written behind it, so that what a crash left of a
    /// write is as old as the grace by then.
    async fn is_grace_over(&self, erasure: &mut Erasure) -> Result<bool, PipelineError> {
        let now = Micros::clock();
        let erased_at = erasure.log_erased_at.as_deref().and_then(|text| parse_time(text).ok());
        let Some(erased_at) = erased_at.filter(|at| *at <= now) else {
            // A clock that was ahead told it, and is put right: by the time that it told all would wait for long.
            erasure.log_erased_at = Some(now.to_string());
            record::keep(self.lake, erasure).await?;
            return Ok(false);
        };
        Ok(now - erased_at >= Micros(self.grace.as_micros() as i64))
    }
}
