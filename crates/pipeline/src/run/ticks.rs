//! Ticks, which let log time go on where no record comes, and the rules that are configured here where
//! the log has others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use footfall_event::{Offset, Partition};
use footfall_log::{EventLog, Kind, LogError, NewRecord};
use futures::FutureExt;
use tokio::time::Instant;

use super::owned::Folding;
use crate::PipelineSettings;
use crate::start::control_record;

/// A tick comes when a partition was quiet for so long,
const AFTER: Duration = Duration::from_secs(1);
/// or for so long while an event is held or a deadline lies ahead.
const AFTER_WAITING: Duration = Duration::from_millis(200);
/// What seems to wait in the log and does not come for so long is nobody's record: the marker at the end of a
/// transaction has an offset and is never delivered.
pub const COMES_WITHIN: Duration = Duration::from_secs(1);
/// Rules that were announced and not read back are announced again.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(30);

impl Folding {
    /// Writes what is due in a task of its own: a partition whose leader is away holds up no other.
    ///
    /// # Errors
    /// `Io` of what was written last: the log takes nothing until this process is started again.
    pub fn send_tick(
        &mut self,
        log: &Arc<dyn EventLog>,
        settings: &PipelineSettings,
    ) -> Result<(), LogError> {
        if let Some(ticking) = &mut self.ticking {
            let Some(ended) = ticking.now_or_never() else { return Ok(()) };
            self.ticking = None;
            match ended {
                Ok(Err(error @ LogError::Io { .. })) => return Err(error),
                Ok(Err(error)) => tracing::warn!(%error, "a tick was not written; log time stands"),
                Ok(Ok(end)) => self.waits_before(end),
                Err(_) => {}
            }
        }
        let (log, partition) = (log.clone(), self.fold.partition());
        let after = if self.fold.fold().waits() { AFTER_WAITING } else { AFTER };
        if self.announces(settings) {
            let record = control_record(partition, &settings.rules);
            let announcing = async move { log.append(vec![record]).await.map(|_| None) };
            self.ticking = Some(tokio::spawn(announcing));
        } else if self.quiet_since.elapsed() >= after {
            let behind = self.read_up_to();
            let ticking = async move { tick(log.as_ref(), partition, behind).await };
            self.ticking = Some(tokio::spawn(ticking));
        }
        Ok(())
    }

    fn waits_before(&mut self, end: Option<Offset>) {
        if self.waiting.map(|(before, _)| before) != end {
            self.waiting = end.map(|end| (end, Instant::now()));
        }
    }

    /// Where what is read ends, with offsets behind it that are nobody's records.
    fn read_up_to(&self) -> Offset {
        let nobodys = self.waiting.filter(|(_, since)| since.elapsed() >= COMES_WITHIN);
        nobodys.map_or(self.fold.position(), |(end, _)| end)
    }

    /// Whether rules other than those in force are configured, and it is time to say so: they are
    /// said again until they are read back.
    fn announces(&mut self, settings: &PipelineSettings) -> bool {
        let differ = **self.fold.fold().rules().newest().1 != *settings.rules;
        let is_time = self.announced_at.is_none_or(|at| at.elapsed() >= ANNOUNCE_AGAIN);
        if differ && is_time {
            self.announced_at = Some(Instant::now());
        }
        differ && is_time
    }
}

/// A tick, if all records before `behind` are all that there are: those that wait move log time themselves. Answers the
/// log's end where some do.
async fn tick(
    log: &dyn EventLog,
    partition: Partition,
    behind: Offset,
) -> Result<Option<Offset>, LogError> {
    let end = log.bounds(partition).await?.end;
    if end > behind {
        return Ok(Some(end));
    }
    append_tick(log, partition).await?;
    Ok(None)
}

/// # Errors
/// As [`EventLog::append`].
pub async fn append_tick(log: &dyn EventLog, partition: Partition) -> Result<(), LogError> {
    let record = NewRecord { partition, kind: Kind::Tick, payload: Bytes::new() };
    log.append(vec![record]).await.map(drop)
}

#[cfg(test)]
mod tests;
