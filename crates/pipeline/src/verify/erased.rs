//! What erasures took of the tables, by their proofs: the receipts still count it.

use footfall_event::schema::Table;

use super::Verified;
use super::receipts::LogPart;
use crate::erasure::{ErasedRange, Erasure};

/// All erasures that are done.
#[derive(Debug, Default)]
pub struct Erased {
    erasures: Vec<Erasure>,
}

impl Erased {
    pub fn of(erasures: Vec<Erasure>) -> Erased {
        Erased { erasures }
    }

    /// Counts what nobody can verify any more.
    pub fn tell(&self, verified: &mut Verified) {
        if self.erasures.is_empty() {
            return;
        }
        let ranges = self.erasures.iter().flat_map(|erasure| &erasure.ranges);
        let events: i64 = ranges.map(|range| range.on_time + range.late).sum();
        verified.notes.push(format!(
            "{events} events of {} erased visitors are counted by the receipts and have no rows",
            self.erasures.len()
        ));
    }

    /// The first version of a table that erasures left.
    pub fn first_version(&self, table: Table) -> u64 {
        let tables = self.erasures.iter().filter_map(|erasure| erasure.tables.get(table.name()));
        tables.map(|erased| erased.first_version).max().unwrap_or(0)
    }

    /// What went of a log's partition, each with its site.
    pub fn ranges<'e>(
        &'e self,
        part: &'e LogPart,
    ) -> impl Iterator<Item = (&'e str, &'e ErasedRange)> {
        let of_part = move |range: &&ErasedRange| {
            range.log == part.log && range.log_partition == part.partition.0
        };
        self.erasures.iter().flat_map(move |erasure| {
            let ranges = erasure.ranges.iter().filter(of_part);
            ranges.map(|range| (erasure.site.as_str(), range))
        })
    }

    /// Whether a repair had changed what the receipts of the part say of what went.
    pub fn has_repaired(&self, part: &LogPart) -> bool {
        let is_of =
            |range: &ErasedRange| range.log == part.log && range.log_partition == part.partition.0;
        self.erasures.iter().any(|erasure| erasure.has_repaired && erasure.ranges.iter().any(is_of))
    }
}
