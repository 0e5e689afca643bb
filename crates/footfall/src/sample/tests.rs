//! The sample's promises: equal bytes for equal settings, arrivals that keep their word, and every
//! boundary in every sample of 1,000 sessions. Whether the truth is true is tested against the
//! oracle under `tests/oracle`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::DateTime;
use serde_json::Value;

use super::intent::Outcome;
use super::session::WITHIN;
use super::settings::SECOND;
use super::*;

fn settings(seed: u64, session_gap: i64) -> SampleSettings {
    SampleSettings { seed, session_gap, beyond_lateness: 0.01, ..SampleSettings::default() }
}

/// The default gap, and the one of a lake that is fed live in a test.
fn both_gaps() -> [SampleSettings; 3] {
    let live = SampleSettings { rate: Some(500.0), ..settings(3, 10 * SECOND) };
    [settings(1, 1_800 * SECOND), settings(2, 1_800 * SECOND), live]
}

fn draw(settings: &SampleSettings) -> (Vec<SampleEvent>, Vec<TruthRow>, Totals) {
    let mut sample = Sample::new(settings).unwrap();
    let events: Vec<SampleEvent> = sample.by_ref().collect();
    (events, sample.take_truth(), sample.totals().clone())
}

/// An event read back from its bytes.
struct Read {
    json: Value,
    time: i64,
    visitor: Option<String>,
    late: bool,
}

impl Read {
    fn text(&self, key: &str) -> &str {
        self.json[key].as_str().unwrap_or("")
    }

    fn is_hidden(&self) -> bool {
        self.text("event_name") == "heartbeat" && self.json["visible_ms"] == 0
    }

    fn place(&self) -> (i64, i64, &str) {
        (self.time, self.json["seq"].as_i64().unwrap_or(0), self.text("event_id"))
    }
}

fn read(event: &SampleEvent) -> Read {
    let json: Value = serde_json::from_str(&event.json).unwrap();
    let time = DateTime::parse_from_rfc3339(json["timestamp"].as_str().unwrap()).unwrap();
    let of_user = || json["user_id"].as_str().map(|id| format!("u:{id}"));
    let visitor = json["visitor_id"].as_str().map(str::to_owned).or_else(of_user);
    Read { time: time.timestamp_micros(), visitor, late: event.late, json }
}

/// Each visitor's events on time and not hidden, in order, without resends.
fn by_visitor(events: &[SampleEvent]) -> BTreeMap<String, Vec<Read>> {
    let mut visitors: BTreeMap<String, Vec<Read>> = BTreeMap::new();
    for event in events.iter().filter(|event| !event.resend).map(read) {
        if let Some(visitor) = event.visitor.clone()
            && !event.is_hidden()
            && !event.late
        {
            visitors.entry(visitor).or_default().push(event);
        }
    }
    for events in visitors.values_mut() {
        events.sort_by(|a, b| a.place().cmp(&b.place()));
    }
    visitors
}

fn split(events: Vec<Read>, gap: i64) -> Vec<Vec<Read>> {
    let mut sessions: Vec<Vec<Read>> = Vec::new();
    for event in events {
        match sessions.last_mut() {
            Some(session) if event.time - session[session.len() - 1].time <= gap => {
                session.push(event);
            }
            _ => sessions.push(vec![event]),
        }
    }
    sessions
}

#[test]
fn equal_settings_give_equal_bytes() {
    for settings in both_gaps() {
        let drawn = draw(&settings);
        assert!(drawn == draw(&settings));
        let other = SampleSettings { seed: settings.seed + 100, ..settings };
        assert!(drawn.0 != draw(&other).0);
    }
}

/// FNV-1a over the bytes of a small sample: it holds on every platform, and whoever changes what a
/// seed means has to say so here.
#[test]
fn a_seed_means_the_same_for_good() {
    let (events, truth, _) = draw(&SampleSettings { sessions: 50, ..SampleSettings::default() });
    let lines = events.into_iter().map(|event| event.json);
    let bytes = lines.chain(truth.iter().map(TruthRow::to_json)).flat_map(String::into_bytes);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    assert_eq!(hash, 9_492_985_457_740_360_945);
}

