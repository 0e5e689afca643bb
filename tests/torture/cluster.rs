//! The parts as processes of their own on three Kafka brokers, behind a network that fails: parts and brokers
//! killed, pipelines joining and leaving, hours of lag, and records written to the topic by hand.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use footfall_tests::{Footfall, Kafka, Running};
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore};
use rand_chacha::ChaCha8Rng;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tempfile::TempDir;

use crate::client::Client;
use crate::proxy::Proxy;
use crate::round::{Totals, check, list, port, quick, settle};

const BROKERS: usize = 3;
const PARTITIONS: i32 = 8;
const TOPIC: &str = "footfall.events";
const PIPELINES: usize = 2;
const PAUSE: Duration = Duration::from_millis(150);
/// How long the topic may take to take a record.
const POISON_MAX: Duration = Duration::from_secs(60);

/// Tortures one lake for `storm`, lets it come right, and checks it.
///
/// # Errors
/// What was lost, doubled, or did not come right.
pub fn round(seed: u64, rng: &mut ChaCha8Rng, storm: Duration, totals: &mut Totals) -> Result<()> {
    let folder = TempDir::new()?;
    let mut cluster = Cluster::start(&folder)?;
    let client = Client::start(&cluster.door()?, &list(folder.path()), seed, PAUSE)?;
    let began = Instant::now();
    let mut poison = 0;
    let mut lagged = false;
    while began.elapsed() < storm {
        std::thread::sleep(Duration::from_millis(rng.random_range(200..2_500)));
        cluster.require_all_alive()?;
        match rng.random_range(0..10) {
            0..3 => cluster.kill_pipeline(rng, totals)?,
            3 => cluster.kill_ingest(rng, totals)?,
            4 => cluster.fail_broker(rng, totals)?,
            5 => cluster.join_and_leave(rng, totals)?,
            6 if !lagged => {
                lagged = true;
                cluster.lag(storm / 5, totals)?;
            }
            7 => poison += cluster.poison(rng)?,
            _ => cluster.fail_network(rng, totals),
        }
    }
    poison += cluster.poison(rng)?;
    totals.poison += poison;
    totals.broken += client.broken();
    totals.refused += client.refused();
    let sent = client.finish()?;
    totals.acknowledged += sent.acknowledged;
    settle(&cluster.query, &sent)?;
    let Cluster { footfall, query, .. } = cluster.stop_writers()?;
    check(folder.path(), &footfall, query, poison)
}

struct Cluster {
    footfall: Footfall,
    listen: String,
    ingest: Option<Running>,
    pipelines: Vec<Running>,
    query: Running,
    /// Before the collector, then before each broker.
    proxies: Vec<Proxy>,
    kafka: Kafka,
}

impl Cluster {
    fn start(folder: &TempDir) -> Result<Cluster> {
        let first = successive_ports()?;
        let kafka = Kafka::start_behind(BROKERS, Some(first))?;
        let listen = format!("127.0.0.1:{}", port()?);
        let mut proxies = vec![Proxy::start(0, &listen)?];
        for (port, broker) in (first..).zip(kafka.brokers.split(',')) {
            proxies.push(Proxy::start(port, broker)?);
        }
        let addresses: Vec<String> = proxies[1..].iter().map(Proxy::address).collect();
        let footfall = quick(&folder.path().join("data"))
            .set("pipeline.rewrite_interval=1s")
            .set(&format!("log.partitions={PARTITIONS}"))
            .set(&format!("log.brokers={}", addresses.join(",")));
        let ingest = Some(footfall.start_on("ingest", &listen)?);
        let pipelines =
            (0..PIPELINES).map(|_| footfall.start("pipeline")).collect::<Result<_>>()?;
        let query = footfall.start("query")?;
        Ok(Cluster { footfall, listen, ingest, pipelines, query, proxies, kafka })
    }

    fn door(&self) -> Result<String> {
        let proxy = self.proxies.first().context("no proxy")?;
        Ok(format!("http://{}", proxy.address()))
    }

    /// Nobody ends by itself, whatever goes wrong.
    fn require_all_alive(&mut self) -> Result<()> {
        let own = [&mut self.query].into_iter().chain(&mut self.pipelines).chain(&mut self.ingest);
        for running in own {
            if let Some(status) = running.ended()? {
                bail!("a process ended by itself: {status}");
            }
        }
        Ok(())
    }

    fn kill_pipeline(&mut self, rng: &mut ChaCha8Rng, totals: &mut Totals) -> Result<()> {
        let place = rng.random_range(0..self.pipelines.len());
        self.pipelines.swap_remove(place).kill()?;
        totals.kills += 1;
        std::thread::sleep(Duration::from_millis(rng.random_range(0..1_500)));
        self.pipelines.push(self.pipeline()?);
        Ok(())
    }

