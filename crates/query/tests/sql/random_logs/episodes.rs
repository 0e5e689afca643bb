//! `needs`.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

use footfall_event::schema::Table;
use footfall_query::DeclaredNeed;
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use super::calendar::{day_of, day_text, time_text};
use super::log::{self, Condition, Event, Scope, compare, whole};
use crate::service::Service;

const SEED: u64 = 111;
const CALLS: usize = 80;
/// Orders that a session remembers.
const ORDERS: usize = 16;

const RAISED: [Condition; 4] = [
    ("event_name IN ('a', 'b')", |it| ["a", "b"].contains(&it.name)),
    ("event_name = 'view'", |it| it.name == "view"),
    ("page_type = 'cart'", |it| it.page_type == Some("cart")),
    ("section <> 'i1'", |it| it.section.is_some_and(|section| section != "i1")),
];
const FOUND: [Condition; 4] = [
    ("event_name = 'info'", |it| it.name == "info"),
    ("event_name = 'info' AND visible_ms >= 100", |it| {
        it.name == "info" && it.visible_ms.is_some_and(|visible_ms| visible_ms >= 100)
    }),
    // May hold for the raising event itself.
    ("event_name = 'info' OR section = 'i2'", |it| it.name == "info" || it.section == Some("i2")),
    ("event_name = 'never'", |_| false),
];
const CONVERTED: [Condition; 2] = [
    ("event_name = 'purchase'", |it| it.name == "purchase"),
    ("event_name = 'c' OR section = 'i1'", |it| it.name == "c" || it.section == Some("i1")),
];
const WITHIN_US: [i64; 5] = [1, 3, 500_000, 1_500_000, 3_000_000];

/// A session as the tables tell it.
struct Session<'a> {
    id: &'a str,
    site: &'static str,
    visitor: &'a str,
    started_us: i64,
    ended_us: i64,
    is_bot: bool,
    /// In order, without those beyond the cap.
    events: Vec<&'a Event>,
}

fn sessions(events: &[Event]) -> Vec<Session<'_>> {
    let mut by_id: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in events {
        if let Some(session) = &event.session {
            by_id.entry(session).or_default().push(event);
        }
    }
    by_id.into_iter().map(|(id, events)| session(id, events)).collect()
}

fn session<'a>(id: &'a str, mut events: Vec<&'a Event>) -> Session<'a> {
    events.sort_by(|a, b| whole(a).cmp(&whole(b)));
    let (started_us, ended_us) = (events[0].time_us, events[events.len() - 1].time_us);
    let (site, visitor) = (events[0].site, events[0].visitor.as_deref().unwrap());
    events.retain(|event| !event.is_overflow);
    let is_bot = events.iter().any(|event| event.is_bot);
    Session { id, site, visitor, started_us, ended_us, is_bot, events }
}

/// An event named `view` has no id of its page and no address, so each begins a page view.
fn page_views<'a>(session: &'a Session<'_>) -> impl Iterator<Item = &'a Event> {
    session.events.iter().copied().filter(|event| event.name == "view")
}

