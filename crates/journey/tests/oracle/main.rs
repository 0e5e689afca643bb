//! Funnels and patterns against a brute-force reading of their definitions, which shares no code with
//! them: every chain of events is made, and the best one taken. A failure prints its seed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod brute_force;

use brute_force::by_brute_force;
use footfall_journey::Hit;
use footfall_journey::funnel::{
    EXCLUSION_BIT, Entry, Event, Exclusion, Funnel, Order, Step, level,
};
use footfall_journey::pattern::Pattern;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const LOGS: u64 = 20_000;

fn events(rng: &mut SmallRng, conditions: usize, exclusions: usize, holds: u32) -> Vec<Event> {
    let mut events: Vec<Event> = (0..rng.random_range(0..9))
        .map(|_| {
            let mut bits = 0;
            for condition in 0..conditions {
                // Mostly one step an event, at times several or none.
                if rng.random_ratio(2, 5) {
                    bits |= 1 << condition;
                }
            }
            for exclusion in 0..exclusions {
                if rng.random_ratio(1, 5) {
                    bits |= 1 << (EXCLUSION_BIT + exclusion);
                }
            }
            let (time_us, seq) = (rng.random_range(0..12), rng.random_range(0..2));
            let hold = rng.random_range(0..=holds);
            let same = if holds > 0 && hold == holds { Event::NOTHING } else { hold };
            Event { hit: Hit { time_us, seq, bits }, same, label: rng.random_range(0..3) }
        })
        .collect();
    // As docs/semantics.md has it, and not as the crate compares.
    let first = |bits: u64| (0..64).find(|bit| bits & (1 << bit) != 0).unwrap_or(64);
    events.sort_by_key(|Event { hit: Hit { time_us, seq, bits }, .. }| {
        (*time_us, *seq, first(*bits), *bits)
    });
    events
}

fn funnel(rng: &mut SmallRng) -> Funnel {
    let order = [Order::Ordered, Order::Strict, Order::Any][rng.random_range(0..3)];
    let is_plain = order == Order::Any || rng.random_ratio(1, 3);
    let steps = rng.random_range(1..5);
    let step = |number: usize, rng: &mut SmallRng| match number == 0 || is_plain {
        true => Step::default(),
        false => Step {
            min_us: rng.random_range(0..3),
            max_us: rng.random_ratio(1, 2).then(|| rng.random_range(2..8)),
            optional: rng.random_ratio(1, 3),
        },
    };
    let exclusions = if is_plain || steps == 1 { 0 } else { rng.random_range(0..3) };
    Funnel {
        order,
        entry: if rng.random_ratio(1, 2) { Entry::First } else { Entry::Every },
        window_us: rng.random_range(0..12),
        steps: (0..steps).map(|number| step(number, rng)).collect(),
        exclusions: (0..exclusions)
            .map(|_| {
                let after = rng.random_range(0..steps - 1);
                Exclusion { after, before: rng.random_range(after + 1..steps) }
            })
            .collect(),
        from_us: rng.random_range(0..6),
        to_us: rng.random_range(6..14),
    }
}

#[test]
fn trials_are_those_of_a_search_through_all_chains() {
    for seed in 0..LOGS {
        let mut rng = SmallRng::seed_from_u64(seed);
        let funnel = funnel(&mut rng);
        let holds = [0, 0, 2][rng.random_range(0..3)];
        let events = events(&mut rng, funnel.steps.len(), funnel.exclusions.len(), holds);
        let trials = funnel.trials(&events).unwrap();
        let trials: Vec<_> =
            trials.into_iter().map(|trial| (trial.label, trial.times_us)).collect();
        let wanted = by_brute_force(&funnel, &events);
        assert_eq!(trials, wanted, "seed {seed}: {funnel:?} {events:?}");
    }
}

#[test]
fn a_level_is_the_most_steps_of_any_entry() {
    for seed in 0..LOGS {
        let mut rng = SmallRng::seed_from_u64(seed);
        let drawn = funnel(&mut rng);
        let steps = drawn.steps.len();
        let plain = Funnel {
            entry: Entry::Every,
            steps: vec![Step::default(); steps],
            exclusions: Vec::new(),
            from_us: i64::MIN,
            to_us: i64::MAX,
            ..drawn
        };
        let events = events(&mut rng, steps, 0, 0);
        let hits: Vec<Hit> = events.iter().map(|event| event.hit).collect();
        let wanted = by_brute_force(&plain, &events);
        let wanted = wanted.iter().map(|(_, times)| times.iter().flatten().count()).max();
        let reached = level(&hits, plain.order, plain.window_us, steps);
        assert_eq!(reached, Ok(wanted.unwrap_or(0)), "seed {seed}: {plain:?} {hits:?}");
    }
}

