//! An event as the fold sees it: its place, its time, the conditions it fulfils and the few columns
//! that sessions keep.

use footfall_event::{EventKey, Micros, Money, Offset};

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

const FACTS: usize = Fact::ALL.len();

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
        self.facts.at(fact)
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

/// An event's text facts in one allocation, as the fold holds some 50,000 events at 5,000/s.
#[derive(Clone, Debug)]
pub struct Facts {
    texts: Box<str>,
    /// Where each text ends; an absent one ends where it begins and has no bit in `present`.
    ends: [u32; FACTS],
    present: u32,
}

impl Facts {
    /// Packs what `text` knows of each fact.
    pub fn pack<'t>(mut text: impl FnMut(Fact) -> Option<&'t str>) -> Facts {
        let mut found = [None; FACTS];
        let mut bytes = 0;
        for fact in Fact::ALL {
            found[*fact as usize] = text(*fact);
            bytes += found[*fact as usize].map_or(0, str::len);
        }
        let mut texts = String::with_capacity(bytes);
        let (mut ends, mut present) = ([0; FACTS], 0);
        for (i, text) in found.into_iter().enumerate() {
            if let Some(text) = text {
                texts.push_str(text);
                present |= 1 << i;
            }
            ends[i] = texts.len() as u32;
        }
        Facts { texts: texts.into_boxed_str(), ends, present }
    }

    fn at(&self, fact: Fact) -> Option<&str> {
        let i = fact as usize;
        if self.present >> i & 1 == 0 {
            return None;
        }
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        self.texts.get(start..self.ends[i] as usize)
    }
}
