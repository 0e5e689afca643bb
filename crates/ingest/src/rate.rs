//! How fast a visitor or a key may send. What comes beyond it is kept and flagged: whoever sends a thousand events at once
//! is no person, but a shop that is visited a lot is no fault of its visitors.

use std::hash::BuildHasher;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use footfall_event::{Event, Text};
use governor::clock::DefaultClock;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use hashbrown::DefaultHashBuilder;

/// What stands in `bot` of an event that came too fast.
pub const FLAG: &str = "rate";

/// Visitors whose rate is known at most, and those of one sweep; while there are more nothing is flagged.
const KNOWN_MAX: usize = 1_000_000;
/// Behind so many events at least, and at most, those are forgotten whose rate is as if they had sent nothing: soon, so
/// that those who are known fit into a processor's cache, but not before there are as many events as were known.
const SWEPT_EVERY: (u64, u64) = (10_000, 100_000);

/// Events at once, and events a second from then on; no bound where either is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    pub burst: u32,
    pub per_second: u32,
}

/// Whose rates are bounded, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateSettings {
    pub visitor: Rate,
    /// Of all that comes with a site's key.
    pub key: Rate,
}

impl Default for RateSettings {
    fn default() -> RateSettings {
        RateSettings { visitor: Rate { burst: 1_000, per_second: 100 }, key: Rate::default() }
    }
}

/// The rates of those who sent lately.
pub struct Rates {
    settings: RateSettings,
    visitors: Option<Limiter>,
    keys: Option<Limiter>,
    hasher: DefaultHashBuilder,
    events: AtomicU64,
    /// Which event is the next to sweep.
    sweeps_at: AtomicU64,
    is_full: AtomicBool,
}

type Limiter = RateLimiter<u64, DashMapStateStore<u64, DefaultHashBuilder>, DefaultClock>;

/// As it was asked for.
impl std::fmt::Debug for Rates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.settings.fmt(f)
    }
}

impl Default for Rates {
    fn default() -> Rates {
        Rates::new(RateSettings::default())
    }
}

impl Rates {
    pub fn new(settings: RateSettings) -> Rates {
        let limiter = |rate: Rate| {
            let quota = Quota::per_second(NonZeroU32::new(rate.per_second)?);
            let quota = quota.allow_burst(NonZeroU32::new(rate.burst)?);
            let (clock, hasher) = (DefaultClock::default(), DefaultHashBuilder::default());
            Some(RateLimiter::dashmap_with_clock_and_hasher(quota, clock, hasher))
        };
        let (visitors, keys) = (limiter(settings.visitor), limiter(settings.key));
        Rates {
            settings,
            visitors,
            keys,
            hasher: DefaultHashBuilder::default(),
            events: AtomicU64::new(0),
            sweeps_at: AtomicU64::new(SWEPT_EVERY.0),
            is_full: AtomicBool::new(false),
        }
    }

    /// Flags an event that came too fast, if nothing flags it yet.
    pub fn flag(&self, event: &mut Event<'_>) {
        self.sweep();
        if self.is_full.load(Ordering::Relaxed) {
            return;
        }
        let site = event.text(Text::Site).unwrap_or_default();
        // A user who is no visitor yet will be one by this id.
        let visitor = event.text(Text::VisitorId).or(event.text(Text::UserId));
        let is_over = |limiter: &Limiter, of| limiter.check_key(&of).is_err();
        let of_key =
            self.keys.as_ref().is_some_and(|keys| is_over(keys, self.hasher.hash_one(site)));
        let of_visitor = self.visitors.as_ref().zip(visitor).is_some_and(|(visitors, visitor)| {
            is_over(visitors, self.hasher.hash_one((site, visitor)))
        });
        if (of_key || of_visitor) && event.text(Text::Bot).is_none() {
            event.set_text(Text::Bot, FLAG);
        }
    }

