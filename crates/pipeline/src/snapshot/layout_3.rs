//! Snapshots of the layout before: their rules are no JSON and bound no held events. All behind them is
//! as it is now.

use std::collections::BTreeMap;

use footfall_event::Micros;
use footfall_sessionizer::{Conditions, Need, RuleBook, Rules, RulesId, Step};
use serde::Deserialize;

use super::{Header, VERSION as PRESENT};

pub const VERSION: u32 = 3;

#[derive(Deserialize)]
struct OldBook {
    sets: BTreeMap<RulesId, OldNamed>,
}

#[derive(Deserialize)]
struct OldNamed {
    _config_id: String,
    rules: OldRules,
}

#[derive(Deserialize)]
struct OldRules {
    session_gap: Micros,
    session_cap: Micros,
    allowed_lateness: Micros,
    signal_grace: Micros,
    dedupe_window: Micros,
    dedupe_ids_max: u64,
    open_sessions_max: u64,
    events_per_session_max: u64,
    slow_page_ms: i64,
    conditions: Conditions,
    steps: Vec<Step>,
    needs: Vec<Need>,
}

impl From<OldRules> for Rules {
    fn from(old: OldRules) -> Rules {
        Rules {
            session_gap: old.session_gap,
            session_cap: old.session_cap,
            allowed_lateness: old.allowed_lateness,
            signal_grace: old.signal_grace,
            dedupe_window: old.dedupe_window,
            dedupe_ids_max: old.dedupe_ids_max,
            open_sessions_max: old.open_sessions_max,
            held_events_max: u64::MAX,
            held_events_per_visitor_max: u64::MAX,
            events_per_session_max: old.events_per_session_max,
            slow_page_ms: old.slow_page_ms,
            conditions: old.conditions,
            steps: old.steps,
            needs: old.needs,
        }
    }
}

/// The inflated bytes of a snapshot in the present layout.
///
/// # Errors
/// When they are none of this layout.
pub fn raised(bytes: &[u8]) -> postcard::Result<Vec<u8>> {
    let (header, rest) = postcard::take_from_bytes::<Header>(bytes)?;
    let (book, rest) = postcard::take_from_bytes::<OldBook>(rest)?;
    let book = RuleBook::of(book.sets.into_iter().map(|(id, named)| (id, named.rules.into())));
    let mut raised = postcard::to_stdvec(&Header { version: PRESENT, ..header })?;
    raised = postcard::to_extend(&book, raised)?;
    raised.extend_from_slice(rest);
    Ok(raised)
}
