//! `paths`.

use std::collections::HashMap;

use rand::Rng;
use rand::rngs::SmallRng;
use serde_json::{Value, json};

use super::log::{self, Condition, Event, Scope, Text, condition, text};

const SEED: u64 = 51;
const CALLS: usize = 80;

struct Call {
    scope: Scope,
    is_start: bool,
    anchor: Condition,
    by: Text,
    depth: usize,
    top: usize,
}

impl Call {
    fn random(rng: &mut SmallRng) -> Call {
        Call {
            scope: Scope::random(rng),
            is_start: rng.random_ratio(1, 2),
            anchor: condition(rng),
            by: text(rng),
            depth: rng.random_range(1..6),
            top: [1, 3, 10_000][rng.random_range(0..3)],
        }
    }

    fn sql(&self) -> String {
        format!(
            "SELECT rank, path, count, share, is_other FROM paths({} => {}, by => {}, depth => {}, \
             top => {}, scope => '{}'{}) ORDER BY rank",
            if self.is_start { "starting" } else { "ending" },
            self.anchor.0,
            self.by.0,
            self.depth,
            self.top,
            if self.scope.is_session { "session" } else { "visitor" },
            self.scope.arguments()
        )
    }

    /// The way of a log, if it has one.
    fn way(&self, log: &[&Event]) -> Option<Vec<&'static str>> {
        let is_anchor = |event: &Event| (self.anchor.1)(event) && self.scope.is_in_range(event);
        let mut log = log.to_vec();
        // Of what is equal in time and counter the anchor comes first on a way from it, last on a way to it.
        log.sort_by_key(|event| {
            let label = (self.by.1)(event);
            let is_last = label.is_none() && !self.is_start;
            (event.time_us, event.seq(), is_anchor(event) != self.is_start, is_last, label)
        });
        let anchor = log.iter().position(|event| is_anchor(event))?;
        let way = if self.is_start { &log[anchor..] } else { &log[..=anchor] };
        let mut labels: Vec<&str> = way.iter().filter_map(|event| (self.by.1)(event)).collect();
        labels.dedup();
        let beyond = labels.len().saturating_sub(self.depth);
        match self.is_start {
            true => labels.truncate(self.depth),
            false => drop(labels.drain(..beyond)),
        }
        Some(labels).filter(|labels| !labels.is_empty())
    }
}

#[tokio::test]
async fn the_ways_are_those_of_their_definition_and_all_are_counted() {
    let events = log::logs();
    let service = log::lake(&events, Vec::new()).await;
    let mut rng = log::rng(SEED);
    let mut counted = 0;
    for _ in 0..CALLS {
        let call = Call::random(&mut rng);
        let logs = call.scope.logs(&events);
        let mut ways: HashMap<Value, u64> = HashMap::new();
        for way in logs.values().filter_map(|log| call.way(log)) {
            *ways.entry(json!(way)).or_default() += 1;
            counted += 1;
        }
        let answer = service.rows(&call.sql()).await;
        check(&answer, ways, call.top, &call.sql());
    }
    assert!(counted > 10_000, "{counted} ways");
}

/// Which of several equally frequent ways comes first is not said, and nor is which of them is left out.
fn check(answer: &Value, mut ways: HashMap<Value, u64>, top: usize, sql: &str) {
    let total: u64 = ways.values().sum();
    let (mut last, mut shown, mut others) = (u64::MAX, 0, None);
    for row in answer.as_array().unwrap() {
        let [rank, path, count, share, is_other] = row.as_array().unwrap().as_slice() else {
            panic!("{row}")
        };
        let count = count.as_u64().unwrap();
        let is_share = (share.as_f64().unwrap() - count as f64 / total as f64).abs() < 1e-12;
        assert!(is_share, "{sql}: {row} of {total}");
        if is_other == &json!(true) {
            assert_eq!((rank, path), (&Value::Null, &Value::Null), "{sql}: {row}");
            assert_eq!(others.replace(count), None, "{sql}: a second rest");
            continue;
        }
        shown += 1;
        assert_eq!(rank, &json!(shown), "{sql}: {row}");
        assert_eq!(Some(count), ways.remove(path), "{sql}: {row}");
        assert!(count <= last, "{sql}: {row} comes behind {last}");
        last = count;
    }
    let missing: Option<u64> = (!ways.is_empty()).then(|| ways.values().sum());
    assert_eq!(others, missing, "{sql}: left out are {ways:?}");
    assert!(ways.is_empty() || shown == top, "{sql}: {shown} ways, left out are {ways:?}");
    assert!(ways.values().all(|count| *count <= last), "{sql}: {last}, left out are {ways:?}");
}
