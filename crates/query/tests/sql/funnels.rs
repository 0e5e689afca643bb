//! Funnels in SQL against brute force over thousands of small logs, and the answers that are stated.

use std::collections::BTreeMap;
use std::fmt::Write;

use footfall_event::schema::Table;
use footfall_journey::Hit;
use footfall_journey::funnel::{Entry, Event, Exclusion, Funnel, Order, Step};
use footfall_query::QuerySettings;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::brute_force::by_brute_force;
use crate::service::Service;

const VISITORS: usize = 2_000;
const NAMES: [&str; 5] = ["a", "b", "c", "d", "x"];
/// 2026-11-22T10:00:00Z.
const BEGIN_US: i64 = 1_795_341_600_000_000;

/// An event of a log: microseconds since [`BEGIN_US`], counter, name, item, device.
#[derive(Clone)]
struct Logged(i64, i64, usize, Option<u32>, u32);

fn logs(rng: &mut SmallRng) -> Vec<Vec<Logged>> {
    let event = |rng: &mut SmallRng| {
        let item = rng.random_range(0..3);
        Logged(
            rng.random_range(0..12),
            rng.random_range(0..3),
            rng.random_range(0..NAMES.len()),
            (item < 2).then_some(item),
            rng.random_range(0..2),
        )
    };
    (0..VISITORS).map(|_| (0..rng.random_range(0..9)).map(|_| event(rng)).collect()).collect()
}

/// Each event as a line.
fn lines(logs: &[Vec<Logged>]) -> Vec<String> {
    let mut lines = Vec::new();
    for (visitor, log) in logs.iter().enumerate() {
        for (number, Logged(time, seq, name, item, device)) in log.iter().enumerate() {
            let item = item.map_or("null".to_owned(), |item| format!("\"i{item}\""));
            let name = NAMES[*name];
            lines.push(format!(
                r#"{{"event_id":"{visitor}-{number}","site":"shop","visitor_id":"{visitor}","session_id":"s{visitor}","event_name":"{name}","event_time":"2026-11-22T10:00:00.{time:06}Z","seq":{seq},"section":{item},"device_type":"d{device}","late":false,"overflow":false,"event_date":"2026-11-22"}}"#
            ));
        }
    }
    lines
}

/// A funnel, and how a call of it reads.
struct Asked {
    funnel: Funnel,
    has_same: bool,
    call: String,
}

fn asked(rng: &mut SmallRng) -> Asked {
    let modes = [("ordered", Order::Ordered), ("strict", Order::Strict), ("any", Order::Any)];
    let (mode, order) = modes[rng.random_range(0..3)];
    let (entry_name, entry) =
        [("first", Entry::First), ("every", Entry::Every)][rng.random_range(0..2)];
    let (mut steps, mut args) = (Vec::new(), Vec::new());
    let count = rng.random_range(1..5);
    for (number, name) in NAMES.iter().take(count).enumerate() {
        let condition = format!("event_name = '{name}'");
        if number == 0 || order == Order::Any || rng.random_ratio(1, 2) {
            steps.push(Step::default());
            args.push(condition);
            continue;
        }
        let (min_us, max_us) = (rng.random_range(1..3), rng.random_range(3..8));
        let optional = rng.random_ratio(1, 3);
        steps.push(Step { min_us, max_us: Some(max_us), optional });
        args.push(format!(
            "step({condition}, min => '{min_us}us', max => '{max_us}us', optional => {optional})"
        ));
    }
    let mut exclusions = Vec::new();
    if steps.len() > 1 && order != Order::Any && rng.random_ratio(1, 2) {
        let before = rng.random_range(1..steps.len());
        exclusions.push(Exclusion { after: 0, before });
        args.push(format!("exclude(event_name = 'x', after => 1, before => {})", before + 1));
    }
    let window_us = rng.random_range(1..12);
    let (from, to) = (rng.random_range(0..4), rng.random_range(6..14));
    args.push(format!("within => INTERVAL '{window_us} microseconds'"));
    args.push(format!("mode => '{mode}', entry => '{entry_name}'"));
    args.push(format!(
        "from => TIMESTAMP '2026-11-22T10:00:00.{from:06}Z', to => '2026-11-22T10:00:00.{to:06}Z'"
    ));
    let has_same = rng.random_ratio(1, 3);
    if has_same {
        args.push("same => section".to_owned());
    }
    args.push("breakdown => device_type".to_owned());
    let funnel = Funnel {
        order,
        entry,
        window_us,
        steps,
        exclusions,
        from_us: BEGIN_US + from,
        to_us: BEGIN_US + to,
    };
    Asked { funnel, has_same, call: args.join(", ") }
}

