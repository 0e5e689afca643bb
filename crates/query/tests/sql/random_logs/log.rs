//! The random logs, the conditions and texts that are asked of their events, and the lake that holds
//! them.

use std::collections::BTreeMap;
use std::fmt::{Debug, Formatter};

use footfall_event::schema::Table;
use footfall_query::{Declared, DeclaredNeed, QuerySettings};
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::calendar::{DAY_US, day_of, day_text, time_text};
use crate::service::Service;

/// Another number is another lake.
const SEED: u64 = 12;
const VISITORS: usize = 2_000;
const SITES: [&str; 3] = ["north", "south", "west"];
const COMMITS: usize = 4;
/// Days of visits: ends of weeks and of months lie between them. The first is 2026-10-30, a Friday.
const DAYS: [i64; 9] = [20_756, 20_757, 20_758, 20_759, 20_760, 20_765, 20_766, 20_773, 20_788];
const MORNING_US: i64 = 36_000_000_000;
/// Within a visit at ten on the seventh day, so that windows end before it, at it and behind it.
pub const HORIZON_US: i64 = DAYS[6] * DAY_US + MORNING_US + 6;

/// An event, as far as the functions are asked about it.
#[derive(Clone)]
pub struct Event {
    pub id: String,
    pub site: &'static str,
    pub visitor: Option<String>,
    pub session: Option<String>,
    pub name: &'static str,
    pub time_us: i64,
    pub seq: Option<i64>,
    pub page_type: Option<&'static str>,
    pub section: Option<&'static str>,
    pub device: Option<&'static str>,
    pub order: Option<String>,
    pub visible_ms: Option<i64>,
    pub is_bot: bool,
    pub is_overflow: bool,
}

/// As a line of the lake, for a failed test to show.
impl Debug for Event {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "\n{}", self.line())
    }
}

impl Event {
    pub fn seq(&self) -> i64 {
        self.seq.unwrap_or(0)
    }

    fn line(&self) -> Value {
        json!({
            "event_id": self.id, "site": self.site, "visitor_id": self.visitor,
            "session_id": self.session, "event_name": self.name,
            "event_time": time_text(self.time_us), "seq": self.seq, "page_type": self.page_type,
            "page_path": self.page_type.map(|it| format!("/{it}")), "section": self.section,
            "device_type": self.device, "order_id": self.order, "visible_ms": self.visible_ms,
            "bot": self.is_bot.then_some("ua:bot"), "late": false, "overflow": self.is_overflow,
            "event_date": day_text(day_of(self.time_us)),
        })
    }
}

