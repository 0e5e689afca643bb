//! The parts as processes of their own on three Kafka brokers, behind a network that fails: parts and brokers
//! killed, pipelines joining and leaving, lag, and records written to the topic by hand.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use footfall_tests::{Footfall, Kafka, Running, wait_until};
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, RngCore};
use rand_chacha::ChaCha8Rng;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use tempfile::TempDir;

use crate::client::Client;
use crate::proxy::Proxy;
use crate::round::{Totals, check, list, port, quick, settle};

const BROKERS: usize = 3;
const PARTITIONS: i32 = 8;
const TOPIC: &str = "footfall.events";
const PIPELINES: usize = 2;
const PAUSE: Duration = Duration::from_millis(150);
/// How long a broker may take until it has what it missed.
const IN_STEP_MAX: Duration = Duration::from_secs(60);
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
    // Each fault comes at least once.
    let mut deck = FAULTS.to_vec();
    deck.shuffle(rng);
    deck.push(Fault::Lag);
    while let Some(fault) = deck.pop().or_else(|| FAULTS.choose(rng).copied()) {
        std::thread::sleep(Duration::from_millis(rng.random_range(200..2_500)));
        cluster.require_all_alive()?;
        match fault {
            Fault::Pipeline => cluster.kill_pipeline(rng, totals)?,
            Fault::Ingest => cluster.kill_ingest(rng, totals)?,
            Fault::Query => cluster.kill_query(totals)?,
            Fault::Broker => cluster.fail_broker(rng, totals)?,
            Fault::Third => cluster.join_and_leave(rng, totals)?,
            Fault::Lag => cluster.lag(storm / 5, totals)?,
            Fault::Poison => poison += cluster.poison(rng)?,
            Fault::Network => cluster.fail_network(rng, totals),
        }
        if deck.is_empty() && began.elapsed() > storm {
            break;
        }
    }
    cluster.require_all_alive()?;
    totals.poison += poison;
    totals.broken += client.broken();
    totals.refused += client.refused();
    let sent = client.finish()?;
    totals.acknowledged += sent.acknowledged;
    settle(&cluster.query, &sent)?;
    let Cluster { footfall, query, .. } = cluster.stop_writers()?;
    check(folder.path(), &footfall, query, poison)
}

#[derive(Clone, Copy)]
enum Fault {
    Pipeline,
    Ingest,
    Query,
    Broker,
    /// A third pipeline.
    Third,
    Lag,
    Poison,
    Network,
}

/// As often as they are drawn.
const FAULTS: [Fault; 9] = [
    Fault::Pipeline,
    Fault::Pipeline,
    Fault::Ingest,
    Fault::Query,
    Fault::Broker,
    Fault::Third,
    Fault::Poison,
    Fault::Network,
    Fault::Network,
];

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
        let listeners = successive_listeners()?;
        let first = listeners[0].local_addr()?.port();
        let kafka = Kafka::start_behind(BROKERS, Some(first))?;
        let listen = format!("127.0.0.1:{}", port()?);
        let mut proxies = vec![Proxy::start(&listen)?];
        for (listener, broker) in listeners.into_iter().zip(kafka.brokers.split(',')) {
            proxies.push(Proxy::on(listener, broker)?);
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

    /// One that has found its brokers: without them it does not start.
    fn pipeline(&self) -> Result<Running> {
        self.footfall.start_unready("pipeline", "127.0.0.1:0")
    }

    fn kill_query(&mut self, totals: &mut Totals) -> Result<()> {
        let next = self.footfall.start("query")?;
        std::mem::replace(&mut self.query, next).kill()?;
        totals.kills += 1;
        Ok(())
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
        self.ingest = Some(self.footfall.start_unready("ingest", &self.listen)?);
        Ok(())
    }

    /// One broker at a time: two of three copies are enough.
    fn fail_broker(&mut self, rng: &mut ChaCha8Rng, totals: &mut Totals) -> Result<()> {
        let broker = rng.random_range(1..=BROKERS);
        self.kafka.kill(broker)?;
        totals.broker_kills += 1;
        std::thread::sleep(Duration::from_millis(rng.random_range(500..6_000)));
        self.kafka.restart(broker)?;
        // Before that another that dies would take a partition's last copy in step with it.
        wait_until("all copies in step", IN_STEP_MAX, || self.is_in_step())
    }

    fn is_in_step(&self) -> Result<bool> {
        let client: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", &self.kafka.brokers).create()?;
        let Ok(told) = client.client().fetch_metadata(Some(TOPIC), Duration::from_secs(5)) else {
            return Ok(false);
        };
        let mut partitions = told.topics().iter().flat_map(|topic| topic.partitions());
        Ok(partitions.all(|partition| partition.isr().len() == BROKERS))
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
        let producer: BaseProducer<Refusals> = ClientConfig::new()
            .set("bootstrap.servers", &self.kafka.brokers)
            .set("enable.idempotence", "true")
            .create_with_context(Refusals::default())?;
        let mut bytes = vec![0; rng.random_range(1..2_000)];
        rng.fill_bytes(&mut bytes);
        let payloads: [(&[u8], Option<&str>); 8] = [
            (&bytes, None),
            (b"", None),
            (b"{\"event_name\": \"click\"}", None),
            (b"[1, 2", None),
            (br#"{"event_id":"i","site":"s","event_name":"e","event_time":9223372036854775807,"received_time":0}"#, None),
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
        let refused = producer.context().0.load(Ordering::Relaxed);
        ensure!(refused == 0, "the topic did not take {refused} records");
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

/// Counts records that the topic did not take.
#[derive(Default)]
struct Refusals(AtomicU64);

impl ClientContext for Refusals {}

impl ProducerContext for Refusals {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// On successive ports, one for each broker. They are held from here on: until the brokers run, others look for ports too.
fn successive_listeners() -> Result<Vec<TcpListener>> {
    for _ in 0..100 {
        let first = port()?;
        let ports = first..first.saturating_add(BROKERS as u16);
        let listeners: Vec<_> =
            ports.map_while(|port| TcpListener::bind(("127.0.0.1", port)).ok()).collect();
        if listeners.len() == BROKERS {
            return Ok(listeners);
        }
    }
    Err(anyhow!("no {BROKERS} successive ports are free"))
}