#[test]
fn arrivals_keep_their_word() {
    for settings in both_gaps() {
        let (events, ..) = draw(&settings);
        assert!(events.is_sorted_by_key(|event| event.arrival));
        let mut disordered = false;
        let mut newest = 0;
        let mut first: HashMap<&str, i64> = HashMap::new();
        for event in &events {
            let time = read(event).time;
            if event.resend {
                let pause = event.arrival - first[event.json.as_str()];
                assert!((1..=900 * SECOND).contains(&pause), "{pause}");
                continue;
            }
            assert!(first.insert(&event.json, event.arrival).is_none());
            let delay = event.arrival - time;
            if event.late {
                assert!(delay >= settings.allowed_lateness + 5 * SECOND, "{delay}");
            } else {
                assert!((1..=settings.allowed_lateness - 3 * SECOND).contains(&delay), "{delay}");
            }
            disordered |= time < newest;
            newest = newest.max(time);
        }
        assert!(disordered);
    }
}

#[test]
fn totals_are_counts_of_what_was_drawn() {
    for settings in both_gaps() {
        let (events, truth, totals) = draw(&settings);
        let firsts: Vec<Read> = events.iter().filter(|event| !event.resend).map(read).collect();
        let count = |is: fn(&Read) -> bool| firsts.iter().filter(|event| is(event)).count() as u64;
        assert_eq!(totals.events, firsts.len() as u64);
        assert_eq!(totals.resends, (events.len() - firsts.len()) as u64);
        assert_eq!(totals.late, count(|event| event.late));
        assert_eq!(totals.hidden, count(Read::is_hidden));
        assert_eq!(totals.cookieless, count(|event| event.visitor.is_none()));
        assert_eq!(totals.needs.values().sum::<u64>(), truth.len() as u64);
        let visitors = by_visitor(&events).into_values();
        let sessions = visitors.map(|events| split(events, settings.session_gap).len() as u64);
        assert_eq!((totals.sessions, settings.sessions), (sessions.sum(), 1_000));
        assert!(totals.late > 0 && totals.resends > 0 && totals.hidden > 0);
    }
}

#[test]
fn every_outcome_and_its_boundaries_occur() {
    for settings in both_gaps() {
        let (_, truth, totals) = draw(&settings);
        for need in Need::ALL {
            for outcome in Outcome::ALL {
                assert!(totals.needs.contains_key(&(need, outcome)), "{need:?} {outcome:?}");
            }
        }
        let wait = |row: &TruthRow| row.found_at.map(|at| at - row.raised_at);
        let quick = |row: &TruthRow| wait(row).is_some_and(|wait| wait < WITHIN);
        let left = |row: &TruthRow| row.session_ended_at - row.raised_at;
        let some = |what: &str, is: &dyn Fn(&TruthRow) -> bool| {
            assert!(truth.iter().any(is), "no {what} at gap {}", settings.session_gap);
        };
        some("find at the deadline", &|row| {
            wait(row) == Some(WITHIN) && row.outcome == Outcome::FoundInTime
        });
        some("find just after", &|row| wait(row) == Some(WITHIN + 1));
        some("find at the raising", &|row| wait(row) == Some(0));
        some("find after exactly the gap", &|row| wait(row) == Some(settings.session_gap));
        some("two clicks", &|row| quick(row) && row.click_count == 2);
        some("three clicks", &|row| {
            quick(row) && row.click_count == 3 && row.outcome == Outcome::FoundLate
        });
        some("a loss that stayed just long enough", &|row| left(row) == WITHIN);
        some("a loss that did not", &|row| left(row) == WITHIN - 1);
        some("a single event", &|row| row.session_started_at == row.session_ended_at);
        some("a find with a conversion", &|row| row.found_at.is_some() && row.converted);
        some("a user without a device", &|row| row.visitor_id.starts_with("u:kunde"));
    }
}