/// A condition as SQL, and by hand.
pub type Condition = (&'static str, fn(&Event) -> bool);

/// Several hold for one event; some are NULL for others.
pub const CONDITIONS: [Condition; 9] = [
    ("event_name = 'a'", |it| it.name == "a"),
    ("event_name IN ('a', 'b')", |it| ["a", "b"].contains(&it.name)),
    ("event_name = 'b'", |it| it.name == "b"),
    ("event_name = 'c'", |it| it.name == "c"),
    ("event_name = 'c' OR section = 'i1'", |it| it.name == "c" || it.section == Some("i1")),
    ("section <> 'i1'", |it| it.section.is_some_and(|section| section != "i1")),
    ("NOT (page_type = 'cart')", |it| it.page_type.is_some_and(|page| page != "cart")),
    ("event_name = 'purchase'", |it| it.name == "purchase"),
    ("page_type IS NULL", |it| it.page_type.is_none()),
];

/// An expression that is a text as SQL, and by hand.
pub type Text = (&'static str, fn(&Event) -> Option<&'static str>);

pub const TEXTS: [Text; 5] = [
    ("event_name", |it| Some(it.name)),
    ("page_type", |it| it.page_type),
    ("section", |it| it.section),
    ("device_type", |it| it.device),
    ("CASE WHEN section = 'i1' THEN page_type END", |it| {
        it.page_type.filter(|_| it.section == Some("i1"))
    }),
];

pub fn condition(rng: &mut SmallRng) -> Condition {
    *CONDITIONS.choose(rng).unwrap()
}

pub fn text(rng: &mut SmallRng) -> Text {
    *TEXTS.choose(rng).unwrap()
}

/// What the functions after FROM have in common: whose events, and which.
pub struct Scope {
    pub is_session: bool,
    pub filter: Option<Condition>,
    pub has_bots: bool,
    pub range_us: (Option<i64>, Option<i64>),
}

impl Scope {
    pub fn random(rng: &mut SmallRng) -> Scope {
        let bound = |rng: &mut SmallRng, days: &[i64]| {
            rng.random_ratio(1, 3)
                .then(|| days.choose(rng).unwrap() * DAY_US + MORNING_US + rng.random_range(0..8))
        };
        Scope {
            is_session: rng.random_ratio(1, 2),
            filter: rng.random_ratio(1, 4).then(|| condition(rng)),
            has_bots: rng.random_ratio(1, 4),
            range_us: (bound(rng, &DAYS[..4]), bound(rng, &DAYS[4..])),
        }
    }

    /// `, name => …` of each that is not left to its default; `scope` and its default are the caller's.
    pub fn arguments(&self) -> String {
        let mut arguments = String::new();
        if let Some((sql, _)) = self.filter {
            arguments.push_str(&format!(", filter => {sql}"));
        }
        if self.has_bots {
            arguments.push_str(", include_bots => true");
        }
        for (name, bound_us) in [("from", self.range_us.0), ("to", self.range_us.1)] {
            if let Some(bound_us) = bound_us {
                arguments.push_str(&format!(", {name} => '{}'", time_text(bound_us)));
            }
        }
        arguments
    }

    pub fn is_in_range(&self, event: &Event) -> bool {
        let (from_us, to_us) = self.range_us;
        from_us.is_none_or(|from_us| event.time_us >= from_us)
            && to_us.is_none_or(|to_us| event.time_us < to_us)
    }

    /// The events that count, by whose they are.
    pub fn logs<'a>(&self, events: &'a [Event]) -> BTreeMap<Whose, Vec<&'a Event>> {
        let mut logs: BTreeMap<Whose, Vec<&Event>> = BTreeMap::new();
        for event in events {
            let is_left_out = (event.is_bot && !self.has_bots)
                || self.filter.is_some_and(|(_, holds)| !holds(event))
                || (self.is_session && event.session.is_none());
            let Some(visitor) = event.visitor.clone().filter(|_| !is_left_out) else { continue };
            let session = event.session.clone().filter(|_| self.is_session);
            logs.entry((event.site, visitor, session)).or_default().push(event);
        }
        logs
    }
}

/// Site, visitor, and the session where that is the scope.
pub type Whose = (&'static str, String, Option<String>);

/// In the order of docs/semantics.md, section 5: by time and counter; of what is equal in both first
/// what fulfils an earlier condition, then by the set of conditions and by the texts.
pub fn in_order<'a>(log: &[&'a Event], conditions: &[Condition], texts: &[Text]) -> Vec<&'a Event> {
    let key = |event: &Event| {
        let fulfilled: Vec<bool> = conditions.iter().map(|(_, holds)| holds(event)).collect();
        let first = fulfilled.iter().position(|holds| *holds).unwrap_or(usize::MAX);
        let set: u64 = (0..fulfilled.len()).filter(|it| fulfilled[*it]).map(|it| 1 << it).sum();
        let texts: Vec<Option<&str>> = texts.iter().map(|(_, of)| of(event)).collect();
        (event.time_us, event.seq(), first, set, texts)
    };
    let mut log = log.to_vec();
    log.sort_by_cached_key(|event| key(event));
    log
}

pub fn rng(seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed)
}

/// Two thousand visitors with a visit or two of up to seven events, in steps of a microsecond or of half
/// a second, and a counter that mostly tells apart what is tied.
pub fn logs() -> Vec<Event> {
    let mut rng = rng(SEED);
    let mut events = Vec::new();
    for visitor in 0..VISITORS {
        for visit in 0..rng.random_range(1..3) {
            let length = rng.random_range(0..8);
            events.extend(self::visit(&mut rng, visitor, visit, length));
        }
    }
    events
}

/// Visits of dozens of events, too long for who tries every chain. Purchases come first, and then among
/// the others; they tell 16 or 17 orders in turn, as many as a session remembers or one more.
pub fn long_logs() -> Vec<Event> {
    let mut rng = rng(SEED + 1);
    let long = |visitor: usize| {
        let mut events = visit(&mut rng, visitor, 0, 50);
        events.sort_by(|a, b| whole(a).cmp(&whole(b)));
        let mut told = 0;
        for (number, event) in events.iter_mut().enumerate() {
            if number < 20 || number % 2 == 0 {
                event.name = "purchase";
                event.order = Some(format!("o{}", told % (16 + visitor % 2)));
                told += 1;
            }
        }
        events
    };
    (VISITORS..VISITORS + 100).flat_map(long).collect()
}