    fn sweep(&self) {
        let event = self.events.fetch_add(1, Ordering::Relaxed);
        let due = self.sweeps_at.load(Ordering::Relaxed);
        let relaxed = Ordering::Relaxed;
        // One of those who come at once sweeps; however many come meanwhile, the next is due behind them.
        if event >= due && self.sweeps_at.compare_exchange(due, u64::MAX, relaxed, relaxed).is_ok()
        {
            let limiters = || self.visitors.iter().chain(&self.keys);
            limiters().for_each(Limiter::retain_recent);
            let known: usize = limiters().map(Limiter::len).sum();
            self.is_full.store(known > KNOWN_MAX, Ordering::Relaxed);
            let (least, most) = SWEPT_EVERY;
            let now = self.events.load(Ordering::Relaxed);
            self.sweeps_at.store(now + (known as u64).clamp(least, most), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flagged(rates: &Rates, site: &'static str, visitor: &'static str) -> bool {
        let mut event = Event::default();
        event.set_text(Text::Site, site);
        event.set_text(Text::VisitorId, visitor);
        rates.flag(&mut event);
        event.text(Text::Bot) == Some(FLAG)
    }

    #[test]
    fn a_visitor_who_sends_too_fast_is_flagged_and_no_other() {
        let visitor = Rate { burst: 3, per_second: 1 };
        let rates = Rates::new(RateSettings { visitor, key: Rate::default() });
        let found: Vec<bool> = (0..5).map(|_| flagged(&rates, "shop", "v")).collect();
        assert_eq!(found, [false, false, false, true, true]);
        assert!(!flagged(&rates, "shop", "w") && !flagged(&rates, "outlet", "v"));
        // Without a visitor nobody is too fast.
        assert!((0..9).all(|_| !flagged(&rates, "shop", "")));
    }

    #[test]
    fn a_key_has_a_rate_of_its_own() {
        let key = Rate { burst: 4, per_second: 1 };
        let rates = Rates::new(RateSettings { visitor: Rate::default(), key });
        let visitors = ["a", "b", "c", "d", "e"];
        let found = visitors.map(|visitor| flagged(&rates, "shop", visitor));
        assert_eq!(found, [false, false, false, false, true]);
        assert!(!flagged(&rates, "outlet", "e"));
    }

    /// Each has sent an event, which at this rate is forgotten within a microsecond.
    #[test]
    fn those_who_may_send_as_much_as_ever_are_forgotten_again_and_again() {
        let visitor = Rate { burst: 1_000, per_second: 1_000_000 };
        let rates = Rates::new(RateSettings { visitor, key: Rate::default() });
        let mut most = 0;
        for number in 0..5 * SWEPT_EVERY.0 {
            let mut event = Event::default();
            event.set_text(Text::Site, "shop");
            event.set_text(Text::VisitorId, number.to_string());
            rates.flag(&mut event);
            most = most.max(rates.visitors.as_ref().unwrap().len());
        }
        assert!(most <= SWEPT_EVERY.0 as usize + 1_000, "{most} were known at once");
    }

    /// More came while it swept than the next was to be behind.
    #[test]
    fn a_sweep_that_took_long_is_not_the_last() {
        let rates = Rates::default();
        rates.events.store(rates.sweeps_at.load(Ordering::Relaxed) + 50_000, Ordering::Relaxed);
        assert!(!flagged(&rates, "shop", "v"));
        let due = rates.sweeps_at.load(Ordering::Relaxed);
        assert!(due > rates.events.load(Ordering::Relaxed) && due < u64::MAX, "{due}");
    }

    #[test]
    fn a_reason_that_is_there_stays() {
        let rates = Rates::new(RateSettings {
            visitor: Rate { burst: 1, per_second: 1 },
            key: Rate::default(),
        });
        for _ in 0..3 {
            let mut event = Event::default();
            event.set_text(Text::VisitorId, "v");
            event.set_text(Text::Bot, "ua:Googlebot");
            rates.flag(&mut event);
            assert_eq!(event.text(Text::Bot), Some("ua:Googlebot"));
        }
    }
}