fn events(log: &[Logged], asked: &Asked) -> Vec<Event> {
    let event = |Logged(time, seq, name, item, device): &Logged| {
        let bits = match NAMES[*name] {
            "x" if asked.funnel.exclusions.is_empty() => 0,
            "x" => 1 << 32,
            _ if *name < asked.funnel.steps.len() => 1 << name,
            _ => 0,
        };
        let same = match asked.has_same {
            true => item.unwrap_or(Event::NOTHING),
            false => 0,
        };
        Event { hit: Hit { time_us: BEGIN_US + time, seq: *seq, bits }, same, label: *device }
    };
    let mut events: Vec<Event> = log.iter().map(event).collect();
    // As docs/semantics.md has it: of equal ones the texts decide.
    events.sort_by_key(|Event { hit: Hit { time_us, seq, bits }, same, label }| {
        let first = (0..64).find(|bit| bits & (1 << bit) != 0).unwrap_or(64);
        let same = Some(*same).filter(|same| asked.has_same && *same != Event::NOTHING);
        (*time_us, *seq, first, *bits, same, *label)
    });
    events
}

fn time(time_us: i64) -> Value {
    json!(format!("2026-11-22T10:00:00.{:06}Z", time_us - BEGIN_US))
}

#[tokio::test]
async fn every_trial_is_that_of_brute_force_and_the_counts_are_theirs() {
    let service = Service::start().await;
    let mut rng = SmallRng::seed_from_u64(7);
    let logs = logs(&mut rng);
    // In several files, and in no order.
    let mut lines = lines(&logs);
    lines.shuffle(&mut rng);
    for lines in lines.chunks(lines.len().div_ceil(3)) {
        service.commit(Table::Events, &lines.join("\n")).await;
    }
    let horizon_us = BEGIN_US + logs.iter().flatten().map(|event| event.0).max().unwrap();
    for number in 0..60 {
        let asked = asked(&mut rng);
        let mut wanted: Vec<Value> = Vec::new();
        // By breakdown and step: entered, converted, still open, lost.
        let mut counts: BTreeMap<(u32, usize), [i64; 4]> = BTreeMap::new();
        let steps = asked.funnel.steps.len();
        for (visitor, log) in logs.iter().enumerate() {
            let events = events(log, &asked);
            for (label, times_us) in by_brute_force(&asked.funnel, &events) {
                let furthest = times_us.iter().rposition(Option::is_some).unwrap();
                let is_over = times_us[0].unwrap() + asked.funnel.window_us < horizon_us;
                let outcome = match (furthest + 1 == steps, is_over) {
                    (true, _) => "converted",
                    (false, true) => "lost",
                    (false, false) => "still_open",
                };
                for step in (0..steps).filter(|step| times_us[*step].is_some()) {
                    let count = counts.entry((label, step)).or_default();
                    count[0] += 1;
                    match outcome {
                        _ if step < furthest => count[1] += 1,
                        "converted" => count[1] += 1,
                        "still_open" => count[2] += 1,
                        _ => count[3] += 1,
                    }
                }
                let times: Vec<Value> =
                    times_us.iter().map(|it| it.map_or(Value::Null, time)).collect();
                wanted.push(json!([visitor, format!("d{label}"), furthest + 1, outcome, times]));
            }
        }
        let sql = format!(
            "SELECT CAST(visitor_id AS INT), breakdown, furthest_step, outcome, times \
             FROM funnel_visitors({}) ORDER BY 1, entered_at, times, breakdown",
            asked.call
        );
        let mut trials = service.rows(&sql).await;
        let trials = trials.as_array_mut().unwrap();
        let key = |row: &Value| (row[0].as_i64(), row.to_string());
        trials.sort_by_key(key);
        wanted.sort_by_key(key);
        assert_eq!(trials, &wanted, "funnel {number}: {sql}");

        let sql = format!(
            "SELECT breakdown, step, entered, converted, still_open, lost FROM funnel({})",
            asked.call
        );
        for row in service.rows(&sql).await.as_array().unwrap() {
            let Some(breakdown) = row[0].as_str() else {
                assert!(counts.is_empty(), "{sql}");
                continue;
            };
            let (label, step) =
                (breakdown[1..].parse().unwrap(), row[1].as_u64().unwrap() as usize);
            let count = counts.remove(&(label, step - 1)).unwrap_or_default();
            let shown: Vec<i64> = (2..6).map(|column| row[column].as_i64().unwrap()).collect();
            assert_eq!(shown, count, "{sql}: {row}");
        }
        assert!(counts.is_empty(), "{sql}: {counts:?}");
    }
}

