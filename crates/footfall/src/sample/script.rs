//! Writes one session's events in the order they are meant to have, and keeps what the visitor is
//! looking for as they go. Which events to write, and to what end, is left to the journeys.

use std::sync::Arc;

use super::catalog::{OTHER_INFO, PRODUCTS, REFERRERS};
use super::event::{Details, Draft, EventId, Page, PageType, Speed, Visit};
use super::intent::{Need, Outcome};
use super::rng::Rng;
use super::session::{Episode, Session, Written};

/// How fast visitors move, derived from the session gap so that no pause ends a session by chance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) session_gap: i64,
    /// Longest pause between two pages.
    pub(super) think_max: i64,
    /// Longest pause between two events of a page.
    pub(super) beat_max: i64,
    /// Longest search for a fact on one page.
    pub(super) search_max: i64,
}

impl Pace {
    pub(super) fn of_gap(session_gap: i64) -> Pace {
        Pace {
            session_gap,
            think_max: (session_gap / 4).min(60_000_000),
            beat_max: (session_gap / 8).min(4_000_000),
            search_max: (session_gap / 10 * 6).min(20_000_000),
        }
    }
}

/// What a client is able to say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    /// Counts its events; without it, ties are ordered by event id.
    pub(super) counts: bool,
    /// Names its page views.
    pub(super) names_views: bool,
}

pub(super) struct Script {
    pub(super) rng: Rng,
    pub(super) pace: Pace,
    pub(super) client: Client,
    visit: Arc<Visit>,
    page: Option<Arc<Page>>,
    now: i64,
    drafts: Vec<Draft>,
    episodes: Vec<Episode>,
    /// Needs whose answer may be shown at any time without changing an outcome.
    free: [bool; 2],
    page_views: u64,
}

impl Script {
    pub(super) fn new(
        rng: Rng,
        pace: Pace,
        client: Client,
        visit: Arc<Visit>,
        start: i64,
    ) -> Script {
        Script {
            rng,
            pace,
            client,
            visit,
            page: None,
            now: start,
            drafts: Vec::new(),
            episodes: Vec::new(),
            free: [false; 2],
            page_views: 0,
        }
    }

    pub(super) fn now(&self) -> i64 {
        self.now
    }

    pub(super) fn events(&self) -> usize {
        self.drafts.len()
    }

    pub(super) fn wait(&mut self, micros: i64) {
        self.now += micros.max(0);
    }

    /// Moves on to `time`, or stays where that has passed.
    pub(super) fn until(&mut self, time: i64) {
        self.now = self.now.max(time);
    }

    /// A pause between two events of a page.
    pub(super) fn beat(&mut self) {
        let pause = self.rng.skewed(1_000, self.pace.beat_max);
        self.wait(pause);
    }

    /// A pause between two pages.
    pub(super) fn think(&mut self) {
        let pause = self.rng.skewed(200_000, self.pace.think_max);
        self.wait(pause);
    }

    /// Writes an event on the current page. A client that does not count its events lets ids order
    /// those of one microsecond, so ids are given out to keep the order of writing.
    pub(super) fn emit(&mut self, name: &'static str, details: Details) {
        let same_time = self.drafts.last().is_some_and(|last| last.time == self.now);
        self.push(name, details, same_time && !self.client.counts);
    }

    /// Writes an event that only its id orders after the one before it.
    pub(super) fn emit_tied(&mut self, name: &'static str, details: Details) {
        self.push(name, details, true);
    }

    fn push(&mut self, name: &'static str, details: Details, tied: bool) {
        let id = EventId { bits: self.rng.wide(), suffix: "" };
        self.drafts.push(Draft {
            visit: self.visit.clone(),
            page: self.page.clone(),
            name,
            time: self.now,
            id,
            seq: None,
            tied,
            late: false,
            hidden: false,
            details,
        });
    }

    /// Writes an event that belongs to no session, `after` microseconds from here; the session's
    /// clock stays.
    pub(super) fn emit_hidden(&mut self, after: i64) {
        let details = Details { visible_ms: Some(0), ..Details::default() };
        self.push("heartbeat", details, false);
        if let Some(last) = self.drafts.last_mut() {
            last.time += after;
            last.hidden = true;
        }
    }

    /// The visitor goes to a page. Raises nothing by itself: see [`Script::look_for`].
    pub(super) fn open(&mut self, kind: PageType) {
        let speed = self.rng.chance(0.7).then(|| self.speed());
        self.open_with(kind, Details { speed, ..Details::default() }, false);
    }

    pub(super) fn open_with(&mut self, kind: PageType, details: Details, tied: bool) {
        let referrer = self.page.is_none() && self.rng.chance(0.4);
        let product = self.rng.below(PRODUCTS.len() as u64) as usize;
        let (path, title) = match kind {
            PageType::Product => (format!("/p/{}", PRODUCTS[product].slug), PRODUCTS[product].name),
            PageType::Category => {
                (format!("/c/{}", PRODUCTS[product].category), PRODUCTS[product].category)
            }
            PageType::Home => ("/".to_owned(), "Storefront – „alles“"),
            other => (format!("/{}", other.name()), other.name()),
        };
        let view = self.rng.word();
        self.page = Some(Arc::new(Page {
            view: self.client.names_views.then_some(view),
            kind,
            path,
            title,
            referrer: referrer.then(|| self.rng.pick(REFERRERS)),
        }));
        self.page_views += 1;
        if tied {
            self.emit_tied("page_view", details);
        } else {
            self.emit("page_view", details);
        }
    }

