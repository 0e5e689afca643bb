//! Rage clicks: three clicks on one target within a second and 30 px (docs/semantics.md, section 6).

use footfall_event::Micros;
use serde::{Deserialize, Serialize};

use crate::{Fact, Hit};

const CLICKS: usize = 3;
const WITHIN: Micros = Micros::SECOND;
/// PostHog's bound.
const RADIUS_PX: i64 = 30;

/// The latest clicks of a session that may be part of a rage click, until one was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RageClicks {
    seen: bool,
    latest: Vec<Click>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Click {
    time: Micros,
    target: Option<Box<str>>,
    place: Option<(i64, i64)>,
}

impl RageClicks {
    pub fn seen(&self) -> bool {
        self.seen
    }

    /// Takes in a click that may be part of one. A click elsewhere breaks the run; one without a
    /// place takes its turn and makes no claim.
    pub fn click(&mut self, hit: &Hit) {
        if self.seen {
            return;
        }
        if self.latest.len() == CLICKS {
            self.latest.remove(0);
        }
        let target = hit.fact(Fact::Target).map(Into::into);
        self.latest.push(Click { time: hit.event_time, target, place: hit.place });
        self.seen =
            self.latest.len() == CLICKS && self.latest.iter().all(|c| self.latest[0].is_near(c));
        if self.seen {
            self.latest = Vec::new();
        }
    }
}

impl Click {
    fn is_near(&self, other: &Click) -> bool {
        let (Some((x, y)), Some((other_x, other_y))) = (self.place, other.place) else {
            return false;
        };
        let (dx, dy) = (x.saturating_sub(other_x), y.saturating_sub(other_y));
        self.target == other.target
            && other.time - self.time <= WITHIN
            && dx.saturating_mul(dx).saturating_add(dy.saturating_mul(dy)) <= RADIUS_PX * RADIUS_PX
    }
}
