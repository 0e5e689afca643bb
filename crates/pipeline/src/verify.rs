//! `verify`: the receipts, sessions, needs and page views recomputed from the tables, each partition
//! as of its newest barrier. A row that was removed, doubled or changed by hand shows.

mod compare;
mod receipts;
mod recompute;
mod versions;

use std::collections::BTreeMap;

use footfall_event::schema::Table;
use footfall_event::{Offset, Partition};
use footfall_lake::{Lake, LakeSettings};

use crate::{PipelineError, snapshot};
use compare::Comparison;
use versions::Versions;

/// Differences listed by name; all are counted.
const LISTED_MAX: usize = 20;

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
}

/// Verifies a lake. It may be written to meanwhile.
///
/// # Errors
/// `Lake`, `Snapshot`, `Rows`, `Conditions`; `Source` when there is no lake.
pub async fn verify(lake: &Lake) -> Result<Verified, PipelineError> {
    let mut verified = Verified::default();
    let settings = lake.settings().await?;
    let none = || PipelineError::Source(format!("there is no lake at {}", lake.url()));
    let settings = settings.ok_or_else(none)?;
    for partition in (0..settings.partitions).map(|number| Partition(number as i32)) {
        verify_partition(lake, &settings, partition, &mut verified).await?;
    }
    Ok(verified)
}

async fn verify_partition(
    lake: &Lake,
    settings: &LakeSettings,
    partition: Partition,
    verified: &mut Verified,
) -> Result<(), PipelineError> {
    let newest = snapshot::newest(lake, &settings.topic, partition).await?;
    let barrier = newest.map(|(header, _)| header.offset);
    let versions = Versions::at(lake, &settings.topic, partition, barrier).await?;
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
        verified.left_out.push(format!("{load}: not all tables hold it; run the same load again"));
    }
    let watermarks = receipts::verify(&versions, settings, partition, barrier, verified).await?;
    let expected = recompute::recompute(lake, &versions, settings, partition, &watermarks).await?;
    for table in [Table::Sessions, Table::Needs, Table::PageViews] {
        let mut comparison = Comparison::new(table);
        for rows in expected.rows(table) {
            comparison.expect(rows)?;
        }
        versions
            .each_row_of(table, settings.partitions, partition, |rows| comparison.find(rows))
            .await?;
        comparison.finish(&expected.torn, verified);
    }
    Ok(())
}
