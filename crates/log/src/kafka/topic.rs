//! The topic of a Kafka log: created with what exactly-once needs, or checked for it.
//! What is appended to it is left to the producer.

use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use super::KafkaSettings;
use super::client::{self, Logged, QUERY_TIMEOUT};
use crate::{LogError, RECORD_BYTES_MAX, blocking};

/// A batch of messages is at most this large: what Kafka takes by default, less the batch's own head.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
const BATCH_HEAD_BYTES: usize = 12;
const _: () = assert!(RECORD_BYTES_MAX + 1024 <= MESSAGE_BYTES_MAX);
/// Fewer brokers cannot lose one and still keep two copies. One alone is somebody trying things out;
/// two may be three of which one is away.
const SAFE_BROKERS: usize = 3;
const SAFE_INSYNC_REPLICAS: usize = 2;
const CREATE_TIMEOUT: Duration = Duration::from_secs(20);
const CREATE_POLL: Duration = Duration::from_millis(20);

/// Creates the topic if there is none, else checks that it is fit: `LogAppendTime`, the number of
/// partitions, no compaction, no unclean election, room for a record, and with three brokers or
/// copies `min.insync.replicas` of at least 2. Answers `min.insync.replicas`.
///
/// # Errors
/// `Unavailable` when no broker answers, `Unfit` with the setting, its value and the way out; so too
/// when a topic would have to be created on two brokers.
pub async fn create_or_check(settings: &KafkaSettings) -> Result<usize, LogError> {
    let cluster = Cluster::look(settings, &settings.topic).await?;
    if cluster.partitions == 0 {
        let config = config(cluster.min_insync_replicas(), Some(settings.retention_ms));
        expect_all_brokers(settings, &cluster, &config)?;
        let made = create(settings, &settings.topic, &cluster, &config).await?;
        if made {
            return Ok(cluster.min_insync_replicas());
        }
    }
    let cluster = Cluster::look(settings, &settings.topic).await?;
    check(settings, &cluster).await
}

/// Creates a side topic if there is none. An existing one is taken as it is.
pub async fn create_side(settings: &KafkaSettings, topic: &str) -> Result<(), LogError> {
    let cluster = Cluster::look(settings, topic).await?;
    if cluster.partitions == 0 {
        let config = config(cluster.min_insync_replicas(), None);
        create(settings, topic, &cluster, &config).await?;
    }
    Ok(())
}

/// Two copies of which one may be away are unfit as soon as a third broker is seen, so a topic is not
/// made so while one of three may be late.
fn expect_all_brokers(
    settings: &KafkaSettings,
    cluster: &Cluster,
    config: &[(&str, String)],
) -> Result<(), LogError> {
    if cluster.brokers <= 1 || cluster.brokers >= SAFE_BROKERS {
        return Ok(());
    }
    let KafkaSettings { brokers, topic, partitions, .. } = settings;
    let copies = cluster.brokers;
    let config = config.iter().map(|(name, value)| format!(" --config {name}={value}"));
    let need = format!(
        "one of {SAFE_BROKERS} may be away, and the topic would then be made with too few copies: \
         start the others, or, if there are none, make it by hand: kafka-topics.sh \
         --bootstrap-server {brokers} --create --topic {topic} --partitions {partitions} \
         --replication-factor {copies}{}",
        config.collect::<String>()
    );
    let thing = format!("kafka topic {topic}, which does not exist");
    Err(LogError::Unfit { thing, setting: "number of brokers", value: copies.to_string(), need })
}

/// What a topic is created with, by Kafka's names.
fn config(min_insync_replicas: usize, retention_ms: Option<i64>) -> Vec<(&'static str, String)> {
    let mut config = vec![
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        ("cleanup.policy", "delete".to_owned()),
        ("unclean.leader.election.enable", "false".to_owned()),
        ("max.message.bytes", (MESSAGE_BYTES_MAX + BATCH_HEAD_BYTES).to_string()),
        ("min.insync.replicas", min_insync_replicas.to_string()),
    ];
    if let Some(retention_ms) = retention_ms {
        config.push(("retention.ms", retention_ms.to_string()));
    }
    config
}

/// What the metadata say.
struct Cluster {
    brokers: usize,
    /// 0 if there is no such topic.
    partitions: usize,
    replication: usize,
}

impl Cluster {
    async fn look(settings: &KafkaSettings, topic: &str) -> Result<Self, LogError> {
        let (settings, topic) = (settings.clone(), topic.to_owned());
        blocking(move || {
            let client: BaseConsumer<Logged> = client::create(&client::config(&settings), Logged)?;
            let metadata = client.fetch_metadata(Some(&topic), QUERY_TIMEOUT);
            let metadata = metadata.map_err(|error| client::unavailable(&settings, error))?;
            let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            let replicas = partitions.clone().map(|partition| partition.replicas().len());
            let led = partitions.clone().all(|partition| partition.leader() >= 0);
            Ok(Self {
                brokers: metadata.brokers().len(),
                partitions: if led { partitions.count() } else { 0 },
                replication: replicas.min().unwrap_or_default(),
            })
        })
        .await
    }