    /// Mostly good speeds, some beyond the 4 s of a slow page.
    fn speed(&mut self) -> Speed {
        Speed {
            lcp_ms: self.rng.skewed(400, 6_500) as u32,
            inp_ms: self.rng.skewed(20, 900) as u32,
            ttfb_ms: self.rng.skewed(60, 2_500) as u32,
            cls_thousandths: self.rng.skewed(0, 400) as u32,
        }
    }

    /// The speed of the current page, told by an event of its own.
    pub(super) fn web_vitals(&mut self) {
        let speed = Some(self.speed());
        self.emit("web_vitals", Details { speed, ..Details::default() });
    }

    pub(super) fn click(&mut self, target: &'static str) {
        let position = Some((self.rng.between(0, 1_280) as i32, self.rng.between(0, 4_000) as i32));
        self.click_at(target, position);
    }

    /// Every click counts for each need that the visitor is looking for.
    pub(super) fn click_at(&mut self, target: &'static str, position: Option<(i32, i32)>) {
        self.emit("click", Details { target: Some(target), position, ..Details::default() });
        for episode in self.episodes.iter_mut().filter(|episode| episode.looking) {
            episode.clicks += 1;
        }
    }

    /// Shows the answer of `need` for `visible_ms`; whether that is a find is the caller's to say.
    pub(super) fn show(&mut self, need: Need, visible_ms: u32, tied: bool) {
        let info_key = Some(self.rng.pick(need.info_keys()));
        let details = Details {
            section: Some("details"),
            info_key,
            visible_ms: Some(visible_ms),
            ..Details::default()
        };
        if tied {
            self.emit_tied("info_exposed", details);
        } else {
            self.emit("info_exposed", details);
        }
    }

    /// Shows a fact that no need asks for.
    pub(super) fn show_other(&mut self, section: &'static str) {
        let info_key = Some(self.rng.pick(OTHER_INFO));
        let visible_ms = Some(self.rng.skewed(0, 9_000) as u32);
        let details =
            Details { section: Some(section), info_key, visible_ms, ..Details::default() };
        self.emit("info_exposed", details);
    }

    /// From here on the visitor looks for `need`, with the outcome that was decided.
    pub(super) fn look_for(&mut self, need: Need, outcome: Outcome) {
        let Some(page) = self.page.clone() else { return };
        self.episodes.push(Episode {
            need,
            outcome,
            raised_at: self.now,
            page,
            found_at: None,
            clicks: 0,
            converted: false,
            looking: true,
        });
    }

    /// A click at the time of the raising that was written before it.
    pub(super) fn count_earlier_click(&mut self) {
        for episode in &mut self.episodes {
            episode.clicks += 1;
        }
    }

    /// The visitor sees what they looked for; `at` may lie before the last event written.
    pub(super) fn found(&mut self, need: Need, at: i64) {
        for episode in self.episodes.iter_mut().filter(|episode| episode.need == need) {
            episode.found_at = Some(at);
            episode.looking = false;
        }
        self.set_free(need);
    }

    /// The visitor has bought: whatever they still looked for is without an answer for good.
    pub(super) fn converted(&mut self) {
        for episode in &mut self.episodes {
            episode.converted = true;
            episode.looking = false;
            self.free[episode.need as usize] = true;
        }
    }

    pub(super) fn raised_at(&self, need: Need) -> Option<i64> {
        self.episodes.iter().find(|episode| episode.need == need).map(|episode| episode.raised_at)
    }

    /// A need that is never raised, was met, or is settled: to show its answer changes nothing.
    pub(super) fn set_free(&mut self, need: Need) {
        self.free[need as usize] = true;
    }

    pub(super) fn is_free(&self, need: Need) -> bool {
        self.free[need as usize]
    }

    /// The visitor logs in: later events carry a user's id beside the device's. One who is known by
    /// a user's id already keeps it, for it may be all that names them.
    pub(super) fn log_in(&mut self, user_id: Arc<str>) {
        let old = &self.visit;
        if old.user_id.is_none() {
            self.visit = Arc::new(Visit {
                site: old.site.clone(),
                visitor_id: old.visitor_id.clone(),
                user_id: Some(user_id),
                ..**old
            });
        }
        self.emit("login", Details::default());
    }

    /// Adds events meant late, numbers and names the events, and tells what was meant.
    pub(super) fn finish(self, late_share: f64) -> Session {
        let visitor_id = self.visit.visitor().unwrap_or_default();
        let written = Written {
            rng: self.rng,
            counts: self.client.counts,
            drafts: self.drafts,
            page_views: self.page_views,
        };
        written.finish(late_share, self.episodes, &self.visit.site, &visitor_id)
    }
}
