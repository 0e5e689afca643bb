//! Who comes to the shop and when: new visitors, returning ones, and those who come back a
//! microsecond after their session's gap has passed. What they do there is left to the journeys.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::catalog::{AGENTS, BOT_AGENTS, CAMPAIGNS, LANGUAGES};
use super::event::Visit;
use super::rng::Rng;
use super::script::Client;

const DAY: i64 = 86_400_000_000;

/// Visitors that may come back; further ones that leave are forgotten.
const RETURNING_MAX: usize = 10_000;

/// A device, or a user who is known without one.
#[derive(Debug)]
pub(super) struct Visitor {
    device: Option<Arc<str>>,
    user: Option<Arc<str>>,
    user_agent: &'static str,
    language: &'static str,
    pub(super) client: Client,
}

/// A session about to begin.
pub(super) struct Coming {
    /// Counted from 0.
    pub(super) number: u64,
    pub(super) start: i64,
    pub(super) visitor: Arc<Visitor>,
    /// Must have an event after its first microsecond: midnight UTC lies there.
    pub(super) over_midnight: bool,
}

/// A time and a visitor, ordered by the time and then by when they left.
struct Due(i64, u64, Arc<Visitor>);

pub(super) struct Visitors {
    rng: Rng,
    site: Arc<str>,
    session_gap: i64,
    /// Mean time between the starts of two sessions.
    spacing: i64,
    next_start: i64,
    /// Sessions that are neither begun nor promised to a follower.
    left: u64,
    begun: u64,
    last_start: i64,
    returning: BinaryHeap<Reverse<Due>>,
    followers: BinaryHeap<Reverse<Due>>,
}

impl Visitors {
    pub(super) fn new(
        rng: Rng,
        site: &str,
        session_gap: i64,
        spacing: i64,
        start: i64,
        sessions: u64,
    ) -> Visitors {
        Visitors {
            rng,
            site: site.into(),
            session_gap,
            spacing,
            next_start: start,
            left: sessions,
            begun: 0,
            last_start: start,
            returning: BinaryHeap::new(),
            followers: BinaryHeap::new(),
        }
    }

    /// Where the next session starts, if there is one. Never steps back.
    pub(super) fn next_start(&self) -> Option<i64> {
        let regular = (self.left > 0).then_some(self.next_start);
        let follower = self.followers.peek().map(|Reverse(due)| due.0);
        match (regular, follower) {
            (Some(regular), Some(follower)) => Some(regular.min(follower)),
            (one, other) => one.or(other),
        }
    }

    pub(super) fn next(&mut self) -> Option<Coming> {
        let start = self.next_start()?;
        let number = self.begun;
        self.begun += 1;
        let follows = self.followers.peek().is_some_and(|Reverse(due)| due.0 == start);
        if follows && let Some(Reverse(Due(_, _, visitor))) = self.followers.pop() {
            return Some(Coming { number, start, visitor, over_midnight: false });
        }
        self.left -= 1;
        let over_midnight = start.rem_euclid(DAY) == DAY - 1 && start != self.last_start;
        self.last_start = start;
        self.schedule(start);
        let visitor = self.visitor(start);
        Some(Coming { number, start, visitor, over_midnight })
    }

    /// Some visitors come in one microsecond; the first after a midnight comes just before it.
    fn schedule(&mut self, start: i64) {
        let together = self.rng.chance(0.02);
        let pause = if together { 0 } else { self.rng.between(1, 2 * self.spacing) };
        let midnight = start - start.rem_euclid(DAY) + DAY;
        let crosses = start + pause >= midnight && start < midnight - 1;
        self.next_start = if crosses { midnight - 1 } else { start + pause };
    }

    fn visitor(&mut self, start: i64) -> Arc<Visitor> {
        let due = self.returning.peek().is_some_and(|Reverse(due)| due.0 <= start);
        if due
            && self.rng.chance(0.4)
            && let Some(Reverse(Due(_, _, visitor))) = self.returning.pop()
        {
            return visitor;
        }
        Arc::new(self.someone())
    }

    fn someone(&mut self) -> Visitor {
        let device: Arc<str> = format!("v{:020x}", self.rng.wide() >> 48).into();
        let user: Arc<str> = format!("kunde-{}é", self.rng.word() >> 20).into();
        let (device, user) = match self.rng.below(100) {
            0..4 => (None, Some(user)),
            4..14 => (Some(device), Some(user)),
            _ => (Some(device), None),
        };
        let agents = if self.rng.chance(0.02) { BOT_AGENTS } else { AGENTS };
        Visitor {
            device,
            user,
            user_agent: self.rng.pick(agents),
            language: self.rng.pick(LANGUAGES),
            client: Client { counts: self.rng.chance(0.85), names_views: self.rng.chance(0.95) },
        }
    }

    /// The visitor's session ended; they may come back, at the earliest more than a gap later.
    pub(super) fn leave(&mut self, visitor: Arc<Visitor>, ended_at: i64, follow: bool) {
        let number = self.begun;
        let next = ended_at + self.session_gap + 1;
        if self.left > 0 && (follow || self.rng.chance(0.01)) {
            self.left -= 1;
            self.followers.push(Reverse(Due(next, number, visitor)));
        } else if self.returning.len() < RETURNING_MAX {
            let away = self.rng.skewed(self.session_gap / 20, self.session_gap * 60);
            self.returning.push(Reverse(Due(next + away, number, visitor)));
        }
    }

    /// What the events of a visitor's session share.
    pub(super) fn visit(&mut self, visitor: &Visitor) -> Visit {
        let campaign = self.rng.chance(0.3).then(|| self.rng.below(CAMPAIGNS.len() as u64));
        let campaign = campaign.map(|index| &CAMPAIGNS[index as usize]);
        let clicked = campaign.is_some_and(|campaign| campaign.medium == "cpc");
        Visit {
            site: self.site.clone(),
            visitor_id: visitor.device.clone(),
            user_id: visitor.user.clone(),
            client_session: Some(self.rng.word()),
            campaign,
            click_id: clicked.then(|| self.rng.word()),
            user_agent: visitor.user_agent,
            language: visitor.language,
            consent: "granted",
        }
    }

    /// The visit of someone who refused to be recognised.
    pub(super) fn cookieless_visit(&mut self) -> Visit {
        Visit {
            site: self.site.clone(),
            visitor_id: None,
            user_id: None,
            client_session: None,
            campaign: None,
            click_id: None,
            user_agent: self.rng.pick(AGENTS),
            language: self.rng.pick(LANGUAGES),
            consent: "cookieless",
        }
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}