    fn pipeline(&self) -> Result<Running> {
        self.footfall.spawn("pipeline", "127.0.0.1:0")
    }

    fn kill_ingest(&mut self, rng: &mut ChaCha8Rng, totals: &mut Totals) -> Result<()> {
        let running = self.ingest.take().context("no collector")?;
        if rng.random_bool(0.5) {
            running.kill()?;
            totals.kills += 1;
        } else {
            running.stop_starting()?;
            totals.stops += 1;
        }
        self.ingest = Some(self.footfall.spawn("ingest", &self.listen)?);
        Ok(())
    }

    /// One broker at a time: two of three copies are enough.
    fn fail_broker(&mut self, rng: &mut ChaCha8Rng, totals: &mut Totals) -> Result<()> {
        let broker = rng.random_range(1..=BROKERS);
        self.kafka.kill(broker)?;
        totals.broker_kills += 1;
        std::thread::sleep(Duration::from_millis(rng.random_range(500..6_000)));
        self.kafka.restart(broker)
    }

    /// A third pipeline comes, and is gone after a while.
    fn join_and_leave(&mut self, rng: &mut ChaCha8Rng, totals: &mut Totals) -> Result<()> {
        let third = self.pipeline()?;
        std::thread::sleep(Duration::from_millis(rng.random_range(500..6_000)));
        if rng.random_bool(0.5) {
            third.kill()?;
            totals.kills += 1;
        } else {
            third.stop_starting()?;
            totals.stops += 1;
        }
        Ok(())
    }

    /// Nobody reads for a while; the log grows.
    fn lag(&mut self, pause: Duration, totals: &mut Totals) -> Result<()> {
        for pipeline in self.pipelines.drain(..) {
            pipeline.kill()?;
            totals.kills += 1;
        }
        std::thread::sleep(pause);
        totals.lag_longest = totals.lag_longest.max(pause);
        for _ in 0..PIPELINES {
            self.pipelines.push(self.pipeline()?);
        }
        Ok(())
    }

    fn fail_network(&self, rng: &mut ChaCha8Rng, totals: &mut Totals) {
        let Some(proxy) = self.proxies.choose(rng) else { return };
        totals.network_faults += 1;
        match rng.random_range(0..3) {
            0 => proxy.cut(false),
            1 => proxy.cut(true),
            _ => {
                proxy.hold(true);
                std::thread::sleep(Duration::from_millis(rng.random_range(50..8_000)));
                proxy.hold(false);
            }
        }
    }

    /// Writes records of nobody's to the topic; how many of them must be refused.
    fn poison(&self, rng: &mut ChaCha8Rng) -> Result<u64> {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.kafka.brokers)
            .set("enable.idempotence", "true")
            .create()?;
        let mut bytes = vec![0; rng.random_range(1..2_000)];
        rng.fill_bytes(&mut bytes);
        let payloads: [(&[u8], Option<&str>); 7] = [
            (&bytes, None),
            (b"", None),
            (b"{\"event_name\": \"click\"}", None),
            (b"[1, 2", None),
            (&bytes, Some("rejected")),
            (&bytes, Some("nobody")),
            // Not refused: a control record that nobody understands is passed over.
            (&bytes, Some("control")),
        ];
        for (payload, kind) in &payloads {
            let partition = rng.random_range(0..PARTITIONS);
            let record = BaseRecord::<(), [u8]>::to(TOPIC).partition(partition).payload(payload);
            let header =
                |value| OwnedHeaders::new().insert(Header { key: "kind", value: Some(value) });
            let record = match kind {
                Some(kind) => record.headers(header(*kind)),
                None => record,
            };
            producer.send(record).map_err(|(error, _)| anyhow!("poison: {error}"))?;
        }
        producer.flush(POISON_MAX)?;
        Ok(payloads.len() as u64 - 1)
    }

    /// Stops all but the query server.
    fn stop_writers(mut self) -> Result<Cluster> {
        for pipeline in self.pipelines.drain(..) {
            pipeline.stop()?;
        }
        if let Some(ingest) = self.ingest.take() {
            ingest.stop()?;
        }
        Ok(self)
    }
}

/// The first of as many free ports as there are brokers.
fn successive_ports() -> Result<u16> {
    for _ in 0..100 {
        let first = port()?;
        let is_free = |port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        if (first..first + BROKERS as u16).all(is_free) {
            return Ok(first);
        }
    }
    Err(anyhow!("no {BROKERS} successive ports are free"))
}
