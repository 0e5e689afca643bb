//! The shipped rules and their variations, and conditions over the fields of the test language:
//!
//! ```text
//! name:page_view&type:product|cart      both hold; each one of the values
//! visible>=150                          a number
//! target:*                              present
//! ```
//!
//! As in SQL, what looks at an absent field does not hold.

use footfall_event::Micros;
use footfall_sessionizer::{Bits, Conditions, Need, Rules, Step};

use super::language::{Event, Setting, span};

/// config/footfall.toml's rules.
pub fn shipped() -> Rules {
    let step = |name: &str| Step { name: name.into(), when: format!("name:{name}") };
    let steps = ["view_item", "add_to_cart", "begin_checkout", "add_shipping_info"];
    let steps = steps.into_iter().chain(["add_payment_info", "purchase"]);
    let need = |name: &str, types: &str, infos: &str| Need {
        name: name.into(),
        raised_by: format!("name:page_view&type:{types}"),
        found_by: format!("name:info_exposed&info:{infos}&visible>=150"),
        within: span("3s"),
        max_clicks: 2,
    };
    Rules {
        session_gap: span("30m"),
        session_cap: span("24h"),
        allowed_lateness: span("10s"),
        signal_grace: span("500ms"),
        dedupe_window: span("20m"),
        dedupe_ids_max: 20_000_000,
        open_sessions_max: 1_000_000,
        held_events_max: 1_000_000,
        held_events_per_visitor_max: 10_000,
        events_per_session_max: 10_000,
        slow_page_ms: 4_000,
        conditions: Conditions {
            conversion: "name:purchase".into(),
            page_view: "name:page_view|screen_view|view_item".into(),
            error: "name:error|exception".into(),
            zero_search: "results:0".into(),
            hidden: "name:heartbeat&visible:0".into(),
            rage_target: "name:click&target:*".into(),
        },
        steps: steps.map(step).collect(),
        needs: vec![
            need("delivery", "product|cart|checkout", "delivery_price|delivery_time"),
            need("returns", "cart|checkout", "returns"),
        ],
    }
}

/// `rules` with `settings` on top, such as `cap=1h`, `need.price.within=5s` (which declares the need
/// if there is none) or `needs=none`.
pub fn with(mut rules: Rules, settings: &[Setting]) -> Rules {
    for (key, value) in settings {
        set(&mut rules, key, value);
    }
    rules
}

fn set(rules: &mut Rules, key: &str, value: &str) {
    let number = || value.parse::<u64>().unwrap();
    match key.split('.').collect::<Vec<_>>()[..] {
        ["gap"] => rules.session_gap = span(value),
        ["cap"] => rules.session_cap = span(value),
        ["lateness"] => rules.allowed_lateness = span(value),
        ["grace"] => rules.signal_grace = span(value),
        ["window"] => rules.dedupe_window = span(value),
        ["ids_max"] => rules.dedupe_ids_max = number(),
        ["open_max"] => rules.open_sessions_max = number(),
        ["held_max"] => rules.held_events_max = number(),
        ["held_own_max"] => rules.held_events_per_visitor_max = number(),
        ["events_max"] => rules.events_per_session_max = number(),
        ["conversion"] => rules.conditions.conversion = value.into(),
        ["error"] => rules.conditions.error = value.into(),
        ["hidden"] => rules.conditions.hidden = value.into(),
        ["needs"] => rules.needs.clear(),
        ["need", name, what] => set_need(rules, name, what, value),
        _ => panic!("`{key}` is no setting"),
    }
}

fn set_need(rules: &mut Rules, name: &str, what: &str, value: &str) {
    if !rules.needs.iter().any(|need| need.name == name) {
        rules.needs.push(Need {
            name: name.into(),
            raised_by: String::new(),
            found_by: String::new(),
            within: Micros(0),
            max_clicks: 0,
        });
    }
    for need in rules.needs.iter_mut().filter(|need| need.name == name) {
        match what {
            "raised" => need.raised_by = value.into(),
            "found" => need.found_by = value.into(),
            "within" => need.within = span(value),
            "clicks" => need.max_clicks = value.parse().unwrap(),
            _ => panic!("`{what}` is no setting of a need"),
        }
    }
}

pub fn bits(rules: &Rules, event: &Event) -> Bits {
    let mut bits = Bits::default();
    for (at, (_, condition)) in rules.expressions().iter().enumerate() {
        if condition.split('&').all(|part| holds(part, event)) {
            bits.set(at);
        }
    }
    bits
}

fn holds(part: &str, event: &Event) -> bool {
    if let Some((key, least)) = part.split_once(">=") {
        return event.number(key).is_some_and(|number| number >= least.parse().unwrap());
    }
    let Some((key, values)) = part.split_once(':') else { return false };
    let field = event.field(key);
    field.is_some_and(|field| values == "*" || values.split('|').any(|value| value == field))
}
