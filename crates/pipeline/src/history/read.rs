//! The reading side of a load: ids seen before in the files are duplicates, refused rows go to
//! `rejected`, and the rest, packed, to the sort.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use footfall_event::schema::Table;
use footfall_event::{EventKey, Micros, Offset, Partition};
use footfall_lake::{FileWriter, Lake, WrittenFile};
use footfall_sessionizer::{Counts, Fact};
use hashbrown::HashSet;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::existing::RowSet;
use super::packed::Packing;
use super::{HistoryBatch, HistorySource, Load};
use crate::batch::{HitColumns, place};
use crate::rows::{DuplicateRow, Origin, RejectedRow, duplicate_rows, rejected_rows};
use crate::{JobsRun, PipelineError};

/// Batches between reading and sorting.
const AHEAD: usize = 4;
/// What a load remembers of each row bounds how many it takes: their keys fill a table of 2.3 GB,
/// which takes half as much again while it grows.
const ROWS_MAX: i64 = 100_000_000;

/// Reads in a task of its own.
pub struct Reader {
    task: JoinHandle<Result<Side, PipelineError>>,
}

/// What reading found besides events.
pub struct Side {
    pub rejected: Vec<WrittenFile>,
    pub duplicates: Vec<WrittenFile>,
    /// By site; `on_time` and `late` are left to the fold.
    pub counts: BTreeMap<String, Counts>,
    /// Rows of all files.
    pub rows: i64,
}

impl Reader {
    /// Starts reading. With `standing`, the rows that an earlier run of the load committed, a row
    /// that is not among them was a duplicate of another log's event.
    ///
    /// # Errors
    /// `Rows`.
    pub fn start(
        source: HistorySource,
        lake: &Lake,
        load: &Load,
        standing: Option<RowSet>,
    ) -> Result<(Reader, mpsc::Receiver<RecordBatch>), PipelineError> {
        let (sender, batches) = mpsc::channel(AHEAD);
        let reading = Reading {
            origin: Origin { log: load.log().into(), partition: Partition(0) },
            seen: HashSet::new(),
            standing,
            packing: Packing::new(load)?,
            rejected: FileWriter::of_load(lake, Table::Rejected, &load.hash),
            duplicates: FileWriter::of_load(lake, Table::Duplicates, &load.hash),
            counts: BTreeMap::new(),
            rows: 0,
            jobs_run: load.jobs_run,
        };
        Ok((Reader { task: tokio::spawn(reading.run(source, sender)) }, batches))
    }

    /// # Errors
    /// `Source`, `Lake`, `Rows`.
    pub async fn finish(self) -> Result<Side, PipelineError> {
        match self.task.await {
            Ok(side) => side,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}

struct Reading {
    origin: Origin,
    /// 20 to 39 bytes a row, as long as the load reads.
    seen: HashSet<EventKey>,
    /// `None`: nothing of the load stands, and the rows are wanted.
    standing: Option<RowSet>,
    packing: Packing,
    rejected: FileWriter,
    duplicates: FileWriter,
    counts: BTreeMap<String, Counts>,
    rows: i64,
    jobs_run: JobsRun,
}

impl Reading {
    async fn run(
        mut self,
        mut source: HistorySource,
        sender: mpsc::Sender<RecordBatch>,
    ) -> Result<Side, PipelineError> {
        loop {
            let read;
            (read, source) = match self.jobs_run {
                JobsRun::OnRuntime => (source(), source),
                JobsRun::OnThreads => tokio::task::spawn_blocking(move || (source(), source))
                    .await
                    .map_err(|error| PipelineError::Source(error.to_string()))?,
            };
            let Some(batch) = read.map_err(PipelineError::Source)? else { break };
            if let Some(packed) = self.take(batch).await? {
                // The sort is gone when the fold failed, which is told elsewhere.
                let _ = sender.send(packed).await;
            }
        }
        Ok(Side {
            rejected: self.rejected.finish().await?,
            duplicates: self.duplicates.finish().await?,
            counts: self.counts,
            rows: self.rows,
        })
    }

    /// The fresh rows, packed; `None` where they stand already.
    async fn take(&mut self, batch: HistoryBatch) -> Result<Option<RecordBatch>, PipelineError> {
        self.rows += (batch.events.num_rows() + batch.rejected.len()) as i64;
        within_bound(self.rows)?;
        let rejected = batch.rejected.into_iter().map(|(row, rejection)| {
            self.counts.entry(rejection.site.clone()).or_default().rejected += 1;
            RejectedRow { offset: Offset(row as i64), rejection }
        });
        let rejected = rejected.collect::<Vec<_>>();
        if !rejected.is_empty() {
            self.rejected.write(&rejected_rows(&rejected, &self.origin)?).await?;
        }
        let (fresh, duplicates) = self.judge(&batch.events);
        if !duplicates.is_empty() {
            self.duplicates.write(&duplicate_rows(&duplicates, &self.origin)?).await?;
        }
        match self.standing {
            Some(_) => Ok(None),
            None => self.packing.pack(&batch.events, |row| fresh[row]).map(Some),
        }
    }

    /// Which rows are no duplicates, and those that are.
    fn judge(&mut self, events: &RecordBatch) -> (Vec<bool>, Vec<DuplicateRow>) {
        let columns = HitColumns::of(events);
        let received = events.column(place("received_time"));
        let received = received.as_primitive::<TimestampMicrosecondType>();
        let mut duplicates = Vec::new();
        let fresh = (0..events.num_rows()).map(|row| {
            let text = |fact| columns.fact(row, fact).unwrap_or_default();
            let (site, event_id) = (text(Fact::Site), text(Fact::EventId));
            let key = EventKey::of_event(site, columns.fact(row, Fact::VisitorId), event_id);
            let offset = columns.offset(row);
            let is_fresh = self.seen.insert(key)
                && self.standing.as_ref().is_none_or(|standing| standing.contains(offset.0));
            if !is_fresh {
                self.counts.entry(site.to_owned()).or_default().duplicate += 1;
                duplicates.push(DuplicateRow {
                    offset,
                    site: site.to_owned(),
                    event_id: event_id.to_owned(),
                    received_time: Micros(received.value(row)),
                });
            }
            is_fresh
        });
        (fresh.collect(), duplicates)
    }
}

fn within_bound(rows: i64) -> Result<(), PipelineError> {
    match rows <= ROWS_MAX {
        true => Ok(()),
        false => Err(PipelineError::LoadRows { rows_max: ROWS_MAX }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_of_too_many_rows_names_the_way_out() {
        assert!(within_bound(ROWS_MAX).is_ok());
        let told = within_bound(ROWS_MAX + 1).map_err(|error| error.to_string());
        let way_out = "the files have more rows than the 100000000 that one load takes: load them in \
                       parts, each of some of the files";
        assert_eq!(told, Err(way_out.to_owned()));
    }
}
