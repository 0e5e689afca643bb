//! Visitors of a shop, and the door that takes their events: each is sent until it is acknowledged or given up,
//! and now and then once more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use footfall_event::{Limits, Micros, Rejection, parse_event, partition_of};
use footfall_log::{EventLog, Kind, NewRecord};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::broker::{Broker, SimLog};
use crate::process::Process;
use crate::tables::text;
use crate::world::World;

pub const SITE: &str = "shop";
/// Of some visitors, who have the names of others.
pub const OTHER_SITE: &str = "outlet";
/// How often one event is sent before its client gives up.
const ATTEMPTS_MAX: usize = 8;

/// How long an event may be on its way to the door.
pub const LATENCY_MAX: Micros = Micros(200_000);

const HOURS: Duration = Duration::from_secs(3 * 3_600);

/// What visitors do.
const NAMES: [&str; 13] = [
    "page_view",
    "page_view",
    "page_view",
    "click",
    "click",
    "click",
    "info_exposed",
    "purchase",
    "refund",
    "search",
    "error",
    "scroll",
    "heartbeat",
];

/// Site, visitor (empty where there is none) and id, which name an event.
pub type Key = [String; 3];

/// The key of an event, by its columns.
pub fn key_of(event: &Value) -> Key {
    ["site", "visitor_id", "event_id"].map(|column| text(event, column).to_owned())
}

/// What a client knows of an event that it sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub event_name: String,
    pub note: String,
    pub page_path: String,
    /// When it truly happened.
    pub at: Micros,
    /// A 2xx came for it.
    pub is_acknowledged: bool,
    /// What else it says, by the columns that it fills.
    pub columns: serde_json::Map<String, Value>,
    /// It cannot be taken, and was sent to be refused.
    pub is_bad: bool,
}

/// All events that were ever sent.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<BTreeMap<Key, Sent>>);

impl Ledger {
    pub fn sent(&self) -> MutexGuard<'_, BTreeMap<Key, Sent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The door that is open at this moment; one that died is replaced.
#[derive(Clone)]
pub struct Door {
    world: Arc<World>,
    broker: Arc<Broker>,
    open: Arc<Mutex<Arc<Process>>>,
}

impl Door {
    pub fn new(world: &Arc<World>, broker: &Arc<Broker>) -> Door {
        let first = Arc::new(Mutex::new(Process::new(world, "door".to_owned())));
        Door { world: world.clone(), broker: broker.clone(), open: first }
    }

    pub fn process(&self) -> Arc<Process> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens another where this one died.
    pub fn open_again(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) =
            Process::new(&self.world, "door".to_owned());
    }

    /// Posts a body of events; whether it was acknowledged. What is refused is kept as that.
    async fn post(&self, body: &[Value]) -> bool {
        let process = self.process();
        // Only by the time of receipt is it known when an event was sent.
        let latency = Micros(self.world.chance().random_range(0..LATENCY_MAX.0));
        tokio::time::sleep(Duration::from_micros(latency.0 as u64)).await;
        let received = self.world.now();
        let partitions = self.broker.partitions();
        let records = body.iter().map(|event| record(event, received, partitions)).collect();
        let log = SimLog { broker: self.broker.clone(), process: process.clone() };
        // Who is connected to one that dies hears nothing more.
        tokio::select! {
            biased;
            () = process.death() => false,
            appended = log.append(records) => appended.is_ok() && !process.is_dead(),
        }
    }
}

/// The record that the door makes of an event.
fn record(event: &Value, received: Micros, partitions: u32) -> NewRecord {
    let text = event.to_string();
    let checked = parse_event(&text).and_then(|mut event| {
        let times = event.check(&Limits::default(), received)?;
        let mut payload = Vec::new();
        event.write_record(times, &mut payload);
        Ok(payload)
    });
    let [site, visitor_id, id] = key_of(event);
    let who = if visitor_id.is_empty() { &id } else { &visitor_id };
    let partition = partition_of(&site, who, partitions);
    match checked {
        Ok(payload) => NewRecord { partition, kind: Kind::Event, payload: payload.into() },
        Err(bad) => {
            let rejection = Rejection {
                id,
                site,
                visitor_id: Some(visitor_id).filter(|id| !id.is_empty()),
                reason: bad.reason.code().to_owned(),
                field: bad.to_string(),
                payload_bytes: text.len() as i64,
                payload: text,
                received_time: received,
            };
            let payload = serde_json::to_vec(&rejection).unwrap_or_default();
            NewRecord { partition, kind: Kind::Rejected, payload: Bytes::from(payload) }
        }
    }
}

/// One visitor's device.
pub struct Client {
    pub world: Arc<World>,
    pub door: Door,
    pub ledger: Arc<Ledger>,
    pub site: &'static str,
    pub visitor_id: String,
    /// How far its clock is ahead of the true time.
    pub ahead: Micros,
    /// How many events it sends.
    pub events: usize,
    /// Of a hundred, those that are to be refused, and as many without a visitor.
    pub odd: u32,
    /// The longest pause between two of its events.
    pub pause_max: Duration,
    /// It comes back after hours, now and then, and sends then once more what it sent.
    pub comes_back: bool,
}

impl Client {
    /// Visits the shop until its events are sent.
    pub async fn visit(mut self) {
        let mut number = 0;
        while number < self.events {
            let is_back = self.comes_back && self.chance(15);
            let pause_max = if is_back { HOURS } else { self.pause_max };
            let pause = self.drawn(Duration::from_millis(10)..pause_max);
            tokio::time::sleep(pause).await;
            // Its owner sets the clock, while nothing is on its way.
            if self.chance(5) {
                let hours = self.world.chance().random_range(-30..30);
                self.ahead = Micros(hours * Micros::HOUR.0);
                self.world.count("clock of a visitor");
            }
            let count = self.world.chance().random_range(1..=3);
            let body: Vec<Value> = (0..count).map(|more| self.event(number + more)).collect();
            number += count;
            self.send(body).await;
        }
    }

