//! A visitor's open session, and the one step by which live reading, loading and repair fold the next
//! event into it (docs/semantics.md, section 3).

mod close;
mod purchases;

use std::sync::Arc;

use footfall_event::{Micros, SessionId};
use serde::{Deserialize, Serialize};

use crate::held::Signalled;
use crate::need::{Episode, Surroundings, Touch};
use crate::page_view::OpenPageView;
use crate::rage::RageClicks;
use crate::{Bits, CloseCause, Exit, Fact, Hit, Profile, Rows, RuleBook, Rules, RulesId};
use purchases::Purchases;

/// Whose events a session holds: the device's first-party id within a site.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Visitor {
    pub site: Box<str>,
    pub visitor_id: Box<str>,
}

impl Visitor {
    fn session_begun_by(&self, first: &Hit) -> SessionId {
        let event_id = first.fact(Fact::EventId).unwrap_or_default();
        SessionId::new(&self.site, &self.visitor_id, event_id)
    }
}

/// A session that may still go on. Its size is bounded, whatever its length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub id: SessionId,
    /// The rules in force at its first event's record, which it is folded with to its end.
    pub rules: RulesId,
    pub visitor: Arc<Visitor>,
    pub started_at: Micros,
    pub ended_at: Micros,
    event_count: u64,
    overflow_count: u64,
    page_view_count: u64,
    profile: Profile,
    exit: Exit,
    furthest_step: Option<usize>,
    progress_at: Micros,
    purchases: Purchases,
    page_view: Option<OpenPageView>,
    pub needs: Vec<Episode>,
    rage: RageClicks,
    has_error: bool,
    has_zero_search: bool,
    /// Clicks, and whether a conversion was counted, at `ended_at` itself.
    clicks_at_end: u64,
    converted_at_end: bool,
}

/// What an event is to its visitor's sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// Of this session; beyond the cap of events when `overflow`.
    In { session: SessionId, overflow: bool },
    /// A hidden page's heartbeat: of no session.
    Outside,
    /// It would have begun a session, and no more may be open.
    Refused,
}

/// Steps `current`, the visitor's open session if there is one, by the visitor's next event in
/// order, and writes what became final to `rows`. `signalled` names the needs whose signals were due
/// for this event; `may_open` tells whether another session may be opened.
pub fn step(
    current: &mut Option<Box<Session>>,
    visitor: &Arc<Visitor>,
    hit: &Hit,
    signalled: &Signalled,
    may_open: bool,
    book: &RuleBook,
    rows: &mut Rows,
) -> Membership {
    if hit.bits.hidden() {
        return Membership::Outside;
    }
    if let Some(cause) = current.as_ref().and_then(|open| open.ends_before(hit, book))
        && let Some(open) = current.take()
    {
        open.close(cause, book, rows);
    }
    if current.is_none() && !may_open {
        return Membership::Refused;
    }
    let session = current.get_or_insert_with(|| Box::new(Session::open(visitor, hit, book)));
    session.add(hit, signalled, book, rows)
}

impl Session {
    fn open(visitor: &Arc<Visitor>, hit: &Hit, book: &RuleBook) -> Session {
        Session {
            id: visitor.session_begun_by(hit),
            rules: hit.rules,
            visitor: visitor.clone(),
            started_at: hit.event_time,
            ended_at: hit.event_time,
            event_count: 0,
            overflow_count: 0,
            page_view_count: 0,
            profile: Profile::default(),
            exit: Exit::default(),
            furthest_step: None,
            progress_at: hit.event_time,
            purchases: Purchases::default(),
            page_view: None,
            needs: vec![Episode::default(); book.at(hit.rules).needs.len()],
            rage: RageClicks::default(),
            has_error: false,
            has_zero_search: false,
            clicks_at_end: 0,
            converted_at_end: false,
        }
    }

    /// Whether `hit`, which comes after all events so far, is of this session.
    pub fn goes_on_with(&self, hit: &Hit, book: &RuleBook) -> bool {
        self.ends_before(hit, book).is_none()
    }

