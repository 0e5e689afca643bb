//! Resends older than the fold's memory: an event whose own clock lies far from when it came may have
//! been sent before, hours ago, so it is looked up among its visitor's rows.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type};
use datafusion::prelude::{SessionContext, col, lit};
use footfall_event::schema::Table;
use footfall_event::{Micros, Offset, Partition};
use footfall_lake::{Lake, LakeError};

use crate::PipelineError;

/// An event to look up.
#[derive(Clone, Debug)]
pub struct Suspect {
    pub offset: Offset,
    pub event_time: Micros,
    pub site: String,
    pub visitor_id: Option<String>,
    pub event_id: String,
}

/// Looks suspects up in `events`.
pub struct OldResends {
    lake: Lake,
    log: String,
    partition: Partition,
    /// How far from an event's time its first sending is looked for: a day more than the door takes.
    reach: Micros,
}

type Id = (String, Option<String>, String);

impl OldResends {
    /// `max_age` is the oldest event time that the door takes.
    pub fn new(lake: &Lake, log: &str, partition: Partition, max_age: Micros) -> OldResends {
        let reach = max_age + Micros::DAY;
        OldResends { lake: lake.clone(), log: log.to_owned(), partition, reach }
    }

    /// The records of those suspects whose id stands in `events` at another record than their own.
    ///
    /// # Errors
    /// `Lake`.
    pub async fn among(&self, suspects: &[Suspect]) -> Result<BTreeSet<Offset>, PipelineError> {
        let Some(latest) = suspects.iter().map(|suspect| suspect.event_time).max() else {
            return Ok(BTreeSet::new());
        };
        let earliest = suspects.iter().map(|suspect| suspect.event_time).min().unwrap_or(latest);
        let mut wanted: BTreeMap<Id, Vec<Offset>> = BTreeMap::new();
        for suspect in suspects {
            let Suspect { site, visitor_id, event_id, offset, .. } = suspect.clone();
            wanted.entry((site, visitor_id, event_id)).or_default().push(offset);
        }
        let mut resent = BTreeSet::new();
        for (id, log, partition, offset) in self.standing(&wanted, earliest, latest).await? {
            for own in wanted.get(&id).into_iter().flatten() {
                let is_own = log == self.log && partition == self.partition && offset == *own;
                if !is_own {
                    resent.insert(*own);
                }
            }
        }
        Ok(resent)
    }

    /// Where the wanted ids stand.
    async fn standing(
        &self,
        wanted: &BTreeMap<Id, Vec<Offset>>,
        earliest: Micros,
        latest: Micros,
    ) -> Result<Vec<(Id, String, Partition, Offset)>, PipelineError> {
        let failed = |source: datafusion::error::DataFusionError| {
            PipelineError::Lake(LakeError::Delta { table: Table::Events, source: source.into() })
        };
        let Some(table) = self.lake.table(Table::Events).await? else { return Ok(Vec::new()) };
        let provider = table.table_provider().await.map_err(failed)?;
        let ids = wanted.keys().map(|(_, _, event_id)| lit(event_id.as_str())).collect();
        let day = |time: Micros| lit(datafusion::scalar::ScalarValue::Date32(Some(time.day().0)));
        let context = SessionContext::new();
        let rows = context
            .read_table(provider)
            .map_err(failed)?
            .filter(col("event_date").between(day(earliest - self.reach), day(latest + self.reach)))
            .map_err(failed)?
            .filter(col("event_id").in_list(ids, false))
            .map_err(failed)?
            .select_columns(&[
                "site",
                "visitor_id",
                "event_id",
                "log",
                "log_partition",
                "log_offset",
            ])
            .map_err(failed)?
            .collect()
            .await
            .map_err(failed)?;
        let mut standing = Vec::new();
        for batch in rows {
            let text = |column: usize| {
                let cast =
                    arrow::compute::cast(batch.column(column), &arrow::datatypes::DataType::Utf8);
                cast.map_err(PipelineError::Rows)
            };
            let texts = [text(0)?, text(1)?, text(2)?, text(3)?];
            let texts = texts.each_ref().map(|array| array.as_string::<i32>());
            let partitions = batch.column(4).as_primitive::<Int32Type>();
            let offsets = batch.column(5).as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let at = |column: usize| {
                    let texts = texts[column];
                    texts.is_valid(row).then(|| texts.value(row).to_owned())
                };
                let id = (at(0).unwrap_or_default(), at(1), at(2).unwrap_or_default());
                let (partition, offset) =
                    (Partition(partitions.value(row)), Offset(offsets.value(row)));
                standing.push((id, at(3).unwrap_or_default(), partition, offset));
            }
        }
        Ok(standing)
    }
}