#[test]
fn every_kind_of_event_and_session_occurs() {
    for settings in both_gaps() {
        let (events, ..) = draw(&settings);
        let firsts: Vec<Read> = events.iter().filter(|event| !event.resend).map(read).collect();
        let some = |what: &str, is: &dyn Fn(&Read) -> bool| {
            assert!(firsts.iter().any(is), "no {what} at gap {}", settings.session_gap);
        };
        for name in ["refund", "error", "exception", "login", "add_payment_info", "page_hide"] {
            some(name, &|event| event.text("event_name") == name);
        }
        for visible_ms in [149, 150] {
            some("exposure", &|event| {
                event.text("event_name") == "info_exposed" && event.json["visible_ms"] == visible_ms
            });
        }
        some("unseen page", &|event| {
            event.text("event_name") == "page_view" && event.json["visible_ms"] == 0
        });
        some("slow page", &|event| event.json["lcp_ms"].as_i64() > Some(4_000));
        some("empty search", &|event| event.json["search_results"] == 0);
        some("bot", &|event| event.text("user_agent").contains("HeadlessChrome"));
        some("cookieless event", &|event| event.visitor.is_none());
        some("unicode", &|event| event.json["items"][0]["item_name"] == "湯呑み セット");
        some("event without seq", &|event| event.json["seq"].is_null());
        let mut visitors_at: HashMap<i64, HashSet<&String>> = HashMap::new();
        for event in &firsts {
            visitors_at.entry(event.time).or_default().extend(event.visitor.as_ref());
        }
        assert!(visitors_at.values().any(|visitors| visitors.len() > 1));
    }
}

#[test]
fn every_kind_of_session_occurs() {
    for settings in both_gaps() {
        let (events, ..) = draw(&settings);
        let mut pauses = BTreeSet::new();
        let mut sizes = BTreeSet::new();
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for events in by_visitor(&events).into_values() {
            pauses.extend(events.windows(2).map(|pair| pair[1].time - pair[0].time));
            for session in split(events, settings.session_gap) {
                sizes.insert(session.len());
                for kind in kinds(&session) {
                    *seen.entry(kind).or_default() += 1;
                }
            }
        }
        assert!(pauses.contains(&settings.session_gap));
        assert!(pauses.contains(&(settings.session_gap + 1)));
        assert!(sizes.contains(&1) && sizes.last() >= Some(&30), "{sizes:?}");
        let mut wanted =
            vec!["ordered by id", "ordered by seq", "order told twice", "two currencies", "rage"];
        if settings.rate.is_none() {
            wanted.push("over midnight");
        }
        for kind in wanted {
            assert!(seen.contains_key(kind), "no {kind} at gap {}", settings.session_gap);
        }
    }
}

fn kinds(session: &[Read]) -> Vec<&'static str> {
    let day = |event: &Read| event.time.div_euclid(86_400 * SECOND);
    let texts = |name: &str, key: &str| -> Vec<String> {
        let of_name = session.iter().filter(|event| event.text("event_name") == name);
        of_name.map(|event| event.text(key).to_owned()).filter(|text| !text.is_empty()).collect()
    };
    let distinct = |texts: &[String]| texts.iter().collect::<HashSet<_>>().len();
    let tied = |same_seq: bool| {
        session.windows(2).any(|pair| {
            let seq = pair[0].json["seq"] == pair[1].json["seq"];
            pair[0].time == pair[1].time && seq == same_seq
        })
    };
    let orders = texts("purchase", "order_id");
    let clicks: Vec<&Read> =
        session.iter().filter(|event| event.text("event_name") == "click").collect();
    let rage = clicks.windows(3).any(|run| {
        run[2].time - run[0].time <= SECOND
            && run.iter().all(|click| click.text("target") == run[0].text("target"))
    });
    let found = [
        (tied(true), "ordered by id"),
        (tied(false), "ordered by seq"),
        (distinct(&orders) < orders.len(), "order told twice"),
        (distinct(&texts("purchase", "currency")) > 1, "two currencies"),
        (rage, "rage"),
        (day(&session[0]) != day(&session[session.len() - 1]), "over midnight"),
    ];
    found.into_iter().filter(|(is, _)| *is).map(|(_, kind)| kind).collect()
}

#[test]
fn a_setting_out_of_range_is_named() {
    let good = SampleSettings::default;
    let bad = [
        ("session_gap", SampleSettings { session_gap: 5 * SECOND, ..good() }),
        ("allowed_lateness", SampleSettings { allowed_lateness: 0, ..good() }),
        ("rate", SampleSettings { rate: Some(0.0), ..good() }),
        ("rate", SampleSettings { rate: Some(f64::NAN), ..good() }),
        ("resends", SampleSettings { resends: 1.5, ..good() }),
        ("start", SampleSettings { start: -1, ..good() }),
        ("site", SampleSettings { site: String::new(), ..good() }),
    ];
    for (name, settings) in bad {
        let error = Sample::new(&settings).map(|_| ()).unwrap_err();
        assert_eq!(error.name, name);
        assert!(error.to_string().contains(name));
    }
}
