//! Leads an ordinary session to what it was meant to come to: which pages, how long, and what is
//! seen and clicked there. Sessions that touch a boundary are left to the edges.

use super::event::PageType;
use super::intent::{Fate, Intent, Need, Outcome, Route};
use super::script::Script;
use super::session::{MAX_CLICKS, WITHIN};
use super::{idle, trade};

/// Longest session in events; a session that has come so far is led to its end.
const EVENTS_MAX: usize = 56;

pub(super) fn walk(script: &mut Script, intent: &Intent) {
    for need in Need::ALL {
        if intent.fate(need) == Fate::Absent {
            script.set_free(need);
        }
    }
    enter(script, intent);
    match intent.route {
        Route::Browse => {}
        Route::Product | Route::Reorder => product_pages(script, intent),
        Route::ProductThenCart => {
            product_pages(script, intent);
            trade::add_to_cart(script);
            script.think();
            cart_page(script, intent);
        }
        Route::Cart => cart_page(script, intent),
    }
    if intent.buys {
        check_out(script, intent);
    }
    leave(script, intent);
}

/// Pages that raise nothing; the answers of needs that shall be met are seen here.
fn enter(script: &mut Script, intent: &Intent) {
    let met: Vec<Need> =
        Need::ALL.into_iter().filter(|need| intent.fate(*need) == Fate::Met).collect();
    let mut pages = script.rng.weighted(&[(55, 0), (30, 1), (10, 2), (5, 3)]);
    if intent.route == Route::Browse || !met.is_empty() {
        pages = pages.max(1);
    }
    for index in 0..pages {
        idle::calm_page(script);
        if index == 0 {
            for need in &met {
                script.beat();
                let visible_ms = script.rng.between(150, 4_000) as u32;
                script.show(*need, visible_ms, false);
                script.set_free(*need);
            }
        }
        idle::dwell(script, intent.idle_max);
        move_on(script);
    }
    if intent.route == Route::Reorder {
        script.open(PageType::Account);
        script.beat();
        trade::purchase(script);
        script.think();
    }
}

/// One product page that raises delivery, and in some sessions more after it.
fn product_pages(script: &mut Script, intent: &Intent) {
    script.open(PageType::Product);
    raise(script, intent, &[Need::Delivery]);
    if script.rng.chance(0.5) {
        trade::view_item(script);
    }
    let finds = finds_here(script, intent, &[Need::Delivery]);
    search(script, finds);
    idle::dwell(script, intent.idle_max);
    let wander = match intent.delivery {
        fate if fate.is(Outcome::Abandoned) => 0,
        fate if fate.is(Outcome::GaveUp) && intent.route != Route::ProductThenCart => {
            script.rng.between(1, 3)
        }
        _ => script.rng.skewed(0, 4),
    };
    for _ in 0..wander {
        move_on(script);
        let kind = script.rng.pick(&[PageType::Product, PageType::Product, PageType::Category]);
        script.open(kind);
        if kind == PageType::Product && script.rng.chance(0.5) {
            trade::view_item(script);
        }
        idle::dwell(script, intent.idle_max);
    }
}

/// The cart raises returns, and delivery too where no product page did.
fn cart_page(script: &mut Script, intent: &Intent) {
    script.open(PageType::Cart);
    let raised: &[Need] = match intent.route {
        Route::Cart => &[Need::Delivery, Need::Returns],
        _ => &[Need::Returns],
    };
    raise(script, intent, raised);
    let finds = finds_here(script, intent, raised);
    search(script, finds);
    idle::dwell(script, intent.idle_max);
    let given_up = raised.iter().any(|need| intent.fate(*need).is(Outcome::GaveUp));
    if given_up {
        move_on(script);
        let kinds = [PageType::Product, PageType::Checkout, PageType::Content, PageType::Home];
        let kind = script.rng.pick(&kinds);
        script.open(kind);
        idle::dwell(script, intent.idle_max);
    }
}

fn check_out(script: &mut Script, intent: &Intent) {
    if intent.route != Route::Product {
        move_on(script);
        script.open(PageType::Checkout);
        script.beat();
        trade::checkout_steps(script);
    }
    script.beat();
    trade::purchase(script);
    if script.rng.chance(0.8) {
        script.beat();
        script.open(PageType::Confirmation);
        trade::after_purchase(script);
        idle::dwell(script, intent.idle_max);
    }
}