    /// A broker that is away is known by the copies that the topic has.
    fn min_insync_replicas(&self) -> usize {
        let brokers = self.brokers.max(self.replication);
        if brokers >= SAFE_BROKERS { SAFE_INSYNC_REPLICAS } else { 1 }
    }
}

/// Creates a topic and waits until it has leaders; false if another has just made it.
async fn create(
    settings: &KafkaSettings,
    topic: &str,
    cluster: &Cluster,
    config: &[(&str, String)],
) -> Result<bool, LogError> {
    let replication = TopicReplication::Fixed(cluster.brokers.min(SAFE_BROKERS) as i32);
    let mut wanted = NewTopic::new(topic, settings.partitions as i32, replication);
    for (name, value) in config {
        wanted = wanted.set(name, value);
    }
    let unavailable = |why: &dyn ToString| client::unavailable(settings, why.to_string());
    let answers = admin(settings)?.create_topics(&[wanted], &options()).await;
    let answers = answers.map_err(|error| unavailable(&error))?;
    let made = match answers.into_iter().next() {
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => false,
        Some(Err((_, why))) => return Err(unavailable(&format!("topic {topic}: {why}"))),
        _ => true,
    };
    let deadline = Instant::now() + CREATE_TIMEOUT;
    while Cluster::look(settings, topic).await?.partitions == 0 {
        if Instant::now() > deadline {
            return Err(unavailable(&format!("topic {topic} has no leaders")));
        }
        tokio::time::sleep(CREATE_POLL).await;
    }
    Ok(made)
}

async fn check(settings: &KafkaSettings, cluster: &Cluster) -> Result<usize, LogError> {
    let topic = Topic { settings, config: describe(settings).await? };
    let partitions = settings.partitions;
    if cluster.partitions != partitions as usize {
        let need = format!(
            "the configuration says {partitions}: this is fixed when a lake is made, so set it \
             back or name another topic"
        );
        return Err(topic.unfit("partitions", &cluster.partitions.to_string(), need));
    }
    topic.expect("message.timestamp.type", "LogAppendTime", |value| value == "LogAppendTime")?;
    topic.expect("cleanup.policy", "delete", |value| value == "delete")?;
    topic.expect("unclean.leader.election.enable", "false", |value| value == "false")?;
    let bytes_max = MESSAGE_BYTES_MAX.to_string();
    let number = |value: &str| value.parse::<usize>().unwrap_or_default();
    topic.expect("max.message.bytes", &bytes_max, |value| number(value) >= MESSAGE_BYTES_MAX)?;
    let insync = cluster.min_insync_replicas();
    topic.expect("min.insync.replicas", &insync.to_string(), |value| number(value) >= insync)?;
    let insync = number(topic.value("min.insync.replicas"));
    if cluster.replication < insync {
        let need = format!("min.insync.replicas is {insync}, so that no record could be taken");
        return Err(topic.unfit("replication factor", &cluster.replication.to_string(), need));
    }
    Ok(insync)
}

struct Topic<'a> {
    settings: &'a KafkaSettings,
    config: ConfigResource,
}

impl Topic<'_> {
    fn value(&self, setting: &str) -> &str {
        let entry = self.config.get(setting);
        entry.and_then(|entry| entry.value.as_deref()).unwrap_or_default()
    }

    fn expect(
        &self,
        setting: &'static str,
        fit: &str,
        is_fit: impl Fn(&str) -> bool,
    ) -> Result<(), LogError> {
        let value = self.value(setting);
        if is_fit(value) {
            return Ok(());
        }
        let Self { settings: KafkaSettings { brokers, topic, .. }, .. } = self;
        let need = format!(
            "footfall needs {fit}: kafka-configs.sh --bootstrap-server {brokers} --alter \
             --entity-type topics --entity-name {topic} --add-config {setting}={fit}"
        );
        Err(self.unfit(setting, value, need))
    }

    fn unfit(&self, setting: &'static str, value: &str, need: String) -> LogError {
        let thing = format!("kafka topic {}", self.settings.topic);
        LogError::Unfit { thing, setting, value: value.to_owned(), need }
    }
}

async fn describe(settings: &KafkaSettings) -> Result<ConfigResource, LogError> {
    let topic = ResourceSpecifier::Topic(&settings.topic);
    let answers = admin(settings)?.describe_configs([&topic], &options()).await;
    let answers = answers.map_err(|error| client::unavailable(settings, error))?;
    match answers.into_iter().next() {
        Some(Ok(config)) => Ok(config),
        Some(Err(error)) => Err(client::unavailable(settings, error)),
        None => Err(client::unavailable(settings, "no answer about the topic's settings")),
    }
}

fn admin(settings: &KafkaSettings) -> Result<AdminClient<Logged>, LogError> {
    client::create(&client::config(settings), Logged)
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(CREATE_TIMEOUT))
        .operation_timeout(Some(CREATE_TIMEOUT))
}