#[derive(Clone, Debug)]
enum Token {
    Event(usize),
    Any,
    Star,
    Time(&'static str, i64),
}

fn text(tokens: &[Token]) -> String {
    let token = |token: &Token| match token {
        Token::Event(condition) => format!("(?{})", condition + 1),
        Token::Any => ".".to_owned(),
        Token::Star => ".*".to_owned(),
        Token::Time(operator, seconds) => format!("(?t{operator}{seconds})"),
    };
    tokens.iter().map(token).collect()
}

fn tokens(rng: &mut SmallRng) -> Vec<Token> {
    let mut tokens = vec![Token::Event(rng.random_range(0..3))];
    for _ in 0..rng.random_range(0..4) {
        match rng.random_range(0..4) {
            0 => tokens.push(Token::Star),
            1 => {
                let operator = ["<=", "<", ">=", ">", "=="][rng.random_range(0..5)];
                tokens.push(Token::Time(operator, rng.random_range(0..5)));
            }
            _ => {}
        }
        let event =
            if rng.random_ratio(1, 4) { Token::Any } else { Token::Event(rng.random_range(0..3)) };
        tokens.push(event);
    }
    tokens
}

/// Whether the tokens match, the event before them being at `place`.
fn follows(tokens: &[Token], hits: &[Hit], place: usize) -> bool {
    let fulfils = |token: &Token, hit: &Hit| match token {
        Token::Event(condition) => hit.bits >> condition & 1 == 1,
        _ => true,
    };
    let later = |tokens: &[Token], apart: &dyn Fn(i64) -> bool| {
        (place + 1..hits.len()).any(|next| {
            apart(hits[next].time_us - hits[place].time_us)
                && fulfils(&tokens[0], &hits[next])
                && follows(&tokens[1..], hits, next)
        })
    };
    match tokens {
        [] => true,
        [Token::Star, rest @ ..] => later(rest, &|_| true),
        [Token::Time(operator, seconds), rest @ ..] => later(rest, &|apart| {
            let bound = seconds * 1_000_000;
            match *operator {
                "<=" => apart <= bound,
                "<" => apart < bound,
                ">=" => apart >= bound,
                ">" => apart > bound,
                _ => apart == bound,
            }
        }),
        [token, rest @ ..] => {
            place + 1 < hits.len()
                && fulfils(token, &hits[place + 1])
                && follows(rest, hits, place + 1)
        }
    }
}

#[test]
fn a_pattern_matches_where_a_search_from_every_event_finds_it() {
    let mut matched = 0;
    for seed in 0..LOGS {
        let mut rng = SmallRng::seed_from_u64(seed);
        let tokens = tokens(&mut rng);
        let mut events = events(&mut rng, 3, 0, 0);
        for event in &mut events {
            event.hit.time_us *= 500_000;
        }
        let hits: Vec<Hit> = events.iter().map(|event| event.hit).collect();
        let wanted = (0..hits.len()).any(|place| {
            let Token::Event(condition) = tokens[0] else { return false };
            hits[place].bits >> condition & 1 == 1 && follows(&tokens[1..], &hits, place)
        });
        let pattern = Pattern::parse(&text(&tokens), 3).unwrap();
        assert_eq!(pattern.matches(&hits), wanted, "seed {seed}: {} {hits:?}", text(&tokens));
        matched += u64::from(wanted);
    }
    assert!(matched > LOGS / 10 && matched < LOGS * 9 / 10, "{matched} of {LOGS}");
}

#[test]
fn a_pattern_that_is_none_says_where_and_why() {
    for (pattern, said) in [
        ("", "character 1: there is no event"),
        ("(?4)", "character 4: there is no condition 4, only 1 to 3"),
        ("(?1)(?t<=1", "character 11: expected `)`"),
        ("(?1)x", "character 5: expected `(?1)`"),
        ("(?t<=1)(?1)", "a time stands between two events"),
        ("(?1)(?t<=1)", "a time stands between two events"),
        ("(?1)(?t<1)(?t>2)(?2)", "no time fulfils both"),
        ("(?1)(?t<=99999999999999999)(?2)", "the time is too long"),
    ] {
        let error = Pattern::parse(pattern, 3).unwrap_err().to_string();
        assert!(error.contains(said), "{pattern}: {error}");
    }
}

#[test]
fn a_visitor_whose_entries_are_too_many_to_compare_is_told_so() {
    let hits: Vec<Hit> = (0..10_000).map(|time_us| Hit { time_us, seq: 0, bits: 1 }).collect();
    let too_many = level(&hits, Order::Any, i64::MAX, 32);
    let too_many = too_many.expect_err("it is compared");
    assert_eq!((too_many.events, too_many.entries), (hits.len(), hits.len()));
    assert_eq!(level(&hits, Order::Ordered, i64::MAX, 32), Ok(1));
}
