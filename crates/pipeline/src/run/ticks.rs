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
                Ok(Ok(())) | Err(_) => {}
            }
        }
        let (log, partition) = (log.clone(), self.fold.partition());
        let after = if self.fold.fold().waits() { AFTER_WAITING } else { AFTER };
        if self.announces(settings) {
            let record = control_record(partition, &settings.rules);
            let announcing = async move { log.append(vec![record]).await.map(drop) };
            self.ticking = Some(tokio::spawn(announcing));
        } else if self.quiet_since.elapsed() >= after {
            let position = self.fold.position();
            let ticking = async move { tick(log.as_ref(), partition, position).await };
            self.ticking = Some(tokio::spawn(ticking));
        }
        Ok(())
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

/// A tick, if all records are read: those that wait move log time themselves.
async fn tick(log: &dyn EventLog, partition: Partition, position: Offset) -> Result<(), LogError> {
    if log.bounds(partition).await?.end <= position {
        let record = NewRecord { partition, kind: Kind::Tick, payload: Bytes::new() };
        log.append(vec![record]).await?;
    }
    Ok(())
}