#[tokio::test]
async fn a_level_is_that_of_the_best_trial() {
    let service = Service::start().await;
    let mut rng = SmallRng::seed_from_u64(8);
    let logs = logs(&mut rng);
    // Several files, so that groups are merged.
    for part in logs.chunks(VISITORS / 3) {
        let begin = part.as_ptr() as usize - logs.as_ptr() as usize;
        let begin = begin / size_of::<Vec<Logged>>();
        let mut padded = vec![Vec::new(); begin];
        padded.extend(part.iter().cloned());
        service.commit(Table::Events, &lines(&padded).join("\n")).await;
    }
    for mode in ["ordered", "strict", "any"] {
        let orders = [("ordered", Order::Ordered), ("strict", Order::Strict), ("any", Order::Any)];
        let order = orders.into_iter().find(|(name, _)| *name == mode).unwrap().1;
        let funnel = Funnel {
            order,
            entry: Entry::Every,
            window_us: 6,
            steps: vec![Step::default(); 3],
            exclusions: Vec::new(),
            from_us: i64::MIN,
            to_us: i64::MAX,
        };
        let asked = Asked { funnel, has_same: false, call: String::new() };
        let args = format!(
            "INTERVAL '6 microseconds', '{mode}', event_time, seq, event_name = 'a', \
             event_name = 'b', event_name = 'c'"
        );
        // Groups of two sizes are collected in parts and merged; groups of one are collected once.
        for group in
            ["GROUP BY visitor_id", "GROUP BY GROUPING SETS ((visitor_id), (site, visitor_id))"]
        {
            let sql = format!(
                "SELECT DISTINCT CAST(v AS INT) AS v, level, times FROM (SELECT visitor_id AS v, \
                 window_funnel({args}) AS level, window_funnel_times({args}) AS times \
                 FROM events {group}) ORDER BY v"
            );
            let wanted = logs.iter().enumerate().filter(|(_, log)| !log.is_empty());
            let wanted: Vec<Value> = wanted
                .map(|(visitor, log)| {
                    let trials = by_brute_force(&asked.funnel, &events(log, &asked));
                    let reached = |times: &[Option<i64>]| times.iter().flatten().count();
                    let level = trials.iter().map(|trial| reached(&trial.1)).max().unwrap_or(0);
                    let first = trials.iter().find(|trial| reached(&trial.1) == level);
                    let times = first.iter().flat_map(|trial| trial.1.iter().flatten());
                    let times: Vec<Value> = times.map(|time_us| time(*time_us)).collect();
                    json!([visitor, level, times])
                })
                .collect();
            assert_eq!(service.rows(&sql).await, Value::from(wanted), "{mode}, {group}");
        }
    }
}

