//! A real Apache Kafka on the loopback, through tests/kafka/kafka.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use tempfile::TempDir;

use crate::repository;

const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// Brokers of a test's own. They end when this is dropped.
pub struct Kafka {
    state: TempDir,
    proxy: Option<u16>,
    pub brokers: String,
}

impl Kafka {
    /// # Errors
    /// When Java or Maven are missing, or the brokers do not come up.
    pub fn start(count: usize) -> Result<Kafka> {
        Kafka::start_behind(count, None)
    }

    /// Brokers that tell clients to come through proxies on successive ports from `proxy`; the addresses are
    /// those behind them.
    ///
    /// # Errors
    /// As [`Kafka::start`].
    pub fn start_behind(count: usize, proxy: Option<u16>) -> Result<Kafka> {
        let state = TempDir::new()?;
        let mut kafka = Kafka { state, proxy, brokers: String::new() };
        kafka.brokers = kafka.run(&["start", &count.to_string()])?.trim().to_owned();
        Ok(kafka)
    }

    /// Ends a broker, from 1, as a power failure would.
    ///
    /// # Errors
    /// When there is none of that number.
    pub fn kill(&self, broker: usize) -> Result<()> {
        self.run(&["kill", &broker.to_string()]).map(|_| ())
    }

    /// Starts a broker again where it was, and waits for it.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn restart(&self, broker: usize) -> Result<()> {
        self.run(&["restart", &broker.to_string()]).map(|_| ())
    }

    /// Makes a topic as Kafka makes them, without copies.
    ///
    /// # Errors
    /// When there is one, or nobody answers.
    pub fn make_topic(&self, name: &str, partitions: i32) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let made = block_on(admin.create_topics([&topic], &AdminOptions::new()))?;
        made.into_iter().try_for_each(|topic| {
            topic.map(|_| ()).map_err(|(topic, error)| anyhow!("{topic}: {error}"))
        })
    }

    /// Appends a message to a topic's partition 0.
    ///
    /// # Errors
    /// When it is not taken.
    pub fn send(&self, topic: &str, value: &str) -> Result<()> {
        let producer: FutureProducer = self.client().create()?;
        let record = FutureRecord::<str, str>::to(topic).partition(0).payload(value);
        block_on(producer.send(record, PATIENCE)).map(|_| ()).map_err(|(error, _)| error.into())
    }

    /// How far a group has taken a topic's partition 0, if it told.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn taken(&self, group: &str, topic: &str) -> Result<Option<i64>> {
        let asker: BaseConsumer = self.client().set("group.id", group).create()?;
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, 0);
        let began = Instant::now();
        let kept = loop {
            match asker.committed_offsets(list.clone(), PATIENCE) {
                // The cluster elects who tells.
                Err(_) if began.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
                kept => break kept?,
            }
        };
        match kept.elements().first().map(|partition| partition.offset()) {
            Some(Offset::Offset(offset)) => Ok(Some(offset)),
            _ => Ok(None),
        }
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        let script: PathBuf = repository().join("tests/kafka/kafka");
        let proxy = self.proxy.map(|port| ("KAFKA_PROXY", port.to_string()));
        let output = Command::new(script)
            .args(arguments)
            .envs(proxy)
            .env("KAFKA_STATE", self.state.path())
            .env("KAFKA_OWNER", std::process::id().to_string())
            .output()
            .context("tests/kafka/kafka does not start")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kafka {arguments:?}: {said}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // The brokers also end with this process.
        let _ = self.run(&["stop"]);
    }
}