async fn commit(service: &Service, sessions: &[Session<'_>]) {
    let (mut rows, mut views) = (String::new(), String::new());
    for session in sessions {
        let date = day_text(day_of(session.started_us));
        let row = json!({
            "session_id": session.id, "site": session.site, "visitor_id": session.visitor,
            "started_at": time_text(session.started_us), "ended_at": time_text(session.ended_us),
            "bot": session.is_bot.then_some("ua:bot"), "session_date": date,
        });
        writeln!(rows, "{row}").unwrap();
        for view in page_views(session) {
            let view = json!({"session_id": session.id, "started_at": time_text(view.time_us),
                "session_date": date});
            writeln!(views, "{view}").unwrap();
        }
    }
    service.commit(Table::Sessions, &rows).await;
    service.commit(Table::PageViews, &views).await;
}

struct Need {
    name: &'static str,
    raised_by: Condition,
    found_by: Condition,
    converted_by: Condition,
    within_us: i64,
    clicks_max: Option<i64>,
}

impl Need {
    fn random(rng: &mut SmallRng) -> Need {
        Need {
            name: "needs()",
            raised_by: *RAISED.choose(rng).unwrap(),
            found_by: *FOUND.choose(rng).unwrap(),
            converted_by: *CONVERTED.choose(rng).unwrap(),
            within_us: *WITHIN_US.choose(rng).unwrap(),
            clicks_max: rng.random_ratio(3, 4).then(|| rng.random_range(0..3)),
        }
    }

    fn declared(&self) -> DeclaredNeed {
        DeclaredNeed {
            name: self.name.to_owned(),
            raised_by: self.raised_by.0.to_owned(),
            found_by: self.found_by.0.to_owned(),
            within_us: self.within_us,
            clicks_max: self.clicks_max.unwrap(),
        }
    }

    fn arguments(&self) -> String {
        let mut arguments = format!(
            "raised_by => {}, found_by => {}, converted_by => {}, within => '{}us'",
            self.raised_by.0, self.found_by.0, self.converted_by.0, self.within_us
        );
        if let Some(clicks_max) = self.clicks_max {
            arguments.push_str(&format!(", max_clicks => {clicks_max}"));
        }
        arguments
    }

    /// The row of a session that raised it.
    fn row(&self, session: &Session<'_>) -> Option<Value> {
        let events = &session.events;
        let raises = |event: &&Event| (self.raised_by.1)(event) && event.visible_ms != Some(0);
        let raised = events.iter().position(raises)?;
        let found = |event: &&&Event| (self.found_by.1)(event);
        if events[..raised].iter().any(|event| found(&event)) {
            return None;
        }
        let t0 = events[raised].time_us;
        let least = |times_us: Vec<i64>| times_us.into_iter().filter(|it| *it >= t0).min();
        let conversion = least(self.conversions_us(events));
        let t1 = least(events.iter().filter(found).map(|event| event.time_us).collect())
            .filter(|t1| conversion.is_none_or(|conversion| *t1 <= conversion));
        let end = t1.or(conversion).unwrap_or(i64::MAX);
        let clicks = (0..events.len()).filter(|place| {
            let event = events[*place];
            *place != raised && event.name == "click" && (t0..=end).contains(&event.time_us)
        });
        let clicks = clicks.count() as i64;
        let is_in_time = |t1: i64| {
            t1 - t0 <= self.within_us && self.clicks_max.is_none_or(|most| clicks <= most)
        };
        let outcome = match (t1, conversion) {
            (Some(t1), _) if is_in_time(t1) => "found_in_time",
            (Some(_), _) => "found_late",
            (None, Some(_)) => "converted_without",
            (None, None) if page_views(session).any(|view| view.time_us > t0) => "gave_up",
            (None, None) => "abandoned",
        };
        let is_lost = t1.is_none() && conversion.is_none();
        Some(json!([
            session.id,
            session.site,
            session.visitor,
            self.name,
            time_text(t0),
            events[raised].page_type.map(|page| format!("/{page}")),
            events[raised].page_type,
            t1.map(time_text),
            t1.map(|t1| (t1 - t0) / 1_000),
            clicks,
            outcome,
            (session.ended_us - t0) / 1_000,
            is_lost && session.ended_us - t0 < self.within_us,
            conversion.is_some(),
            day_text(day_of(session.started_us)),
        ]))
    }

    /// Of conversions that count: an order told again, while it is remembered, is none.
    fn conversions_us(&self, events: &[&Event]) -> Vec<i64> {
        let mut remembered: VecDeque<&str> = VecDeque::new();
        let mut times_us = Vec::new();
        for event in events.iter().filter(|event| (self.converted_by.1)(event)) {
            if let Some(order) = &event.order {
                if remembered.contains(&order.as_str()) {
                    continue;
                }
                remembered.push_back(order);
                if remembered.len() > ORDERS {
                    remembered.pop_front();
                }
            }
            times_us.push(event.time_us);
        }
        times_us
    }
}

const COLUMNS: &str = "session_id, site, visitor_id, need, raised_at, raised_path, raised_page_type, \
                       found_at, info_ms, click_count, outcome, left_after_ms, left_before_deadline, \
                       converted, session_date";

#[tokio::test]
async fn the_episodes_of_a_need_are_those_of_its_definition() {
    let mut events = log::logs();
    events.extend(log::long_logs());
    let sessions = sessions(&events);
    let mut rng = log::rng(SEED);
    let mut declared = Need::random(&mut rng);
    (declared.name, declared.converted_by) = ("declared", CONVERTED[0]);
    declared.clicks_max = Some(1);
    let service = log::lake(&events, vec![declared.declared()]).await;
    commit(&service, &sessions).await;
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..CALLS {
        let drawn = Need::random(&mut rng);
        let (need, arguments) = match number {
            0 => (&declared, "'declared'".to_owned()),
            _ => (&drawn, drawn.arguments()),
        };
        let scope = Scope { filter: None, ..Scope::random(&mut rng) };
        let (from_us, to_us) = scope.range_us;
        let counts = |session: &&Session<'_>| {
            (scope.has_bots || !session.is_bot)
                && from_us.is_none_or(|from_us| session.started_us >= from_us)
                && to_us.is_none_or(|to_us| session.started_us < to_us)
        };
        let wanted: Vec<Value> =
            sessions.iter().filter(counts).filter_map(|session| need.row(session)).collect();
        for row in &wanted {
            *outcomes.entry(row[10].to_string()).or_default() += 1;
        }
        let sql = format!("SELECT {COLUMNS} FROM needs({arguments}{})", scope.arguments());
        compare(service.rows(&sql).await, wanted, &sql);
    }
    assert!(outcomes.len() == 5 && outcomes.values().all(|count| *count > 100), "{outcomes:?}");
}
