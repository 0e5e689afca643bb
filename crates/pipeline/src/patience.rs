//! Longer and longer pauses while the lake's store or the log fails: events wait in the log, and nothing
//! is lost.

use std::time::Duration;

use crate::PipelineError;

const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How long to pause before the next attempt at one thing.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pause: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { pause: PAUSE_FIRST }
    }
}

impl Patience {
    /// The pause after a failure; the one after the next is longer.
    pub fn pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        pause
    }

    /// What came of an attempt; `None`, after a pause, when it is worth another.
    ///
    /// # Errors
    /// That of the attempt, when waiting does not mend it.
    pub async fn judge<T>(
        &mut self,
        what: &str,
        attempt: Result<T, PipelineError>,
    ) -> Result<Option<T>, PipelineError> {
        match attempt {
            Ok(done) => Ok(Some(done)),
            Err(error) if error.passes() => {
                let pause = self.pause();
                tracing::error!(%error, "{what} failed; trying again in {pause:?}");
                tokio::time::sleep(pause).await;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
