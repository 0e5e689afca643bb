//! What a session shall come to, decided before any of its events exists: the outcome of each need,
//! whether the visitor buys, and which boundary the session shall touch.

use super::rng::Rng;

/// The needs of the shipped configuration, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    Delivery,
    Returns,
}

impl Need {
    pub const ALL: [Need; 2] = [Need::Delivery, Need::Returns];

    pub const fn name(self) -> &'static str {
        match self {
            Need::Delivery => "delivery",
            Need::Returns => "returns",
        }
    }

    /// The facts that answer the need.
    pub(super) const fn info_keys(self) -> &'static [&'static str] {
        match self {
            Need::Delivery => &["delivery_price", "delivery_time"],
            Need::Returns => &["returns"],
        }
    }
}

/// How the episode of a need ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

    pub(super) const fn is_found(self) -> bool {
        matches!(self, Outcome::FoundInTime | Outcome::FoundLate)
    }

    const fn is_loss(self) -> bool {
        matches!(self, Outcome::Abandoned | Outcome::GaveUp)
    }
}

/// What a need shall come to in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// No page of the session raises it.
    Absent,
    /// Its answer is seen before a page could raise it.
    Met,
    Raised(Outcome),
}

impl Fate {
    pub(super) fn is(self, outcome: Outcome) -> bool {
        self == Fate::Raised(outcome)
    }

    pub(super) fn is_loss(self) -> bool {
        matches!(self, Fate::Raised(outcome) if outcome.is_loss())
    }
}

/// Which pages a session goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Pages that raise nothing.
    Browse,
    /// Product pages: raises delivery.
    Product,
    /// Product pages, then the cart: raises delivery, then returns.
    ProductThenCart,
    /// Straight to the cart: one event raises both.
    Cart,
    /// An order from the account page, then a product page: raised after the conversion.
    Reorder,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Intent {
    pub(super) route: Route,
    pub(super) delivery: Fate,
    pub(super) returns: Fate,
    /// Buys after the pages that raise needs.
    pub(super) buys: bool,
    /// Most events that a visitor idles away on a page.
    pub(super) idle_max: i64,
}

impl Intent {
    pub(super) fn fate(&self, need: Need) -> Fate {
        match need {
            Need::Delivery => self.delivery,
            Need::Returns => self.returns,
        }
    }

    fn new(route: Route, delivery: Fate, returns: Fate) -> Intent {
        Intent { route, delivery, returns, buys: false, idle_max: 0 }
    }
}

const FOUND_IN_TIME: Fate = Fate::Raised(Outcome::FoundInTime);
const FOUND_LATE: Fate = Fate::Raised(Outcome::FoundLate);
const CONVERTED_WITHOUT: Fate = Fate::Raised(Outcome::ConvertedWithout);
const ABANDONED: Fate = Fate::Raised(Outcome::Abandoned);
const GAVE_UP: Fate = Fate::Raised(Outcome::GaveUp);

/// An intent whose parts agree with each other: nobody buys and gives up, and who leaves right on
/// the raising page has not gone on from it for the other need.
pub(super) fn choose(rng: &mut Rng) -> Intent {
    let route = rng.weighted(&[
        (24, Route::Browse),
        (36, Route::Product),
        (28, Route::ProductThenCart),
        (8, Route::Cart),
        (4, Route::Reorder),
    ]);
    let mut intent = match route {
        Route::Browse => Intent::new(route, Fate::Absent, Fate::Absent),
        Route::Product => Intent::new(route, any_fate(rng, &[]), Fate::Absent),
        Route::ProductThenCart => product_then_cart(rng),
        Route::Cart => cart(rng),
        Route::Reorder => {
            let delivery = any_fate(rng, &[CONVERTED_WITHOUT]);
            Intent::new(route, delivery, Fate::Absent)
        }
    };
    let lost = Need::ALL.iter().any(|need| intent.fate(*need).is_loss());
    let converted = Need::ALL.iter().any(|need| intent.fate(*need).is(Outcome::ConvertedWithout));
    let may_buy = !lost && !matches!(route, Route::Browse | Route::Reorder);
    intent.buys = converted || may_buy && rng.chance(0.3);
    intent.idle_max = rng.weighted(&[(30, 0), (42, 1), (18, 3), (7, 6), (3, 12)]);
    intent
}

fn any_fate(rng: &mut Rng, barred: &[Fate]) -> Fate {
    let weights = [
        (8, Fate::Met),
        (34, FOUND_IN_TIME),
        (16, FOUND_LATE),
        (18, ABANDONED),
        (14, GAVE_UP),
        (10, CONVERTED_WITHOUT),
    ];
    loop {
        let fate = rng.weighted(&weights);
        if !barred.contains(&fate) {
            return fate;
        }
    }
}

fn product_then_cart(rng: &mut Rng) -> Intent {
    let delivery = any_fate(rng, &[ABANDONED]);
    let returns = match delivery {
        GAVE_UP => any_fate(rng, &[CONVERTED_WITHOUT]),
        CONVERTED_WITHOUT => any_fate(rng, &[ABANDONED, GAVE_UP]),
        _ => any_fate(rng, &[]),
    };
    Intent::new(Route::ProductThenCart, delivery, returns)
}

fn cart(rng: &mut Rng) -> Intent {
    let delivery = any_fate(rng, &[]);
    let returns = match delivery {
        ABANDONED => any_fate(rng, &[CONVERTED_WITHOUT, GAVE_UP]),
        GAVE_UP => any_fate(rng, &[CONVERTED_WITHOUT, ABANDONED]),
        CONVERTED_WITHOUT => any_fate(rng, &[ABANDONED, GAVE_UP]),
        _ => any_fate(rng, &[]),
    };
    Intent::new(Route::Cart, delivery, returns)
}