fn leave(script: &mut Script, intent: &Intent) {
    let lost_here = Need::ALL.iter().any(|need| intent.fate(*need).is(Outcome::Abandoned));
    if intent.route == Route::Browse && script.rng.chance(0.15) {
        idle::prerendered(script);
    }
    if !lost_here && script.rng.chance(0.1) {
        script.think();
        idle::calm_page(script);
        idle::dwell(script, intent.idle_max);
    }
    if script.rng.chance(0.2) {
        script.beat();
        script.emit("page_hide", Default::default());
    }
}

/// A click that leads to the next page, as most do, and the time until it is there.
fn move_on(script: &mut Script) {
    script.think();
    if script.rng.chance(0.5) {
        script.click("nav>ul");
        script.beat();
    }
}

fn raise(script: &mut Script, intent: &Intent, needs: &[Need]) {
    for need in needs {
        if let Fate::Raised(outcome) = intent.fate(*need) {
            script.look_for(*need, outcome);
        }
    }
}

/// When the answer of a need is seen, and how many clicks that takes on this page.
struct Find {
    need: Need,
    at: i64,
    clicks: u32,
}

/// The finds of the needs that this page raised, and of those left over from an earlier page;
/// in order of time. A find that shall be late may be left to a later page.
fn finds_here(script: &mut Script, intent: &Intent, raised_here: &[Need]) -> Vec<Find> {
    let mut finds = Vec::new();
    let alone = raised_here.len() == 1;
    for need in Need::ALL {
        let (Fate::Raised(outcome), Some(raised_at)) = (intent.fate(need), script.raised_at(need))
        else {
            continue;
        };
        if !outcome.is_found() || script.is_free(need) {
            continue;
        }
        let find = if !raised_here.contains(&need) {
            let after = script.rng.skewed(1, script.pace.search_max);
            let at = script.now().max(raised_at + WITHIN) + after;
            Find { need, at, clicks: 0 }
        } else if outcome == Outcome::FoundInTime {
            let wait_max = if alone { WITHIN } else { WITHIN / 2 - 1 };
            let at = raised_at + script.rng.between(50_000, wait_max);
            Find { need, at, clicks: script.rng.between(0, i64::from(MAX_CLICKS)) as u32 }
        } else {
            let may_wait = intent.route == Route::ProductThenCart && alone;
            if may_wait && need == Need::Delivery && script.rng.chance(0.3) {
                continue;
            }
            late_find(script, need, raised_at)
        };
        finds.push(find);
    }
    finds.sort_by_key(|find| find.at);
    finds
}

/// Late by time, or in time with too many clicks; in either case later than half of the wait, so
/// that a find in time on the same page comes before it.
fn late_find(script: &mut Script, need: Need, raised_at: i64) -> Find {
    if script.rng.chance(0.4) {
        let clicks = MAX_CLICKS + script.rng.between(1, 3) as u32;
        let at = raised_at + script.rng.between(WITHIN / 2, WITHIN);
        return Find { need, at, clicks };
    }
    let at = raised_at + WITHIN + script.rng.skewed(1, script.pace.search_max - WITHIN);
    Find { need, at, clicks: script.rng.skewed(0, 4) as u32 }
}

/// Clicks through the page until each fact is seen; the clicks of an earlier find count for a later
/// one too.
fn search(script: &mut Script, finds: Vec<Find>) {
    let mut clicked = 0;
    for find in finds {
        let clicks = find.clicks.saturating_sub(clicked);
        let step = (find.at - script.now()).max(0) / i64::from(clicks + 1);
        for _ in 0..clicks {
            script.wait(step);
            script.click("#tabs .details");
        }
        clicked += clicks;
        script.until(find.at);
        let visible_ms = script.rng.between(150, 6_000) as u32;
        script.show(find.need, visible_ms, false);
        script.found(find.need, find.at);
    }
}

/// Whether the session has room for one more event.
pub(super) fn has_room(script: &Script) -> bool {
    script.events() < EVENTS_MAX
}
