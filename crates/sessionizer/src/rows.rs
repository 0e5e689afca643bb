//! The rows that a fold gives: one plain struct a table, and what becomes of each event.

use std::sync::Arc;

use footfall_event::{Micros, Offset, SessionId};

use crate::texts::Texts;
use crate::{Fact, Hit, RulesId, Visitor};

/// Rows in the order in which they became final. `cause` is the record that made each so.
#[derive(Debug, Default)]
pub struct Rows {
    pub cause: Offset,
    pub events: Vec<EventRow>,
    pub sessions: Vec<SessionRow>,
    pub needs: Vec<NeedRow>,
    pub page_views: Vec<PageViewRow>,
}

impl Rows {
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.sessions.is_empty()
            && self.needs.is_empty()
            && self.page_views.is_empty()
    }
}

/// What the fold settles about an accepted event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    pub cause: Offset,
    /// The event's own record.
    pub offset: Offset,
    pub session_id: Option<SessionId>,
    pub late: bool,
    pub overflow: bool,
}

/// Why a session closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCause {
    /// A pause longer than the session gap.
    Timeout,
    /// The session cap cut it.
    Cap,
    /// The history that was loaded ends.
    EndOfLoad,
}

impl CloseCause {
    pub const ALL: [CloseCause; 3] = [CloseCause::Timeout, CloseCause::Cap, CloseCause::EndOfLoad];

    pub const fn name(self) -> &'static str {
        match self {
            CloseCause::Timeout => "timeout",
            CloseCause::Cap => "cap",
            CloseCause::EndOfLoad => "end_of_load",
        }
    }
}

/// A closed session: a row of `sessions`.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRow {
    pub cause: Offset,
    pub rules: RulesId,
    pub session_id: SessionId,
    pub visitor: Arc<Visitor>,
    pub started_at: Micros,
    pub ended_at: Micros,
    pub event_count: u64,
    pub overflow_count: u64,
    pub page_view_count: u64,
    pub engaged: bool,
    pub profile: Profile,
    pub exit: Exit,
    /// Counted from 0 in the order of the rules' steps.
    pub furthest_step: Option<usize>,
    pub conversion_count: u64,
    /// In ten-thousandths; `None` when nothing was bought or the currencies are mixed.
    pub value: Option<i128>,
    pub currency: Option<Box<str>>,
    pub reasons: Vec<LeaveReason>,
    pub progress_to_exit: Micros,
    pub close_cause: CloseCause,
    /// Whether each need of the rules was raised, and found.
    pub needs: Vec<NeedMark>,
}

/// What became of a need in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeedMark {
    NotRaised,
    Found,
    NotFound,
}

/// Where a session came from: each the first that an event of it told.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Profile(Texts<{ First::FACTS.len() }>);

/// What a profile keeps. A snapshot keeps them by their places here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    UserId,
    Channel,
    UtmSource,
    UtmMedium,
    UtmCampaign,
    UtmTerm,
    UtmContent,
    DeviceType,
    Country,
    Bot,
    LandingPath,
}

impl First {
    /// Which fact of an event each is, by its place.
    const FACTS: [Fact; 11] = [
        Fact::UserId,
        Fact::Channel,
        Fact::UtmSource,
        Fact::UtmMedium,
        Fact::UtmCampaign,
        Fact::UtmTerm,
        Fact::UtmContent,
        Fact::DeviceType,
        Fact::Country,
        Fact::Bot,
        Fact::PagePath,
    ];
}

impl Profile {
    pub fn first(&self, first: First) -> Option<&str> {
        self.0.at(first as usize)
    }

    /// Takes in what the session's next event tells.
    pub fn note(&mut self, hit: &Hit) {
        let (firsts, told) = (&self.0, |i: usize| hit.fact(First::FACTS[i]));
        if (0..First::FACTS.len()).any(|i| firsts.at(i).is_none() && told(i).is_some()) {
            self.0 = Texts::pack(|i| firsts.at(i).or(told(i)));
        }
    }
}

/// Where a session ended: each the last that an event of it told.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Exit {
    pub path: Option<Box<str>>,
    pub page_type: Option<Box<str>>,
    pub section: Option<Box<str>>,
}

/// Why a session without a conversion may have ended, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeaveReason {
    Error,
    SlowPage,
    RageClick,
    ZeroSearch,
    NeedNotFound,
}

impl LeaveReason {
    pub const fn name(self) -> &'static str {
        match self {
            LeaveReason::Error => "error",
            LeaveReason::SlowPage => "slow_page",
            LeaveReason::RageClick => "rage_click",
            LeaveReason::ZeroSearch => "zero_search",
            LeaveReason::NeedNotFound => "need_not_found",
        }
    }
}

/// How a need ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    FoundInTime,
    FoundLate,
    ConvertedWithout,
    Abandoned,
    GaveUp,
}

impl Outcome {
    pub const ALL: [Outcome; 5] = [
        Outcome::FoundInTime,
        Outcome::FoundLate,
        Outcome::ConvertedWithout,
        Outcome::Abandoned,
        Outcome::GaveUp,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Outcome::FoundInTime => "found_in_time",
            Outcome::FoundLate => "found_late",
            Outcome::ConvertedWithout => "converted_without",
            Outcome::Abandoned => "abandoned",
            Outcome::GaveUp => "gave_up",
        }
    }
}

/// A need raised in a closed session: a row of `needs`.
#[derive(Clone, Debug, PartialEq)]
pub struct NeedRow {
    pub cause: Offset,
    pub rules: RulesId,
    pub session_id: SessionId,
    pub visitor: Arc<Visitor>,
    pub session_started_at: Micros,
    /// Index into the rules' needs.
    pub need: usize,
    pub raised_at: Micros,
    pub raised_path: Option<Box<str>>,
    pub raised_page_type: Option<Box<str>>,
    pub found_at: Option<Micros>,
    pub click_count: u64,
    pub load_ms: Option<i64>,
    pub outcome: Outcome,
    pub left_after: Micros,
    pub left_before_deadline: bool,
    pub converted: bool,
    pub signalled: bool,
}

/// A page view that is over: a row of `page_views`.
#[derive(Clone, Debug, PartialEq)]
pub struct PageViewRow {
    pub cause: Offset,
    pub rules: RulesId,
    pub page_view_id: Box<str>,
    pub session_id: SessionId,
    pub visitor: Arc<Visitor>,
    pub session_started_at: Micros,
    /// Counted from 1.
    pub index_in_session: u64,
    pub page_path: Option<Box<str>>,
    pub page_type: Option<Box<str>>,
    pub started_at: Micros,
    pub ended_at: Micros,
    pub visible_ms: Option<i64>,
    pub click_count: u64,
    pub lcp_ms: Option<i64>,
    pub is_exit: bool,
}
