//! A topic of another system, on a real Kafka, carried into the log: once, whoever dies while it is.

use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use chrono::{SecondsFormat, Utc};
use footfall_tests::{Footfall, Kafka, Running, wait_until};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use tempfile::TempDir;

use crate::pauses::Pauses;
use crate::sample::quick;

const TOPIC: &str = "shop.clicks";
const PARTITIONS: i32 = 3;
const EVENTS: i64 = 3_000;
const VISITORS: i64 = 50;
const KILLS: u64 = 8;
const RECEIVED: &str = r#"footfall_ingest_received_total{protocol="bridge"}"#;
const PATIENCE: Duration = Duration::from_secs(60);

const MAP: &str = r#"
site = "shop"
[columns]
timestamp = "meta.at"
event_name = "meta.kind"
visitor_id = "who.id"
event_id = "id"
page_url = "url"
[values.event_name]
view = "page_view"
"#;

/// Each is refused, by its own reason.
const BAD: [(&[u8], &str); 5] = [
    (b"no JSON", "bad_json"),
    (b"{\"id\":\"\xff\"}", "bad_json"),
    (b"", "bad_json"),
    (br#"{"meta":{"kind":"view","at":"yesterday"},"who":{"id":"v"}}"#, "bad_time"),
    (br#"{"meta":{"at":"2026-01-01T00:00:00Z"}}"#, "missing"),
];

#[test]
fn a_topic_is_carried_over_once_whatever_dies() -> Result<()> {
    let folder = TempDir::new()?;
    let kafka = Kafka::start(1)?;
    kafka.make_topic(TOPIC, PARTITIONS)?;
    let footfall = configured(folder.path(), &kafka)?;
    let sending = sender(&kafka, &BAD);
    let mut running = footfall.start("up")?;
    let mut pauses = Pauses::new(0x0b21_d6e5);
    for _ in 0..KILLS {
        pauses.sleep(50, 2_500);
        running.kill()?;
        running = footfall.spawn("up", "127.0.0.1:0")?;
    }
    running.stop_starting()?;
    sending.join().map_err(|_| anyhow!("the sender broke off"))??;

    let running = footfall.start("up")?;
    wait_for(&running, "SELECT count(*) FROM events", EVENTS)?;
    wait_for(&running, "SELECT count(*) FROM rejected", BAD.len() as i64)?;
    ensure_whole(&running)?;
    ensure_refused(&running)?;
    running.stop()?;

    // Another group reads all of it again, as one does whose offsets were lost.
    let again = footfall.clone().set("log.group=again").start("up")?;
    let repeated = EVENTS + BAD.len() as i64;
    let at_least = format!("SELECT CAST(count(*) >= {repeated} AS int) FROM duplicates");
    wait_for(&again, &at_least, 1)?;
    ensure_whole(&again)?;
    ensure_refused(&again)?;
    let received = again.metric(again.ingest(), RECEIVED)?;
    ensure!(received >= repeated as f64, "{received} messages were counted");
    again.stop()?;
    footfall.run_well(&["verify"])?;
    Ok(())
}

/// One of two collectors stands still, for longer than its group waits for it and than ids are remembered: its partitions
/// are the other's by then, and what it had in hand comes late.
#[test]
fn a_collector_that_stood_still_doubles_nothing() -> Result<()> {
    const STANDS_STILL: Duration = Duration::from_secs(14);
    let folder = TempDir::new()?;
    let kafka = Kafka::start(1)?;
    kafka.make_topic(TOPIC, PARTITIONS)?;
    let footfall = configured(folder.path(), &kafka)?
        .set(&format!("log.brokers={}", kafka.brokers))
        .set("rules.allowed_lateness=1s")
        .set("rules.dedupe_window=10s");
    let (first, second) = (footfall.start("ingest")?, footfall.start("ingest")?);
    let (pipeline, query) = (footfall.start("pipeline")?, footfall.start("query")?);
    let sending = sender(&kafka, &[]);
    for collector in [&first, &second] {
        std::thread::sleep(Duration::from_secs(3));
        signal(collector, "STOP")?;
        std::thread::sleep(STANDS_STILL);
        signal(collector, "CONT")?;
    }
    sending.join().map_err(|_| anyhow!("the sender broke off"))??;
    wait_for(&query, "SELECT count(*) FROM events", EVENTS)?;
    wait_until("the topic is taken", PATIENCE, || is_taken(&kafka))?;
    // What came twice among it.
    let received = |collector: &Running| collector.metric(collector.ingest(), RECEIVED);
    let messages = received(&first)? + received(&second)?;
    wait_for(&query, "SELECT sum(received) FROM receipts", messages as i64)?;
    ensure_whole(&query)?;
    for part in [first, second, pipeline, query] {
        part.stop()?;
    }
    footfall.run_well(&["verify"])?;
    Ok(())
}

/// Has the bridge's group come to the end of the topic?
fn is_taken(kafka: &Kafka) -> Result<bool> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &kafka.brokers).set("group.id", "footfall.clicks");
    let asker: BaseConsumer = config.create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition_range(TOPIC, 0, PARTITIONS - 1);
    let committed = asker.committed_offsets(list, PATIENCE)?;
    for partition in committed.elements() {
        let (_, end) = asker.fetch_watermarks(TOPIC, partition.partition(), PATIENCE)?;
        if partition.offset() != Offset::Offset(end) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn signal(running: &Running, name: &str) -> Result<()> {
    let process = running.process().to_string();
    let status = Command::new("kill").args(["-s", name, &process]).status()?;
    ensure!(status.success(), "kill -s {name}: {status}");
    Ok(())
}

fn configured(folder: &std::path::Path, kafka: &Kafka) -> Result<Footfall> {
    let map = folder.join("clicks.map.toml");
    std::fs::write(&map, MAP)?;
    let config = folder.join("footfall.toml");
    let (brokers, map) = (&kafka.brokers, map.display());
    std::fs::write(
        &config,
        format!(
            "[[bridge]]\nname = 'clicks'\nbrokers = '{brokers}'\ntopic = '{TOPIC}'\nmap = '{map}'\n"
        ),
    )?;
    Ok(quick(&folder.join("data")).config(&config))
}

/// Every refusal once, by its reason.
fn ensure_refused(running: &Running) -> Result<()> {
    let reasons = running.sql("SELECT reason, count(*) FROM rejected GROUP BY 1 ORDER BY 1")?;
    let expected =
        [("bad_json", 3), ("bad_time", 1), ("missing", 1)].map(|row| serde_json::json!(row));
    ensure!(reasons == expected, "{reasons:?}");
    Ok(())
}

/// Every event once, and what the map says in its column.
fn ensure_whole(running: &Running) -> Result<()> {
    let counts =
        "SELECT count(*), count(DISTINCT event_id), count(DISTINCT visitor_id) FROM events";
    let row = running.sql(counts)?;
    ensure!(row == [serde_json::json!([EVENTS, EVENTS, VISITORS])], "{row:?}");
    let wrong = running.number(
        "SELECT count(*) FROM events WHERE NOT (site = 'shop' AND event_name = 'page_view' \
         AND page_url LIKE 'https://shop.example/p/%' \
         AND strpos(properties, '\"cut\":\"\\ufffd\"') > 0 \
         AND properties LIKE '%\"n\":\"' || substr(page_url, 24) || '\"}')",
    )?;
    ensure!(wrong == 0, "{wrong} events are not what was sent");
    let given = running
        .number("SELECT count(*) FROM events WHERE event_id ~ '^clicks/[0-2]/[0-9]+@[0-9]{13}$'")?;
    ensure!(given == EVENTS / 2, "{given} events have ids of their places");
    Ok(())
}

fn wait_for(running: &Running, statement: &str, expected: i64) -> Result<()> {
    wait_until(statement, PATIENCE, || Ok(running.number(statement).ok() == Some(expected)))
}

/// Sends all messages within some ten seconds, those that are refused last.
fn sender(kafka: &Kafka, bad: &'static [(&[u8], &str)]) -> JoinHandle<Result<()>> {
    let brokers = kafka.brokers.clone();
    std::thread::spawn(move || send(&brokers, bad))
}

/// Every other event has an id of its own, each half a character.
fn send(brokers: &str, bad: &[(&[u8], &str)]) -> Result<()> {
    let mut config = ClientConfig::new();
    let producer: BaseProducer = config.set("bootstrap.servers", brokers).create()?;
    for number in 0..EVENTS {
        let at = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
        let visitor = format!("v{}", number % VISITORS);
        let id = if number % 2 == 0 { format!(r#""id":"e-{number}","#) } else { String::new() };
        let value = format!(
            r#"{{{id}"meta":{{"kind":"view","at":"{at}"}},"who":{{"id":"{visitor}"}},"url":"https://shop.example/p/{number}","cut":"\ud83d","n":"{number}"}}"#
        );
        send_one(&producer, &visitor, value.as_bytes())?;
        if number % 300 == 0 {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    for (value, _) in bad {
        send_one(&producer, "bad", value)?;
    }
    Ok(producer.flush(PATIENCE)?)
}

fn send_one(producer: &BaseProducer, key: &str, value: &[u8]) -> Result<()> {
    let record = BaseRecord::to(TOPIC).key(key).payload(value);
    producer.send(record).map_err(|(error, _)| error)?;
    producer.poll(Duration::ZERO);
    Ok(())
}