    async fn send(&self, mut body: Vec<Value>) {
        if self.chance(8) {
            // It was offline; the event comes later than the fold waits for it.
            let pause = self.drawn(Duration::from_secs(1)..Duration::from_secs(8));
            tokio::time::sleep(pause).await;
        }
        let mut pause = Duration::from_millis(200);
        for _ in 0..ATTEMPTS_MAX {
            let sent_at = (self.world.now() + self.ahead).to_string();
            body.iter_mut().for_each(|event| event["sent_at"] = json!(sent_at));
            if self.door.post(&body).await {
                for event in &body {
                    if let Some(sent) = self.ledger.sent().get_mut(&key_of(event)) {
                        sent.is_acknowledged = true;
                    }
                }
                self.world.trace(&self.visitor_id, "acknowledged", &body.len().to_string());
                // Some send all the same once more, at once or when their ids are long forgotten.
                if self.chance(10) {
                    let most = [1, 3, 500].choose(&mut *self.world.chance()).copied();
                    let later =
                        Duration::from_secs(self.world.chance().random_range(0..most.unwrap_or(1)));
                    let later = if self.comes_back && self.chance(50) { HOURS } else { later };
                    let told = if later == HOURS { "sent again after hours" } else { "sent again" };
                    self.world.trace(&self.visitor_id, told, "");
                    tokio::time::sleep(later).await;
                    let sent_at = (self.world.now() + self.ahead).to_string();
                    body.iter_mut().for_each(|event| event["sent_at"] = json!(sent_at));
                    self.door.post(&body).await;
                }
                return;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.world.trace(&self.visitor_id, "given up", &body.len().to_string());
    }

    fn event(&self, number: usize) -> Value {
        let at = self.world.now();
        let timestamp = (at + self.ahead).to_string();
        let mut chance = self.world.chance();
        let name = *NAMES.choose(&mut *chance).unwrap_or(&"page_view");
        let page = *["product", "cart", "home"].choose(&mut *chance).unwrap_or(&"home");
        let note = format!("{:x}", chance.random::<u64>());
        let is_bad = chance.random_range(0..100) < self.odd;
        // Ids are a visitor's own; without a visitor, a site's.
        let is_somebodys = chance.random_range(0..100) >= self.odd;
        let mut event = match is_somebodys {
            true => json!({"event_id": format!("e{number}"), "visitor_id": self.visitor_id}),
            false => json!({"event_id": format!("{}-{number}", self.visitor_id)}),
        };
        event["site"] = json!(self.site);
        event["event_name"] = json!(name);
        event["page_path"] = json!(format!("/{page}"));
        event["page_type"] = json!(page);
        says(&mut event, name, number, &mut chance);
        drop(chance);
        let columns = event.as_object().cloned().unwrap_or_default();
        event["timestamp"] = json!(timestamp);
        event["properties"] = json!({"note": note});
        if is_bad {
            event["value"] = json!("much");
        }
        let sent = Sent {
            event_name: name.to_owned(),
            note,
            page_path: format!("/{page}"),
            at,
            columns,
            is_acknowledged: false,
            is_bad,
        };
        self.ledger.sent().insert(key_of(&event), sent);
        event
    }

    /// Whether it happens, so often of a hundred times.
    fn chance(&self, percent: u32) -> bool {
        self.world.chance().random_range(0..100) < percent
    }

    fn drawn(&self, range: std::ops::Range<Duration>) -> Duration {
        let millis = range.start.as_millis() as u64..range.end.as_millis() as u64;
        Duration::from_millis(self.world.chance().random_range(millis))
    }
}

/// What an event says beside who, where and when.
fn says(event: &mut Value, name: &str, number: usize, chance: &mut ChaCha8Rng) {
    let mut drawn = |most: usize| chance.random_range(0..most);
    // Equal times are told apart by it, or by ids alone.
    if drawn(5) > 0 {
        event["seq"] = json!(number);
    }
    if drawn(4) == 0 {
        event["page_view_id"] = json!(["p1", "p2"][drawn(2)]);
    }
    if drawn(2) == 0 {
        event["page_url"] = json!(["https://shop.example/1", "https://shop.example/2"][drawn(2)]);
    }
    if drawn(4) == 0 {
        event["visible_ms"] = json!([0, 900][drawn(2)]);
    }
    if drawn(10) == 0 {
        event["utm_source"] = json!("ads");
        // Who is logged in is a visitor, with or without another id.
        if !event["visitor_id"].is_null() {
            event["user_id"] = json!("u1");
        }
    }
    if drawn(40) == 0 {
        event["bot"] = json!("of a test");
    }
    match name {
        "page_view" => event["lcp_ms"] = json!((1 + drawn(5)) * 1_000),
        "search" => event["search_results"] = json!(drawn(2)),
        "click" => {
            event["target"] = json!(["button", "link"][drawn(4) / 3]);
            if drawn(6) > 0 {
                event["x"] = json!(drawn(30));
                event["y"] = json!(drawn(30));
            }
        }
        "info_exposed" => event["info_key"] = json!(["delivery", "returns"][drawn(3) / 2]),
        "purchase" | "refund" => {
            // An order may be told again.
            if drawn(4) > 0 {
                event["order_id"] = json!(["A", "B", "C"][drawn(3)]);
            }
            event["value"] = json!([12.5, 3.0001][drawn(2)]);
            event["currency"] = json!(["EUR", "USD"][drawn(8) / 7]);
        }
        _ => {}
    }
}
