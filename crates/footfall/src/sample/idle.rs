//! What visitors do besides: pages and events that raise, answer and end nothing, ties, errors,
//! searches, rage clicks, hidden pages. Outcomes are left to the journeys.

use super::catalog::{ERRORS, SEARCH_TERMS, SECTIONS, TARGETS};
use super::event::{Details, PageType, Search};
use super::intent::Need;
use super::journey::has_room;
use super::script::Script;

/// A page that raises no need.
pub(super) fn calm_page(script: &mut Script) {
    let kinds = [
        (30, PageType::Home),
        (35, PageType::Category),
        (25, PageType::Search),
        (10, PageType::Content),
    ];
    let kind = script.rng.weighted(&kinds);
    script.open(kind);
    if kind == PageType::Search {
        look_up(script);
    }
}

fn look_up(script: &mut Script) {
    let results = if script.rng.chance(0.2) { 0 } else { script.rng.skewed(1, 400) as u32 };
    let search = Search { id: script.rng.word(), term: script.rng.pick(SEARCH_TERMS), results };
    script.beat();
    script.emit("view_search_results", Details { search: Some(search), ..Details::default() });
}

/// A product page that a browser loaded ahead of time: seen by nobody, so it raises nothing.
pub(super) fn prerendered(script: &mut Script) {
    script.think();
    let details = Details { visible_ms: Some(0), ..Details::default() };
    script.open_with(PageType::Product, details, false);
}

/// Idles on the current page for at most `events_max` acts.
pub(super) fn dwell(script: &mut Script, events_max: i64) {
    for _ in 0..script.rng.between(0, events_max) {
        if !has_room(script) {
            return;
        }
        script.beat();
        act(script);
    }
}

#[derive(Clone, Copy)]
enum Act {
    Scroll,
    ShowOther,
    ShowTooShort,
    ShowFree,
    Click,
    Vitals,
    Heartbeat,
    Hidden,
    Tie,
    Rage,
    Error,
    LogIn,
}

fn act(script: &mut Script) {
    let acts = [
        (26, Act::Scroll),
        (20, Act::ShowOther),
        (8, Act::ShowTooShort),
        (8, Act::ShowFree),
        (14, Act::Click),
        (6, Act::Vitals),
        (5, Act::Heartbeat),
        (3, Act::Hidden),
        (4, Act::Tie),
        (2, Act::Rage),
        (2, Act::Error),
        (2, Act::LogIn),
    ];
    match script.rng.weighted(&acts) {
        Act::Scroll => scroll(script),
        Act::ShowOther => {
            let section = script.rng.pick(SECTIONS);
            script.show_other(section);
        }
        Act::ShowTooShort => {
            let need = script.rng.pick(&Need::ALL);
            let visible_ms = script.rng.pick(&[149, 149, 20, 0]);
            script.show(need, visible_ms, false);
        }
        Act::ShowFree => show_free(script),
        Act::Click => {
            let target = script.rng.pick(TARGETS);
            script.click(target);
        }
        Act::Vitals => script.web_vitals(),
        Act::Heartbeat => {
            let details = Details { visible_ms: Some(15_000), ..Details::default() };
            script.emit("heartbeat", details);
        }
        Act::Hidden => {
            let after = script.rng.between(1, script.pace.beat_max);
            script.emit_hidden(after);
        }
        Act::Tie => tie(script),
        Act::Rage => rage(script),
        Act::Error => {
            let error = Some(script.rng.pick(ERRORS));
            let name = script.rng.pick(&["error", "exception"]);
            script.emit(name, Details { error, ..Details::default() });
        }
        Act::LogIn => {
            let user = format!("kunde-{}ß", script.rng.below(5_000));
            script.log_in(user.into());
        }
    }
}

fn scroll(script: &mut Script) {
    let depth = Some(script.rng.between(5, 100) as u32);
    script.emit("scroll", Details { scroll_depth: depth, ..Details::default() });
}

/// Shows the answer of a need where that changes nothing.
fn show_free(script: &mut Script) {
    let need = script.rng.pick(&Need::ALL);
    if script.is_free(need) {
        let visible_ms = script.rng.between(150, 5_000) as u32;
        script.show(need, visible_ms, false);
    }
}

/// Events of one microsecond: apart in `seq`, and apart in nothing but their ids.
fn tie(script: &mut Script) {
    scroll(script);
    script.show_other("teaser");
    script.emit_tied("section_exposed", Details { section: Some("hero"), ..Details::default() });
}

/// Three to five clicks on one spot within a second.
fn rage(script: &mut Script) {
    let clicks = script.rng.between(3, 5);
    let (x, y) = (script.rng.between(0, 1_000) as i32, script.rng.between(0, 900) as i32);
    for _ in 0..clicks {
        let (dx, dy) = (script.rng.between(0, 9) as i32, script.rng.between(0, 9) as i32);
        script.click_at("#add-to-cart", Some((x + dx, y + dy)));
        let pause = script.rng.between(40_000, 180_000);
        script.wait(pause);
    }
}
