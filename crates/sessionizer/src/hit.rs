//! An event as the fold sees it: its place, its time, the conditions it fulfils and the few columns
//! that sessions keep.

use footfall_event::{EventKey, Micros, Money, Offset};

use crate::texts::Texts;
use crate::{Bits, RulesId};

macro_rules! facts {
    ($($variant:ident,)*) => {
        /// A text column that sessions, needs or page views look at.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fact { $($variant,)* }

        impl Fact {
            pub const ALL: &'static [Fact] = &[$(Fact::$variant,)*];
        }
    };
}

facts! {
    Site, VisitorId, EventId, EventName,
    PageViewId, PageUrl, PagePath, PageType, Section, Target,
    OrderId, Currency, UserId, Channel,
    UtmSource, UtmMedium, UtmCampaign, UtmTerm, UtmContent,
    DeviceType, Country, Bot,
}

/// An event's text facts.
#[derive(Clone, Debug)]
pub struct Facts(Texts<{ Fact::ALL.len() }>);

impl Facts {
    /// Packs what `text` knows of each fact.
    pub fn pack<'t>(mut text: impl FnMut(Fact) -> Option<&'t str>) -> Facts {
        Facts(Texts::pack(|i| text(Fact::ALL[i])))
    }
}

/// An accepted event, ready to be folded.
#[derive(Clone, Debug)]
pub struct Hit {
    pub offset: Offset,
    pub event_time: Micros,
    pub seq: i64,
    /// The rules in force at its record, and its conditions under them.
    pub rules: RulesId,
    pub bits: Bits,
    /// Its conditions under other rules that open sessions still follow.
    pub other_bits: Vec<(RulesId, Bits)>,
    pub visible_ms: Option<i64>,
    pub lcp_ms: Option<i64>,
    pub place: Option<(i64, i64)>,
    pub value: Option<Money>,
    pub facts: Facts,
}

impl Hit {
    pub fn fact(&self, fact: Fact) -> Option<&str> {
        self.facts.0.at(fact as usize)
    }

    /// The event's conditions under `rules`; none where nobody evaluated them.
    pub fn bits_under(&self, rules: RulesId) -> Bits {
        if rules == self.rules {
            return self.bits;
        }
        let other = self.other_bits.iter().find(|(id, _)| *id == rules);
        other.map_or_else(Bits::default, |(_, bits)| *bits)
    }

    /// The key by which a resend of the event is known.
    pub fn key(&self) -> EventKey {
        let text = |fact| self.fact(fact).unwrap_or_default();
        EventKey::of_event(text(Fact::Site), self.fact(Fact::VisitorId), text(Fact::EventId))
    }

    pub fn is_click(&self) -> bool {
        self.fact(Fact::EventName) == Some("click")
    }

    pub fn is_refund(&self) -> bool {
        self.fact(Fact::EventName) == Some("refund")
    }

    /// (site, visitor), or `None` for an event without a visitor.
    pub fn visitor(&self) -> Option<(&str, &str)> {
        Some((self.fact(Fact::Site)?, self.fact(Fact::VisitorId)?))
    }
}