#[tokio::test]
async fn more_visitors_than_memory_holds_have_the_same_trials() {
    let memory_bytes_max = 64 * 1024 * 1024;
    let small = QuerySettings { threads: 2, memory_bytes_max, ..QuerySettings::default() };
    let (small, large) = (Service::start_with(small).await, Service::start().await);
    let mut lines = String::new();
    for visitor in 0..100_000 {
        for (second, name) in ["a", "b"].iter().enumerate().take(1 + visitor % 2) {
            writeln!(
                lines,
                r#"{{"event_id":"{visitor}-{name}","site":"shop","visitor_id":"visitor-{visitor}","event_name":"{name}","event_time":"2026-11-22T10:00:0{second}Z","section":"section {visitor}","late":false,"overflow":false,"event_date":"2026-11-22"}}"#
            )
            .unwrap();
        }
    }
    for service in [&small, &large] {
        service.commit(Table::Events, &lines).await;
    }
    let call = "event_name = 'a', event_name = 'b', same => section, breakdown => left(section, 9)";
    let sql =
        format!("SELECT breakdown, name, entered, converted FROM funnel({call}) ORDER BY 1, 2");
    let rows = small.rows(&sql).await;
    assert_eq!(rows, large.rows(&sql).await);
    assert_eq!(rows.as_array().unwrap().len(), 20);
    let plan = small.rows(&format!("EXPLAIN ANALYZE {sql}")).await.to_string();
    let went_to_disk = plan.split("spill_count=").skip(1).any(|rest| !rest.starts_with('0'));
    assert!(went_to_disk, "{plan}");
}

