//! What the log on Kafka promises alone: fit topics, shared groups, and brokers that go away.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use footfall_event::{Offset, Partition};
use footfall_log::{Delivery, EventLog, KafkaLog, KafkaSettings, Kind, LogError, Subscription};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};

use crate::harness::{
    A_WHILE, Harness, PARTITIONS, PATIENCE, event, events, eventually, offsets, read_all, started,
};
use crate::kafka_broker::Brokers;
use crate::kafka_by_hand;

pub struct KafkaHarness {
    settings: KafkaSettings,
}

impl KafkaHarness {
    /// A topic of the shared cluster that no other test uses.
    pub async fn new(test: &str) -> Self {
        let addresses = &Brokers::shared().await.addresses;
        Self { settings: settings(addresses, test) }
    }
}

fn settings(addresses: &str, topic: &str) -> KafkaSettings {
    KafkaSettings {
        append_timeout_ms: 30_000,
        session_timeout_ms: 6_000,
        ..KafkaSettings::new(addresses, topic, PARTITIONS)
    }
}

#[async_trait]
impl Harness for KafkaHarness {
    async fn open_with_queue(&self, queue_bytes_max: usize) -> Arc<dyn EventLog> {
        let settings = KafkaSettings { queue_bytes_max, ..self.settings.clone() };
        Arc::new(KafkaLog::open(settings).await.unwrap())
    }

    async fn published(&self, topic: &str) -> Vec<(Bytes, Bytes)> {
        let (brokers, topic) = (self.settings.brokers.clone(), topic.to_owned());
        tokio::task::spawn_blocking(move || read_topic(&brokers, &topic)).await.unwrap()
    }
}

/// Keys and payloads of a whole topic, partition after partition.
fn read_topic(brokers: &str, topic: &str) -> Vec<(Bytes, Bytes)> {
    let consumer: BaseConsumer = client(brokers)
        .set("group.id", "reader of side topics")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, PARTITIONS as i32 - 1);
    list.set_all_offsets(KafkaOffset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let mut read = Vec::new();
    let mut ends = 0;
    while ends < PARTITIONS {
        match consumer.poll(PATIENCE).expect("the end of each partition comes in time") {
            Ok(message) => {
                let bytes = |part: Option<&[u8]>| Bytes::copy_from_slice(part.unwrap_or_default());
                read.push((bytes(message.key()), bytes(message.payload())));
            }
            Err(KafkaError::PartitionEOF(_)) => ends += 1,
            Err(error) => panic!("{error}"),
        }
    }
    read
}

pub fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

pub async fn create(brokers: &str, topic: &str, replicas: i32, config: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = client(brokers).create().unwrap();
    let fixed = TopicReplication::Fixed(replicas);
    let mut new = NewTopic::new(topic, PARTITIONS as i32, fixed);
    for (name, value) in config {
        new = new.set(name, value);
    }
    let made = admin.create_topics(&[new], &AdminOptions::new()).await.unwrap();
    made[0].as_ref().unwrap();
    // Metadata of a new topic may take a moment to reach the broker that is asked.
    let brokers = brokers.to_owned();
    let consumer: BaseConsumer = client(&brokers).create().unwrap();
    eventually("the topic is known", || async {
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
        metadata.topics()[0].partitions().len() == PARTITIONS as usize
    })
    .await;
}

const FIT: [(&str, &str); 2] =
    [("message.timestamp.type", "LogAppendTime"), ("min.insync.replicas", "1")];

async fn assert_unfit(brokers: &str, topic: &str, setting: &str, value: &str) {
    let refused = KafkaLog::open(settings(brokers, topic)).await.err().unwrap();
    let message = refused.to_string();
    let LogError::Unfit { setting: told, value: found, .. } = refused else { panic!("{message}") };
    assert_eq!((told, found.as_str()), (setting, value), "{message}");
    assert!(message.contains(topic), "{message}");
}

