//! A storefront's events in the shape that the peers were measured with: few visitors come often, most
//! once; a session begins more than half an hour after the one before, walks from the list over the item
//! and the cart to the purchase, and asks for delivery, returns and sizes on its way. Twenty visitors are
//! robots that never pause. Equal numbers in give equal events out.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Result;

const NAMES: [&str; 18] = [
    "session_start",
    "page_view",
    "view_item_list",
    "select_item",
    "view_item",
    "scroll",
    "search",
    "add_to_cart",
    "view_cart",
    "remove_from_cart",
    "begin_checkout",
    "add_shipping_info",
    "add_payment_info",
    "purchase",
    "view_delivery_info",
    "view_returns_info",
    "view_size_guide",
    "user_engagement",
];
const CAMPAIGNS: [(&str, &str); 5] = [
    ("", ""),
    ("newsletter", "email"),
    ("google", "cpc"),
    ("instagram", "social"),
    ("partner", "affiliate"),
];
const DEVICES: [&str; 3] = ["mobile", "desktop", "tablet"];
const COUNTRIES: [&str; 8] = ["DE", "FR", "NL", "GB", "US", "ES", "IT", "SE"];
const CATEGORIES: [&str; 4] = ["trail-shoes", "rain-jackets", "backpacks", "tents"];

/// 2026-01-01, in milliseconds.
const BEGIN_MS: i64 = 1_767_225_600_000;
const DAY_MS: i64 = 86_400_000;
const PAUSE_MS: i64 = 31 * 60_000;
const DAYS: u64 = 7;
const ROBOTS: u64 = 20;
const EVENTS_A_SESSION: f64 = 7.3;

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed(self.0)
    }

    /// At least 0 and below 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.share()).ln()
    }
}

fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[derive(Clone, Copy)]
struct Event {
    time_ms: i64,
    visitor: u32,
    item: u32,
    name: u8,
}

/// Writes `count` events of `visitors` visitors as CSV, in the order of their times.
///
/// # Errors
/// When the file cannot be written.
pub fn write(file: &Path, count: usize, visitors: u64) -> Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, std::fs::File::create(file)?);
    writeln!(
        out,
        "event_id,timestamp,visitor_id,event_name,page_path,utm_source,utm_medium,device_type,country"
    )?;
    for (number, event) in events(count, visitors).iter().enumerate() {
        let visitor = mixed(u64::from(event.visitor) + 0xF00F);
        let (source, medium) = CAMPAIGNS[(visitor >> 24) as usize % CAMPAIGNS.len()];
        writeln!(
            out,
            "{:016x}{:016x},{},{visitor:016x},{},{},{source},{medium},{},{}",
            mixed(number as u64),
            mixed(number as u64 ^ 0xABCD),
            event.time_ms,
            NAMES[event.name as usize],
            page(event),
            DEVICES[(visitor >> 8) as usize % DEVICES.len()],
            COUNTRIES[(visitor >> 16) as usize % COUNTRIES.len()],
        )?;
    }
    Ok(out.flush()?)
}

