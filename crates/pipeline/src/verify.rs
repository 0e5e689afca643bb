//! `verify`: the receipts, sessions, needs and page views recomputed from the tables, each partition
//! as of its newest barrier. A row that was removed, doubled or changed by hand shows.
//!
//! It folds with the step that wrote the rows, so it tells what happened to the tables and not
//! whether the fold is right: that is left to tests/oracle.

mod compare;
mod erased;
mod late_runs;
mod receipts;
mod recompute;
mod rules;
mod tally;
mod versions;
mod visitor_rows;

use std::collections::BTreeMap;

use footfall_event::schema::Table;
use footfall_event::{Offset, Partition};
use footfall_lake::{Lake, LakeSettings};

use crate::erasure::{self, Erasure};
use crate::{PipelineError, snapshot};
use erased::Erased;
use late_runs::LateRuns;
use rules::KnownRules;
use versions::Versions;

/// Differences listed by name; all are counted.
const LISTED_MAX: usize = 20;
const ERASURE_UNDER_WAY: &str =
    "everything: an erasure is under way, or was meanwhile; verify again when it is done";

/// What a verification found.
#[derive(Debug, Default)]
pub struct Verified {
    /// Rows looked at, by table.
    pub rows: BTreeMap<&'static str, u64>,
    /// Differences, the first of them in words.
    pub differences: u64,
    pub listed: Vec<String>,
    /// What was left out, and why.
    pub left_out: Vec<String>,
    /// What is allowed and worth knowing.
    pub notes: Vec<String>,
}

impl Verified {
    fn differ(&mut self, message: impl FnOnce() -> String) {
        self.differences += 1;
        if self.listed.len() < LISTED_MAX {
            self.listed.push(message());
        }
    }

    fn require(&mut self, holds: bool, message: impl FnOnce() -> String) {
        if !holds {
            self.differ(message);
        }
    }

    fn looked_at(&mut self, table: Table, rows: u64) {
        *self.rows.entry(table.name()).or_default() += rows;
    }

    /// Loads are met once in each partition.
    fn leave_out(&mut self, message: String) {
        if !self.left_out.contains(&message) {
            self.left_out.push(message);
        }
    }
}

/// Verifies a lake. It may be written to meanwhile.
///
/// # Errors
/// `Lake`, `Snapshot`, `Rows`, `Conditions`; `Source` when there is no lake.
pub async fn verify(lake: &Lake) -> Result<Verified, PipelineError> {
    let settings = lake.settings().await?;
    let none = || PipelineError::Source(format!("there is no lake at {}", lake.url()));
    let settings = settings.ok_or_else(none)?;
    let before = begun_erasures(lake).await?;
    if !before.waiting.is_empty() {
        return Ok(left_to_erasure());
    }
    let verified = verify_all(lake, &settings, Erased::of(before.done.clone())).await;
    // It may have taken rows, or files that were to be read.
    match begun_erasures(lake).await? == before {
        true => verified,
        false => Ok(left_to_erasure()),
    }
}

fn left_to_erasure() -> Verified {
    let mut verified = Verified::default();
    verified.leave_out(ERASURE_UNDER_WAY.to_owned());
    verified
}

async fn verify_all(
    lake: &Lake,
    settings: &LakeSettings,
    erased: Erased,
) -> Result<Verified, PipelineError> {
    let mut verified = Verified::default();
    let mut rules = KnownRules::read(lake).await?;
    // As a repair asks the first partition.
    if let Some((_, state)) = snapshot::newest(lake, &settings.topic, Partition(0)).await? {
        rules.repaired_by(&state.rules().newest().1.config_id());
    }
    erased.tell(&mut verified);
    for partition in (0..settings.partitions).map(|number| Partition(number as i32)) {
        verify_partition(lake, settings, &rules, &erased, partition, &mut verified).await?;
    }
    Ok(verified)
}

/// The erasures that may have taken rows.
#[derive(PartialEq)]
struct Begun {
    /// Behind whose control record a row may be gone, and no proof says so yet.
    waiting: Vec<Erasure>,
    done: Vec<Erasure>,
}

async fn begun_erasures(lake: &Lake) -> Result<Begun, PipelineError> {
    // First those that wait: one that is done in between is in both, and in none the other way round.
    let mut waiting = erasure::waiting(lake).await?;
    waiting.retain(Erasure::has_begun);
    Ok(Begun { waiting, done: erasure::done(lake).await? })
}

async fn verify_partition(
    lake: &Lake,
    settings: &LakeSettings,
    rules: &KnownRules,
    erased: &Erased,
    partition: Partition,
    verified: &mut Verified,
) -> Result<(), PipelineError> {
    let newest = snapshot::newest(lake, &settings.topic, partition).await?;
    let barrier = newest.map(|(header, _)| header.offset);
    let versions = Versions::at(lake, settings, erased, partition, barrier).await?;
    if versions.is_cut {
        verified.leave_out(format!(
            "partition {partition}: versions up to its barrier went with an erasure; verify again in a minute, with the pipeline running"
        ));
        return Ok(());
    }
    if let Some(table) = versions.missing() {
        let Offset(offset) = barrier.unwrap_or_default();
        verified.differ(|| {
            format!(
                "partition {partition}: no version of `{}` speaks up to the barrier at record {offset}",
                table.name()
            )
        });
        return Ok(());
    }
    for load in versions.torn_loads() {
        verified.leave_out(format!(
            "{load}: not all tables hold it; if it is not under way, run the same load again"
        ));
    }
    if !versions.has_live() {
        verified.leave_out(format!(
            "live rows of partition {partition}: no snapshot was written yet; verify again in a minute, with the pipeline running"
        ));
    }
    let late_runs = LateRuns::find(&versions, rules).await?;
    if late_runs.waiting > 0 {
        let waiting = late_runs.waiting;
        verified.leave_out(format!(
            "{waiting} runs of partition {partition}, whose late events wait for their repair"
        ));
    }
    if late_runs.cut > 0 {
        let cut = late_runs.cut;
        verified.leave_out(format!(
            "{cut} runs of partition {partition}, of whose events retention may have removed some"
        ));
    }
    for (table, day) in versions.removed() {
        verified
            .leave_out(format!("days of `{}` before {day}: retention removed them", table.name()));
    }
    let repaired = late_runs.repaired > 0 || versions.is_recomputed();
    let watermarks =
        receipts::verify(&versions, rules, erased, barrier, repaired, verified).await?;
    if versions.is_torn_by_recompute() {
        verified.leave_out(format!(
            "sessions, needs and page views of partition {partition}: a recompute is under way or broke off; verify again in a minute, or run the same recompute again"
        ));
        return Ok(());
    }
    recompute::verify(&versions, rules, &watermarks, late_runs, verified).await
}