#[tokio::test]
async fn an_unfit_topic_is_refused_for_each_setting() {
    let brokers = &Brokers::shared().await.addresses;
    create(brokers, "fit", 1, &FIT).await;
    KafkaLog::open(settings(brokers, "fit")).await.unwrap();
    for (setting, value) in [
        ("message.timestamp.type", "CreateTime"),
        ("cleanup.policy", "compact"),
        ("unclean.leader.election.enable", "true"),
        ("max.message.bytes", "100000"),
    ] {
        let topic = format!("unfit-{setting}");
        let others = FIT.iter().filter(|(name, _)| *name != setting);
        let config: Vec<_> = others.copied().chain([(setting, value)]).collect();
        create(brokers, &topic, 1, &config).await;
        assert_unfit(brokers, &topic, setting, value).await;
    }
    let other = KafkaSettings { partitions: 7, ..settings(brokers, "fit") };
    let message = KafkaLog::open(other).await.err().unwrap().to_string();
    assert!(message.contains("partitions is 4, but the configuration says 7"), "{message}");
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_is_named() {
    let refused = KafkaLog::open(settings("127.0.0.1:1", "events")).await.err().unwrap();
    assert!(matches!(refused, LogError::Unavailable { .. }), "{refused}");
    assert!(refused.to_string().contains("127.0.0.1:1"), "{refused}");
}

#[tokio::test]
async fn a_strangers_record_is_an_event() {
    let brokers = &Brokers::shared().await.addresses;
    let log = KafkaLog::open(settings(brokers, "strangers")).await.unwrap();
    let producer: FutureProducer = client(brokers).create().unwrap();
    let header = Header { key: "kind", value: Some("surprise") };
    let headers = OwnedHeaders::new().insert(Header { key: "x", value: Some("y") }).insert(header);
    let strange = FutureRecord::to("strangers").partition(0).key("k").payload("?").headers(headers);
    producer.send(strange, PATIENCE).await.unwrap();
    let no_payload: FutureRecord<'_, str, str> =
        FutureRecord::to("strangers").partition(0).key("k");
    producer.send(no_payload, PATIENCE).await.unwrap();
    kafka_by_hand::send(brokers, "strangers", 0, b"no text", (b"\xff", b"tick"));
    let read = read_all(&log).await.remove(&Partition(0)).unwrap();
    assert_eq!(offsets(&read), [0, 1, 2]);
    assert!(read.iter().all(|record| record.kind == Kind::Event));
    let payloads = read.iter().map(|record| &record.payload[..]);
    assert_eq!(payloads.collect::<Vec<_>>(), [&b"?"[..], b"", b"no text"]);
    let asked = log.read_one(Partition(0), Offset(2)).await.unwrap();
    assert_eq!(asked.as_ref(), read.last());
}

#[tokio::test]
async fn released_offsets_become_the_groups_for_lag_displays() {
    let brokers = &Brokers::shared().await.addresses;
    let log = KafkaLog::open(settings(brokers, "lag")).await.unwrap();
    log.append(events(2, 5)).await.unwrap();
    let mut subscription = started(&log).await;
    subscription.release(vec![(Partition(2), Offset(4))]).await.unwrap();
    let display: BaseConsumer = client(brokers).set("group.id", "contract").create().unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition("lag", 2);
    eventually("the group's offset is 4", || async {
        let committed = display.committed_offsets(asked.clone(), PATIENCE).unwrap();
        committed.elements()[0].offset() == KafkaOffset::Offset(4)
    })
    .await;
}

/// What a member has, after it was told all there is to be told.
async fn hear(member: &mut dyn Subscription, owned: &mut BTreeSet<Partition>) {
    match member.next(Duration::from_millis(20)).await.unwrap() {
        Delivery::Assigned(partitions) => owned.extend(partitions),
        Delivery::Revoked(partitions) => {
            owned.retain(|partition| !partitions.contains(partition));
        }
        Delivery::Idle => {}
        records => panic!("{records:?} without a start"),
    }
}

#[tokio::test]
async fn a_group_shares_partitions_and_takes_over_from_one_that_leaves() {
    let brokers = &Brokers::shared().await.addresses;
    let log = KafkaLog::open(settings(brokers, "shared")).await.unwrap();
    log.append((0..PARTITIONS as i32).map(|p| event(p, "x")).collect()).await.unwrap();
    let mut members = [log.subscribe("sharing").unwrap(), log.subscribe("sharing").unwrap()];
    let mut owned = [BTreeSet::new(), BTreeSet::new()];
    while owned.iter().any(|owned| owned.len() != PARTITIONS as usize / 2) {
        for (member, owned) in members.iter_mut().zip(&mut owned) {
            hear(&mut **member, owned).await;
        }
    }
    assert!(owned[0].is_disjoint(&owned[1]));
    let [mut stays, leaves] = members;
    drop(leaves);
    while owned[0].len() != PARTITIONS as usize {
        hear(&mut *stays, &mut owned[0]).await;
    }
    for partition in &owned[0] {
        stays.start(*partition, Offset(0)).await.unwrap();
    }
    let read = crate::harness::read(&mut *stays, PARTITIONS as usize).await;
    assert_eq!(read.into_keys().collect::<BTreeSet<_>>(), owned[0]);
}

/// Appends until `until` records are kept; a call that fails is repeated.
async fn append_until(log: &KafkaLog, until: usize) -> Vec<(Partition, Offset, Bytes)> {
    let mut kept = Vec::new();
    for call in 0.. {
        let records: Vec<_> = (0..10)
            .map(|index| event(index % PARTITIONS as i32, format!("{call} {index}")))
            .collect();
        let Ok(appended) = log.append(records.clone()).await else { continue };
        for (record, at) in records.into_iter().zip(appended) {
            kept.push((at.partition, at.offset, record.payload));
        }
        if kept.len() >= until {
            break;
        }
    }
    kept
}

/// Reads until it has seen every record in `kept`; each offset once and in order, whatever becomes
/// of the membership.
async fn assert_reads(subscription: &mut dyn Subscription, kept: &[(Partition, Offset, Bytes)]) {
    let mut left: BTreeSet<_> = kept.iter().cloned().collect();
    let mut next = [Offset(0); PARTITIONS as usize];
    while !left.is_empty() {
        match subscription.next(PATIENCE).await.unwrap() {
            Delivery::Records { partition, records } => {
                let next = &mut next[partition.0 as usize];
                for record in records {
                    assert_eq!(record.offset, *next, "of partition {partition}");
                    *next = next.next();
                    left.remove(&(partition, record.offset, record.payload));
                }
            }
            Delivery::Assigned(partitions) => {
                for partition in partitions {
                    subscription.start(partition, next[partition.0 as usize]).await.unwrap();
                }
            }
            Delivery::Revoked(_) => {}
            Delivery::Idle => panic!("{} records did not come", left.len()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_restarts_in_mid_stream_loses_nothing() {
    let brokers = Brokers::start(1).await;
    let log = KafkaLog::open(settings(&brokers.addresses, "restart")).await.unwrap();
    let mut subscription = started(&log).await;
    let mut kept = append_until(&log, 200).await;
    assert_reads(&mut *subscription, &kept).await;
    brokers.kill(1).await;
    // While it is away reading is idle, and an append waits for it.
    let (appended, ()) = tokio::join!(log.append(events(0, 1)), async {
        let idle = subscription.next(A_WHILE).await.unwrap();
        assert!(matches!(idle, Delivery::Idle), "{idle:?}");
        assert!(log.ready().await.is_err());
        brokers.restart(1).await;
    });
    appended.unwrap();
    kept.extend(append_until(&log, 200).await);
    for partition in 0..PARTITIONS as i32 {
        subscription.start(Partition(partition), Offset(0)).await.unwrap();
    }
    assert_reads(&mut *subscription, &kept).await;
    log.ready().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_brokers_lose_one_and_nothing_else() {
    let brokers = Brokers::start(3).await;
    let unsafe_copies = [("message.timestamp.type", "LogAppendTime"), ("min.insync.replicas", "1")];
    create(&brokers.addresses, "unsafe", 3, &unsafe_copies).await;
    assert_unfit(&brokers.addresses, "unsafe", "min.insync.replicas", "1").await;
    let too_few = [("message.timestamp.type", "LogAppendTime"), ("min.insync.replicas", "2")];
    create(&brokers.addresses, "lonely", 1, &too_few).await;
    assert_unfit(&brokers.addresses, "lonely", "replication factor", "1").await;

    let log = KafkaLog::open(settings(&brokers.addresses, "three")).await.unwrap();
    let mut subscription = started(&log).await;
    let (kept, ()) = tokio::join!(append_until(&log, 3000), brokers.kill(2));
    assert_reads(&mut *subscription, &kept).await;
    KafkaLog::open(settings(&brokers.addresses, "three")).await.unwrap();
    assert_no_topic_is_made_on_two(&brokers.addresses).await;
    // That one is away makes no copies safe that were not.
    assert_unfit(&brokers.addresses, "unsafe", "min.insync.replicas", "1").await;
}

/// Two brokers may be three of which one is away: the topic is left to whoever knows.
async fn assert_no_topic_is_made_on_two(brokers: &str) {
    let consumer: BaseConsumer = client(brokers).create().unwrap();
    eventually("two brokers are left", || async {
        consumer.fetch_metadata(None, PATIENCE).unwrap().brokers().len() == 2
    })
    .await;
    assert_unfit(brokers, "two", "number of brokers", "2").await;
    let refused = KafkaLog::open(settings(brokers, "two")).await.err().unwrap().to_string();
    let (_, command) = refused.split_once("--create --topic two --partitions 4 ").unwrap();
    let (copies, config) = command.split_once(" --config ").unwrap();
    assert_eq!(copies, "--replication-factor 2");
    let config: Vec<_> =
        config.split(" --config ").map(|setting| setting.split_once('=').unwrap()).collect();
    create(brokers, "two", 2, &config).await;
    KafkaLog::open(settings(brokers, "two")).await.unwrap();
}
