//! The rules of a run: gap, cap, window and events of a session lie near enough that it reaches them, and each condition is that a column
//! equals a value, so that the oracle can evaluate it without SQL.

use footfall_event::Micros;
use footfall_sessionizer::{Conditions, Need, Rules, Step};

/// That a column equals a text.
pub type Equals = [&'static str; 2];

/// A need.
pub struct Asked {
    pub name: &'static str,
    pub raised_by: Equals,
    pub found_by: Equals,
}

pub const CONVERSION: Equals = ["event_name", "purchase"];
pub const PAGE_VIEW: Equals = ["event_name", "page_view"];
pub const ERROR: Equals = ["event_name", "error"];
pub const HIDDEN: Equals = ["event_name", "heartbeat"];
pub const RAGE_TARGET: Equals = ["event_name", "click"];
pub const STEPS: [(&str, Equals); 2] =
    [("view", ["page_type", "product"]), ("purchase", ["event_name", "purchase"])];

/// Which of the rules that a shop changes to and fro.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edition {
    First,
    Second,
    /// Few events may be held, and few sessions open.
    Tight,
}

impl Edition {
    pub const ALL: [Edition; 3] = [Edition::First, Edition::Second, Edition::Tight];

    pub fn need(self) -> Asked {
        let found_by = match self {
            Edition::First | Edition::Tight => ["info_key", "delivery"],
            Edition::Second => ["page_type", "cart"],
        };
        Asked { name: "delivery", raised_by: ["page_type", "product"], found_by }
    }

    pub fn rules(self) -> Rules {
        let first = first_rules();
        match self {
            Edition::First => first,
            Edition::Tight => Rules {
                held_events_max: 8,
                held_events_per_visitor_max: 4,
                open_sessions_max: 2,
                ..first
            },
            Edition::Second => Rules {
                events_per_session_max: 8,
                slow_page_ms: 2_000,
                needs: vec![Need { max_clicks: 1, ..need(self) }],
                ..first
            },
        }
    }
}

fn need(edition: Edition) -> Need {
    let Asked { name, raised_by, found_by } = edition.need();
    Need {
        name: name.to_owned(),
        raised_by: sql(raised_by),
        found_by: sql(found_by),
        within: seconds(3),
        max_clicks: 2,
    }
}

fn seconds(seconds: i64) -> Micros {
    Micros(seconds * Micros::SECOND.0)
}

fn sql([column, value]: Equals) -> String {
    format!("{column} = '{value}'")
}

fn first_rules() -> Rules {
    Rules {
        session_gap: seconds(20),
        session_cap: seconds(60),
        allowed_lateness: seconds(3),
        signal_grace: Micros(500_000),
        dedupe_window: seconds(120),
        dedupe_ids_max: 100_000,
        open_sessions_max: 1_000,
        held_events_max: 100_000,
        held_events_per_visitor_max: 10_000,
        events_per_session_max: 6,
        slow_page_ms: 4_000,
        conditions: Conditions {
            conversion: sql(CONVERSION),
            page_view: sql(PAGE_VIEW),
            error: sql(ERROR),
            zero_search: "search_results = 0".to_owned(),
            hidden: sql(HIDDEN),
            rage_target: sql(RAGE_TARGET),
        },
        steps: STEPS.map(|(name, when)| Step { name: name.to_owned(), when: sql(when) }).into(),
        needs: vec![need(Edition::First)],
    }
}
