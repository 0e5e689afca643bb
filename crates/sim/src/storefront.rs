//! Visitors of a shop, and the door that takes their events: each is sent until it is acknowledged, and now
//! and then once more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use footfall_event::{Limits, Micros, Rejection, parse_event, partition_of};
use footfall_log::{EventLog, Kind, NewRecord};
use rand::Rng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use crate::broker::{Broker, SimLog};
use crate::process::Process;
use crate::world::World;

pub const SITE: &str = "shop";
/// How often one event is sent before its client gives up.
const ATTEMPTS_MAX: usize = 8;

const HOURS: Duration = Duration::from_secs(3 * 3_600);

/// What visitors do.
const NAMES: [&str; 7] =
    ["page_view", "page_view", "click", "info_exposed", "purchase", "search", "error"];

/// What a client knows of an event that it sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub visitor_id: String,
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

/// All events that were ever sent, by their ids.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<BTreeMap<String, Sent>>);

impl Ledger {
    pub fn sent(&self) -> MutexGuard<'_, BTreeMap<String, Sent>> {
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
        event.set_text(footfall_event::Text::Site, SITE);
        let times = event.check(&Limits::default(), received)?;
        let mut payload = Vec::new();
        event.write_record(times, &mut payload);
        Ok(payload)
    });
    let of = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let partition = partition_of(SITE, &of("visitor_id"), partitions);
    match checked {
        Ok(payload) => NewRecord { partition, kind: Kind::Event, payload: payload.into() },
        Err(bad) => {
            let rejection = Rejection {
                id: of("event_id"),
                site: SITE.to_owned(),
                visitor_id: Some(of("visitor_id")),
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
    pub visitor_id: String,
    /// How far its clock is ahead of the true time.
    pub ahead: Micros,
    /// How many events it sends.
    pub events: usize,
    /// Of a hundred, those that are to be refused.
    pub bad: u32,
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
                    let id = event["event_id"].as_str().unwrap_or_default();
                    if let Some(sent) = self.ledger.sent().get_mut(id) {
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
        let id = format!("{}-{number}", self.visitor_id);
        let at = self.world.now();
        let timestamp = (at + self.ahead).to_string();
        let mut chance = self.world.chance();
        let name = NAMES.choose(&mut *chance).copied().unwrap_or("page_view");
        let page = ["product", "cart", "home"].choose(&mut *chance).copied().unwrap_or("home");
        let note = format!("{:x}", chance.random::<u64>());
        let is_bad = chance.random_range(0..100) < self.bad;
        let mut event = json!({
            "event_id": id, "visitor_id": self.visitor_id, "event_name": name, "seq": number,
            "timestamp": timestamp, "page_path": format!("/{page}"), "page_type": page,
            "properties": {"note": note},
        });
        match name {
            "page_view" => event["lcp_ms"] = json!(chance.random_range(1..6) * 1_000),
            "search" => event["search_results"] = json!(chance.random_range(0..2)),
            "click" => event["target"] = json!("button"),
            "info_exposed" => event["info_key"] = json!("delivery"),
            "purchase" => {
                event["order_id"] = json!(format!("o{id}"));
                event["value"] = json!(12.5);
                event["currency"] = json!("EUR");
            }
            _ => {}
        }
        let mut columns = event.as_object().cloned().unwrap_or_default();
        columns.retain(|name, _| !["timestamp", "properties"].contains(&name.as_str()));
        if is_bad {
            event["value"] = json!("much");
        }
        let sent = Sent {
            visitor_id: self.visitor_id.clone(),
            event_name: name.to_owned(),
            note,
            page_path: format!("/{page}"),
            at,
            columns,
            is_acknowledged: false,
            is_bad,
        };
        self.ledger.sent().insert(id, sent);
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
