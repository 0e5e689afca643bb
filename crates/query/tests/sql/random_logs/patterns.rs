//! `sequence_match`.

use std::collections::BTreeMap;

use rand::Rng;
use serde_json::json;

use super::log::{self, Condition, Event, compare, condition, in_order};

const SEED: u64 = 91;
/// How often each pattern is asked for, with other conditions.
const TIMES: usize = 4;

#[derive(Clone, Copy)]
enum Part {
    /// One that fulfils the condition of this number, from 0.
    Event(usize),
    Any,
    /// Any number, also none.
    Many,
    /// Any number between two that lie so far apart.
    Apart(fn(i64) -> bool),
}

use Part::{Any, Apart, Event as On, Many};

const PATTERNS: [(&str, &[Part]); 13] = [
    ("(?1)", &[On(0)]),
    ("(?1)(?2)", &[On(0), On(1)]),
    ("(?1)(?1)", &[On(0), On(0)]),
    ("(?1).*(?2)", &[On(0), Many, On(1)]),
    ("(?1).(?2)", &[On(0), Any, On(1)]),
    ("(?2).*(?1)(?2)", &[On(1), Many, On(0), On(1)]),
    ("(?1).*(?2).*(?1)", &[On(0), Many, On(1), Many, On(0)]),
    ("(?1)(?t<=1)(?2)", &[On(0), Apart(|us| us <= 1_000_000), On(1)]),
    ("(?1)(?t<1)(?2)", &[On(0), Apart(|us| us < 1_000_000), On(1)]),
    ("(?1)(?t>=2)(?2)", &[On(0), Apart(|us| us >= 2_000_000), On(1)]),
    ("(?1)(?t>2)(?3)", &[On(0), Apart(|us| us > 2_000_000), On(2)]),
    ("(?1)(?t==1)(?2)", &[On(0), Apart(|us| us == 1_000_000), On(1)]),
    ("(?3)..(?t<=86400).", &[On(2), Any, Any, Apart(|us| us <= 86_400_000_000), Any]),
];

/// Whether `parts` follow event number `place` of `log`.
fn follow(parts: &[Part], log: &[&Event], place: usize, conditions: &[Condition]) -> bool {
    let Some((part, rest)) = parts.split_first() else { return true };
    match part {
        On(_) | Any => log.get(place + 1).is_some_and(|next| {
            stands_for(part, next, conditions) && follow(rest, log, place + 1, conditions)
        }),
        Many | Apart(_) => (place + 1..log.len()).any(|next| {
            let apart_us = log[next].time_us - log[place].time_us;
            let is_apart = if let Apart(holds) = part { holds(apart_us) } else { true };
            is_apart
                && stands_for(&rest[0], log[next], conditions)
                && follow(&rest[1..], log, next, conditions)
        }),
    }
}

fn stands_for(part: &Part, event: &Event, conditions: &[Condition]) -> bool {
    match part {
        On(number) => (conditions[*number].1)(event),
        _ => true,
    }
}

#[tokio::test]
async fn a_pattern_matches_where_its_definition_does() {
    let events = log::logs();
    let service = log::lake(&events, Vec::new()).await;
    let mut rng = log::rng(SEED);
    let mut logs: BTreeMap<(&str, Option<&str>), Vec<&Event>> = BTreeMap::new();
    for event in &events {
        logs.entry((event.site, event.visitor.as_deref())).or_default().push(event);
    }
    for (pattern, parts) in PATTERNS.iter().cycle().take(PATTERNS.len() * TIMES) {
        let conditions = [0; 3].map(|_| condition(&mut rng));
        let leaves_out_bots = rng.random_ratio(1, 2);
        let mut matched = 0;
        let wanted = logs.iter().map(|((site, visitor), log)| {
            let counts = |event: &&&Event| {
                !(leaves_out_bots && event.is_bot)
                    && conditions.iter().any(|(_, holds)| holds(event))
            };
            let log: Vec<&Event> = log.iter().filter(counts).copied().collect();
            let log = in_order(&log, &conditions, &[]);
            let has_matched = (0..log.len()).any(|place| {
                stands_for(&parts[0], log[place], &conditions)
                    && follow(&parts[1..], &log, place, &conditions)
            });
            matched += usize::from(has_matched);
            json!([site, visitor, has_matched])
        });
        let wanted = wanted.collect();
        let filter = if leaves_out_bots { " FILTER (WHERE bot IS NULL)" } else { "" };
        let named = conditions.map(|(sql, _)| sql).join(", ");
        let sql = format!(
            "SELECT site, visitor_id, sequence_match('{pattern}', event_time, seq, {named}){filter} \
             FROM events GROUP BY site, visitor_id"
        );
        compare(service.rows(&sql).await, wanted, &sql);
        assert!(matched > 0, "{sql}: nothing matches");
    }
}