fn events(count: usize, visitors: u64) -> Vec<Event> {
    // Zipf-Mandelbrot: how often a visitor comes falls with its number, scaled to the count.
    let shift = 2_000.0 * (visitors as f64 / 500_000.0);
    let weight = |visitor: u64| 1.0 / (visitor as f64 + shift);
    let weights: f64 = (0..visitors).map(weight).sum();
    let more = (count as f64 * 1.02 / EVENTS_A_SESSION - visitors as f64).max(0.0);
    let mut events = Vec::with_capacity(count + count / 10);
    for visitor in 0..visitors {
        let mut random = Random(mixed(42 ^ (visitor << 20)));
        let sessions = (1.0 + more / weights * weight(visitor) + random.share()) as usize;
        let mut starts: Vec<i64> = (0..sessions.max(1))
            .map(|_| {
                let hours = (random.share() + random.share()) * 12.0;
                let day = random.below(DAYS) as i64 * DAY_MS;
                BEGIN_MS + day + (hours * 3_600_000.0) as i64 + random.below(1_000) as i64
            })
            .collect();
        starts.sort_unstable();
        let mut end = 0;
        for start in starts {
            let start = start.max(end + PAUSE_MS + random.below(600_000) as i64);
            end = session(&mut random, visitor as u32, start, &mut events);
        }
    }
    for robot in 0..ROBOTS {
        let mut random = Random(42 + robot);
        let mut time_ms = BEGIN_MS + robot as i64 * 5 * 3_600_000;
        for _ in 0..(count / 4_000).max(1) {
            time_ms += 700 + random.below(600) as i64;
            let item = random.below(20_000) as u32;
            events.push(Event { time_ms, visitor: (visitors + robot) as u32, item, name: 4 });
        }
    }
    events.sort_unstable_by_key(|event| (event.time_ms, event.visitor, event.name, event.item));
    events.truncate(count);
    events
}

/// One session; when it ended.
fn session(random: &mut Random, visitor: u32, mut time_ms: i64, events: &mut Vec<Event>) -> i64 {
    let length = (2 + random.exponential(6.3) as usize).min(120);
    let any_item = |random: &mut Random| (random.share() * random.share() * 20_000.0) as u32;
    let mut item = any_item(random);
    // 0 looks around, 1 at an item, 2 the cart, 3 checkout, 4 shipping, 5 payment.
    let mut stage = 0;
    events.push(Event { time_ms, visitor, item: item % 12, name: 0 });
    for _ in 1..length {
        let pause = match random.below(10) {
            0..=3 => 300 + random.exponential(2_500.0) as i64,
            4..=8 => 800 + random.exponential(20_000.0) as i64,
            _ => 5_000 + random.exponential(120_000.0) as i64,
        };
        time_ms += pause.min(25 * 60_000);
        let (name, next) = step(stage, random.share());
        if name == 4 {
            item = any_item(random);
        }
        stage = next;
        events.push(Event { time_ms, visitor, item, name });
    }
    time_ms
}

/// What follows at a stage, by chance: the event's name, and the stage after it.
fn step(stage: u8, chance: f64) -> (u8, u8) {
    let ways: &[(f64, (u8, u8))] = match stage {
        0 => &[(0.30, (1, 0)), (0.50, (2, 0)), (0.58, (6, 0)), (0.68, (3, 0)), (1.0, (4, 1))],
        1 => &[
            (0.16, (14, 1)),
            (0.20, (15, 1)),
            (0.25, (16, 1)),
            (0.42, (5, 1)),
            (0.50, (17, 1)),
            (0.66, (7, 2)),
            (0.82, (4, 1)),
            (1.0, (1, 0)),
        ],
        2 => &[(0.30, (8, 2)), (0.36, (9, 0)), (0.62, (10, 3)), (0.80, (4, 1)), (1.0, (2, 0))],
        3 => &[(0.62, (11, 4)), (0.72, (14, 3)), (1.0, (8, 2))],
        4 => &[(0.75, (12, 5)), (0.85, (14, 4)), (1.0, (8, 2))],
        _ => &[(0.80, (13, 0)), (1.0, (8, 2))],
    };
    ways.iter().find(|(below, _)| chance < *below).map_or((1, 0), |(_, way)| *way)
}

fn page(event: &Event) -> String {
    let category = CATEGORIES[event.item as usize % CATEGORIES.len()];
    match event.name {
        0..=2 | 17 => format!("/c/{category}"),
        6 => format!("/search/{category}"),
        3..=5 | 16 => format!("/p/{category}/{}", event.item),
        7..=9 => "/cart".to_owned(),
        10 => "/checkout".to_owned(),
        11 => "/checkout/shipping".to_owned(),
        12 => "/checkout/payment".to_owned(),
        13 => "/checkout/thank-you".to_owned(),
        14 => "/info/delivery".to_owned(),
        _ => "/info/returns".to_owned(),
    }
}
