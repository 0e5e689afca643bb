//! Erasing a person: from the tables, the refused payloads, the snapshots and the log, old files and old
//! versions included, and a proof of it that can be checked.
//!
//! A request is a file in the lake. The pipeline that owns partition 0 carries it out, step by step, each
//! of which may die and is done again: a control record in every partition bounds what is the person's;
//! the tables are rewritten when all speak behind it; the snapshots before it and the log's records are
//! deleted; and after a grace for readers old files and versions. Then the request is replaced by the
//! proof, which holds a hash in the place of the id.

mod control;
mod job;
mod old_files;
mod person;
mod ranges;
mod record;
mod search;
mod tables;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use footfall_event::check_site;
use footfall_lake::Lake;
use footfall_log::{EventLog, Redaction};

use crate::PipelineError;

pub use control::Mark;
pub use job::{Advanced, advance};
pub use person::Person;
pub use record::{ErasedRange, ErasedRows, Erasure, done, find, waiting};
pub use search::{Found, LogSearch, search, search_log};

/// Erasures that wait at once; a further one is refused.
const WAITING_MAX: usize = 1_000;
/// Longest id that a visitor has, as the collector takes it.
const VISITOR_BYTES_MAX: usize = 512;

/// Where erasures are asked for and looked up: shared between the listener and the loop.
#[derive(Clone)]
pub struct Erasures {
    lake: Lake,
    log: Arc<dyn EventLog>,
    asked: Arc<AtomicBool>,
}

/// Why a request is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("{0}")]
    Bad(String),
    #[error("{WAITING_MAX} erasures wait already: ask again when some are done")]
    TooMany,
    #[error(transparent)]
    Failed(#[from] PipelineError),
}

impl Erasures {
    pub fn new(lake: Lake, log: Arc<dyn EventLog>) -> Erasures {
        Erasures { lake, log, asked: Arc::default() }
    }

    /// Keeps a request durably. It is carried out by the pipeline that owns partition 0. Where one of the
    /// same visitor waits that was not begun, it is that one.
    ///
    /// # Errors
    /// `Bad` for a site or a visitor that no event can have; `TooMany`; `Failed`.
    pub async fn request(&self, site: &str, visitor_id: &str) -> Result<Erasure, Refused> {
        check_site(site).map_err(|fault| Refused::Bad(format!("site `{site}`: {fault}")))?;
        if visitor_id.is_empty() || visitor_id.len() > VISITOR_BYTES_MAX {
            let bytes = visitor_id.len();
            return Err(Refused::Bad(format!(
                "visitor: an id has 1 to {VISITOR_BYTES_MAX} bytes, and this one {bytes}"
            )));
        }
        let mut waiting = record::waiting(&self.lake).await?;
        let is_same = |of: &Erasure| of.site == site && of.visitor.as_deref() == Some(visitor_id);
        // What came until now lies before the control record that it has yet to write.
        let standing = waiting.iter().position(|of| is_same(of) && !of.has_begun());
        if let Some(standing) = standing {
            self.asked.store(true, Ordering::Release);
            return Ok(waiting.swap_remove(standing));
        }
        if waiting.len() >= WAITING_MAX {
            return Err(Refused::TooMany);
        }
        let erasure = Erasure::new(site, visitor_id, self.log.topic());
        record::ask(&self.lake, &erasure).await?;
        self.asked.store(true, Ordering::Release);
        tracing::info!(id = erasure.id, site, "an erasure was asked for");
        Ok(erasure)
    }

    /// An erasure as it stands, without the visitor's id; `None` where there is none of that name.
    ///
    /// # Errors
    /// `Lake`.
    pub async fn find(&self, id: &str) -> Result<Option<Erasure>, PipelineError> {
        let found = find(&self.lake, id).await?;
        Ok(found.map(|erasure| Erasure { visitor: None, sessions: Vec::new(), ..erasure }))
    }

    /// What the log still has of the person, below where the erasure ends.
    ///
    /// # Errors
    /// `Log`.
    pub async fn search_log(
        &self,
        erasure: &Erasure,
        visitor_id: &str,
    ) -> Result<LogSearch, PipelineError> {
        search_log(self.log.as_ref(), erasure, visitor_id).await
    }

    /// Whether a request came since this was last asked.
    pub fn take_asked(&self) -> bool {
        self.asked.swap(false, Ordering::AcqRel)
    }
}

/// What of the log is the person's.
pub fn redaction(erasure: &Erasure, visitor_id: &str) -> Redaction {
    let person = Person::new(&erasure.site, visitor_id);
    Redaction {
        below: erasure.offsets(),
        is_meant: Arc::new(move |kind, payload| person.is_record(kind, payload)),
    }
}
