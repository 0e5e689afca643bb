//! One need's episode in one session: raised, found or not, and its outcome (docs/semantics.md,
//! section 4).

use footfall_event::{Micros, Offset};
use serde::{Deserialize, Serialize};

use crate::{Fact, Hit, Need, NeedMark, Outcome};

/// A need in an open session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Episode {
    #[default]
    NotRaised,
    /// Found before it was raised: no row is written.
    Met,
    Raised(Box<Raised>),
}

/// A raised need, over or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raised {
    pub raised_at: Micros,
    /// The raising event's record.
    pub offset: Offset,
    pub event_id: Box<str>,
    pub path: Option<Box<str>>,
    pub page_type: Option<Box<str>>,
    /// Which page view of the session it was raised on, counted from 1; 0 before the first.
    pub page_view: u64,
    pub load_ms: Option<i64>,
    pub click_count: u64,
    pub end: Option<End>,
    /// A conversion at or after `raised_at`, within the episode or behind its end.
    pub converted: bool,
    pub went_on: bool,
    pub signalled: bool,
}

/// What ended an episode before the session's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    Found(Micros),
    /// A find at the very same time may still come and wins.
    Converted(Micros),
}

/// What the session knows at the moment an event steps its needs.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// Clicks, and whether a conversion was counted, at the event's very time but before it.
    pub clicks_at_this_time: u64,
    pub converted_at_this_time: bool,
    /// The page view that the event belongs to, its LCP so far, and whether the event began it.
    pub page_view: u64,
    pub lcp_ms: Option<i64>,
    pub begins_page_view: bool,
    /// Whether the event is a conversion that counts.
    pub converts: bool,
}

/// What the rules say of one need and event.
#[derive(Clone, Copy, Debug)]
pub struct Touch {
    pub raises: bool,
    pub finds: bool,
}

impl Episode {
    /// Takes in the session's next event. `signalled` tells whether the signal of this need and event
    /// was due while the event was held.
    pub fn step(&mut self, hit: &Hit, touch: Touch, signalled: bool, around: Surroundings) {
        if *self == Episode::NotRaised {
            // A hidden page's event shows the visitor nothing.
            if touch.raises && hit.visible_ms != Some(0) {
                *self = Episode::Raised(Box::new(Raised::new(hit, signalled, around)));
            } else if touch.finds {
                *self = Episode::Met;
            }
        }
        if let Episode::Raised(raised) = self {
            raised.step(hit, touch, around);
        }
    }

    pub fn raised(&self) -> Option<&Raised> {
        match self {
            Episode::Raised(raised) => Some(raised),
            Episode::NotRaised | Episode::Met => None,
        }
    }

    /// The episode, if the event of record `offset` raised it.
    pub fn raised_by(&mut self, offset: Offset) -> Option<&mut Raised> {
        match self {
            Episode::Raised(raised) if raised.offset == offset => Some(raised),
            _ => None,
        }
    }

    pub fn mark(&self) -> NeedMark {
        match self.raised() {
            None => NeedMark::NotRaised,
            Some(raised) if raised.found_at().is_some() => NeedMark::Found,
            Some(_) => NeedMark::NotFound,
        }
    }
}

impl Raised {
    fn new(hit: &Hit, signalled: bool, around: Surroundings) -> Raised {
        Raised {
            raised_at: hit.event_time,
            offset: hit.offset,
            event_id: hit.fact(Fact::EventId).unwrap_or_default().into(),
            path: hit.fact(Fact::PagePath).map(Into::into),
            page_type: hit.fact(Fact::PageType).map(Into::into),
            page_view: around.page_view,
            load_ms: None,
            click_count: around.clicks_at_this_time,
            end: around.converted_at_this_time.then_some(End::Converted(hit.event_time)),
            converted: around.converted_at_this_time,
            went_on: false,
            signalled,
        }
    }

    /// Records of two logs, which a repair folds together, may have one offset.
    fn is_raised_by(&self, hit: &Hit) -> bool {
        hit.offset == self.offset && hit.fact(Fact::EventId).unwrap_or_default() == &*self.event_id
    }

    fn step(&mut self, hit: &Hit, touch: Touch, around: Surroundings) {
        let time = hit.event_time;
        if touch.finds && self.end.is_none_or(|end| end == End::Converted(time)) {
            self.end = Some(End::Found(time));
        }
        if around.converts {
            self.converted = true;
            self.end = self.end.or(Some(End::Converted(time)));
        }
        // Clicks at the very time of the end still count, the raising event does not.
        if hit.is_click()
            && !self.is_raised_by(hit)
            && self.end_time().is_none_or(|end| time <= end)
        {
            self.click_count += 1;
        }
        if around.page_view == self.page_view && self.page_view > 0 {
            self.load_ms = self.load_ms.max(around.lcp_ms);
        }
        self.went_on |= around.begins_page_view && time > self.raised_at;
    }

    pub fn found_at(&self) -> Option<Micros> {
        match self.end {
            Some(End::Found(time)) => Some(time),
            _ => None,
        }
    }

    fn end_time(&self) -> Option<Micros> {
        self.end.map(|(End::Found(time) | End::Converted(time))| time)
    }

    /// The outcome, once the session is over.
    pub fn outcome(&self, need: &Need) -> Outcome {
        match self.end {
            Some(End::Found(found_at)) => {
                let in_time = found_at - self.raised_at <= need.within;
                if in_time && self.click_count <= u64::from(need.max_clicks) {
                    Outcome::FoundInTime
                } else {
                    Outcome::FoundLate
                }
            }
            Some(End::Converted(_)) => Outcome::ConvertedWithout,
            None if self.went_on => Outcome::GaveUp,
            None => Outcome::Abandoned,
        }
    }
}