fn visit(rng: &mut SmallRng, visitor: usize, visit: usize, length: usize) -> Vec<Event> {
    // The same id at three sites is three visitors.
    let site = SITES[visitor % 3];
    let id = (visitor % 20 != 7).then(|| format!("v{}", visitor / 3));
    let session = id.as_ref().map(|_| format!("s{visitor}-{visit}"));
    let begin_us =
        DAYS.choose(rng).unwrap() * DAY_US + [0, MORNING_US, DAY_US - 3][rng.random_range(0..3)];
    let unit_us = [1, 500_000][rng.random_range(0..2)];
    let names = ["a", "a", "b", "b", "c", "x", "click", "info", "purchase", "view"];
    let mut events: Vec<Event> = (0..length)
        .map(|number| Event {
            id: format!("{visitor}-{visit}-{}", (number * 7 + visitor) % 61),
            site,
            visitor: id.clone(),
            session: session.clone().filter(|_| rng.random_ratio(14, 15)),
            name: names.choose(rng).unwrap(),
            time_us: begin_us + unit_us * rng.random_range(0..10),
            seq: Some(rng.random_range(0..12)).filter(|seq| *seq > 1),
            page_type: [None, Some(""), Some("product"), Some("cart")][rng.random_range(0..4)],
            section: [None, Some("i1"), Some("i2")][rng.random_range(0..3)],
            device: [None, Some("phone"), Some("desk")][rng.random_range(0..3)],
            order: rng.random_ratio(2, 3).then(|| format!("o{}", rng.random_range(0..2))),
            visible_ms: [None, Some(0), Some(100)][rng.random_range(0..3)],
            is_bot: rng.random_ratio(1, 20),
            is_overflow: false,
        })
        .collect();
    // A cap leaves out what comes last.
    if rng.random_ratio(1, 20)
        && let Some(last) = events.iter_mut().max_by(|a, b| whole(a).cmp(&whole(b)))
    {
        last.is_overflow = last.session.is_some();
    }
    events
}

/// The order of a session goes on to the ids.
pub fn whole(event: &Event) -> (i64, i64, &str) {
    (event.time_us, event.seq(), event.id.as_str())
}

/// A lake with `events` in no order, over several files, and with two live partitions, whose newest
/// watermarks are the horizon and later.
pub async fn lake(events: &[Event], needs: Vec<DeclaredNeed>) -> Service {
    let declared = Declared {
        needs,
        conversion: Some("event_name = 'purchase'".to_owned()),
        session_cap_us: DAY_US,
        ..Declared::default()
    };
    let settings = QuerySettings { threads: 2, declared, ..QuerySettings::default() };
    let service = Service::start_with(settings).await;
    let mut lines: Vec<String> = events.iter().map(|event| format!("{}\n", event.line())).collect();
    lines.shuffle(&mut rng(SEED));
    for part in lines.chunks(lines.len().div_ceil(COMMITS)) {
        service.commit(Table::Events, &part.concat()).await;
    }
    let receipt = |log: &str, partition: i64, watermark_us: Option<i64>| {
        let watermark = watermark_us.map(time_text);
        let line = json!({"log": log, "log_partition": partition, "watermark": watermark,
            "receipt_date": "2026-11-09"});
        format!("{line}\n")
    };
    let receipts = [
        receipt("events", 0, Some(HORIZON_US - 40)),
        receipt("events", 0, Some(HORIZON_US)),
        receipt("events", 1, Some(HORIZON_US + DAY_US)),
        receipt("load:0123456789abcdef", 0, None),
    ];
    service.commit(Table::Receipts, &receipts.concat()).await;
    service
}

/// Rows in an order that two lists of the same rows have in common.
fn sorted(rows: Value) -> Vec<Value> {
    let Value::Array(mut rows) = plain(rows) else { panic!("no list of rows") };
    rows.sort_by_cached_key(Value::to_string);
    rows
}

/// Shares are read to their last digit but one.
fn plain(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(plain).collect(),
        Value::Number(number) if number.is_f64() => {
            json!(format!("{:.12}", number.as_f64().unwrap()))
        }
        other => other,
    }
}

/// Fails with the first row that only one side has.
pub fn compare(shown: Value, wanted: Vec<Value>, asked: &str) {
    let (shown, wanted) = (sorted(shown), sorted(Value::from(wanted)));
    let only = |these: &[Value], those: &[Value]| {
        let beyond: Vec<Value> =
            these.iter().filter(|row| !those.contains(row)).take(3).cloned().collect();
        Value::from(beyond)
    };
    assert!(
        shown == wanted,
        "{asked}\nanswered only: {}\nwanted only: {}\n{} rows, {} wanted",
        only(&shown, &wanted),
        only(&wanted, &shown),
        shown.len(),
        wanted.len()
    );
}