#[tokio::test]
async fn wrong_calls_say_what_is_wrong_and_show_a_right_one() {
    let service = Service::start().await;
    for (call, said) in [
        ("funnel(event_name = 'a', withn => '1h')", "no argument `withn`: did you mean `within`?"),
        ("funnel(event_name = 'a', within => '0s')", "`within` is not longer than 0"),
        ("funnel(event_name = 'a', within => '-1 hour')", "`within` is not longer than 0"),
        ("funnel(event_name = 'a', within => '1 month')", "a month has no one length"),
        ("funnel(event_name = 'a', within => '99999999d')", "is longer than 100 years"),
        ("funnel(event_name = 'a', within => 'soon')", "`soon` is no duration"),
        ("funnel(within => '1h')", "there is no step, and the configuration declares none"),
        ("funnel('purchse', within => '1h')", "no step 'purchse' is declared"),
        ("funnel(event_name = 'a', mode => 'strct')", "there are 'ordered', 'strict', 'any'"),
        (
            "funnel(event_name = 'a', event_name = 'b', from => '2026-01-02', to => '2026-01-01')",
            "`from` is not before `to`",
        ),
        (
            "funnel(step(event_name = 'a', optional => true))",
            "the first step has nothing before it",
        ),
        (
            "funnel(event_name = 'a', event_name = 'b', exclude(event_name = 'b', after => 2, before => 1))",
            "`after` is not before `before`",
        ),
        ("funnel_visitors(event_name = 'a', step => 2)", "`step` is 2, and the funnel has 1 steps"),
        ("needs()", "`raised_by` is missing"),
        ("needs('delivery')", "no need 'delivery' is declared"),
        ("paths(depth => 3)", "it takes `starting` or `ending`"),
        ("paths(starting => true, depth => 0)", "`depth` is 0, not a whole number from 1 to 50"),
        ("retention(from => '2026-02-01', to => '2026-02-01')", "`from` is not before `to`"),
        ("paths(event_name = 'a')", "`event_name = 'a'` has no name: say `starting => …`"),
        ("retention(period => 'year')", "there are 'day', 'week', 'month'"),
        ("funnel(1)", "funnel(): `1` is bigint, not true or false"),
        ("funnel(page_type)", "funnel(): `page_type` is text, not true or false"),
        ("funnel(event_name = 'a', filter => 1)", "`1` is bigint, not true or false"),
        ("funnel(count(*) > 1)", "`count(*) > 1` is of many events, not of one"),
        ("funnel(event_name = 'a', breakdown => count(*))", "`count(*)` is of many events"),
        ("funnel(event_name IN (SELECT 'a'))", "asks another query"),
        ("funnel(event_name = 'a', same => items)", "`items` is no single value"),
        ("funnel(event_name = 'a', from => 20260303)", "`from` is 20260303, not a time"),
        ("funnel_visitors(event_name = 'a', step => 1.5)", "`step` is 1.5, not a whole number"),
        ("paths(starting => true, depth => 2.9)", "`depth` is 2.9, not a whole number"),
        ("paths(starting => 'purchse')", "paths(): no step 'purchse' is declared"),
        ("retention(started => 'a')", "retention(): no step 'a' is declared"),
        ("needs(raised_by => 'a', found_by => true, within => '3s')", "no step 'a' is declared"),
    ] {
        let (status, error) = service.error(&format!("SELECT * FROM {call}")).await;
        assert_eq!(status, 400, "{call}: {error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(said), "{call}: {message}");
        assert!(error["hint"].as_str().unwrap().starts_with("such as "), "{call}: {error}");
    }
    for count in [33, 64] {
        let many = vec!["event_name = 'a'"; count].join(", ");
        let (_, error) = service.error(&format!("SELECT * FROM funnel({many})")).await;
        let said = format!("{count} steps, and there are at most 32");
        assert!(error["message"].as_str().unwrap().contains(&said), "{error}");
        let call = format!("window_funnel('1h', 'ordered', event_time, seq, {many})");
        let (_, error) = service.error(&format!("SELECT {call} FROM events")).await;
        let said = format!("{count} conditions, and there are 1 to 32");
        assert!(error["message"].as_str().unwrap().contains(&said), "{error}");
    }
    let (_, error) = service.error("SELECT funnel('a')").await;
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("it is a table, and stands after FROM"), "{error}");
    let (status, error) = service.error("SELECT funnel_report('x', 1, 2)").await;
    let message = error["message"].as_str().unwrap();
    assert!(status == 400 && message.contains("not to be called"), "{error}");
    let (status, error) = service.error("SELECT * FROM funnel(evnt_name = 'a')").await;
    assert_eq!((status, error["hint"].as_str()), (400, Some("did you mean `event_name`?")));
    let (_, error) = service
        .error("SELECT window_funnel('1h', 'ordered', event_time, seq, 1) FROM events")
        .await;
    assert!(error["message"].as_str().unwrap().contains("condition 1 is bigint"), "{error}");
    for (call, said) in [
        ("'0s', 'ordered', event_time, seq, true", "the window is not longer than 0"),
        ("'1h', 'orderd', event_time, seq, true", "`orderd` is no mode"),
        ("'1h', 'ordered', event_time, seq", "0 conditions, and there are 1 to 32"),
        ("'1h', 'ordered', event_name, seq, true", "a text stands where the time"),
        ("event_name, 'ordered', event_time, seq, true", "its first arguments are constants"),
        ("'1h', 'ordered', event_time, event_name = 'a', true", "a boolean stands where `seq`"),
        ("'1h', 'ordered', event_time, event_name, true", "a text stands where `seq`"),
        ("'1h', 'ordered', event_time, value, true", "a decimal(18,4) stands where `seq`"),
    ] {
        let (status, error) =
            service.error(&format!("SELECT window_funnel({call}) FROM events")).await;
        let message = error["message"].as_str().unwrap();
        assert!(status == 400 && message.contains(said), "{call}: {error}");
    }
    let (_, error) = service.error("SELECT * FROM funel('a')").await;
    assert_eq!(error["hint"], "did you mean `funnel`?", "{error}");
}

#[tokio::test]
async fn an_empty_table_has_a_row_of_zeros_for_each_step() {
    let service = Service::start().await;
    let rows = service
        .rows(
            "SELECT step, name, breakdown, entered, converted, still_open, lost, share_of_first, \
             median_ms FROM funnel(step(event_name = 'a', name => 'one'), event_name = 'b')",
        )
        .await;
    assert_eq!(
        rows,
        json!([
            [1, "one", null, 0, 0, 0, 0, null, null],
            [2, "event_name = 'b'", null, 0, 0, 0, 0, null, null],
        ])
    );
    // Nor is there anything without a row, or a row without a time.
    let args = "'1h', 'ordered', CAST(NULL AS TIMESTAMP), 0, true";
    let none = format!("SELECT window_funnel({args}), window_funnel_times({args})");
    assert_eq!(service.rows(&none).await, json!([[0, []]]));
    let none = "SELECT window_funnel('1h', 'ordered', event_time, seq, true) FROM events";
    assert_eq!(service.rows(none).await, json!([[0]]));
    for from in ["funnel_visitors(event_name = 'a')", "paths(starting => true)", "retention()"] {
        assert_eq!(service.rows(&format!("SELECT * FROM {from}")).await, json!([]), "{from}");
    }
}