    /// Why `hit` begins another session, if it does.
    fn ends_before(&self, hit: &Hit, book: &RuleBook) -> Option<CloseCause> {
        let rules = book.at(self.rules);
        if hit.event_time - self.ended_at > rules.session_gap {
            return Some(CloseCause::Timeout);
        }
        (hit.event_time - self.started_at > rules.session_cap).then_some(CloseCause::Cap)
    }

    fn add(
        &mut self,
        hit: &Hit,
        signalled: &Signalled,
        book: &RuleBook,
        rows: &mut Rows,
    ) -> Membership {
        let rules = book.at(self.rules);
        if hit.event_time > self.ended_at {
            self.ended_at = hit.event_time;
            self.clicks_at_end = 0;
            self.converted_at_end = false;
        }
        self.event_count += 1;
        if self.event_count > rules.events_per_session_max {
            self.overflow_count += 1;
            return Membership::In { session: self.id, overflow: true };
        }
        let bits = hit.bits_under(self.rules);
        self.profile.note(hit);
        self.note_exit(hit);
        let begins_page_view = self.step_page_view(hit, bits, rows);
        let converts = self.purchases.add(hit, bits.conversion());
        self.step_needs(hit, bits, rules, signalled, begins_page_view, converts);
        if let Some(further) = bits.furthest_step(rules).filter(|s| Some(*s) > self.furthest_step) {
            self.furthest_step = Some(further);
            self.progress_at = hit.event_time;
        }
        if bits.rage_target() {
            self.rage.click(hit);
        }
        self.has_error |= bits.error();
        self.has_zero_search |= bits.zero_search();
        self.clicks_at_end += u64::from(hit.is_click());
        self.converted_at_end |= converts;
        Membership::In { session: self.id, overflow: false }
    }

    fn step_needs(
        &mut self,
        hit: &Hit,
        bits: Bits,
        rules: &Rules,
        signalled: &Signalled,
        begins_page_view: bool,
        converts: bool,
    ) {
        // Most events touch no need, and most sessions have none open.
        let has_open = || self.needs.iter().any(|episode| episode.raised().is_some());
        if !bits.touches_needs(rules) && !has_open() {
            return;
        }
        let around = Surroundings {
            clicks_at_this_time: self.clicks_at_end,
            converted_at_this_time: self.converted_at_end,
            page_view: self.page_view.as_ref().map_or(0, |page| page.index),
            lcp_ms: self.page_view.as_ref().and_then(|page| page.lcp_ms),
            begins_page_view,
            converts,
        };
        for (need, episode) in self.needs.iter_mut().enumerate() {
            let touch = Touch { raises: bits.raises(need), finds: bits.finds(need) };
            episode.step(hit, touch, signalled.holds(&rules.needs[need].name), around);
        }
    }

    fn note_exit(&mut self, hit: &Hit) {
        let Exit { path, page_type, section } = &mut self.exit;
        let lasts = [(path, Fact::PagePath), (page_type, Fact::PageType), (section, Fact::Section)];
        for (last, fact) in lasts {
            if let Some(text) = hit.fact(fact)
                && last.as_deref() != Some(text)
            {
                *last = Some(text.into());
            }
        }
    }

    /// Whether `hit` begins a page view; the one before it is over then.
    fn step_page_view(&mut self, hit: &Hit, bits: Bits, rows: &mut Rows) -> bool {
        let joins = |page: &mut OpenPageView| page.joins(hit);
        let begins = bits.page_view() && !self.page_view.as_mut().is_some_and(joins);
        if begins {
            if let Some(over) = self.page_view.take() {
                rows.page_views.push(self.page_view_row(over, hit.event_time, false, rows.cause));
            }
            self.page_view_count += 1;
            self.page_view = Some(OpenPageView::begin(hit, self.page_view_count));
        }
        if let Some(page) = &mut self.page_view {
            page.add(hit);
        }
        begins
    }
}
