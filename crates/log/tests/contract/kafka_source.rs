//! Another system's topic: where a group begins to read it, and what the topic let go of.

use std::time::Duration;

use footfall_event::{Offset, Partition};
use footfall_log::kafka::{KafkaSource, SourceSettings, Start};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};

use crate::harness::{A_WHILE, PATIENCE, eventually};
use crate::kafka::{client, create};
use crate::kafka_broker::Brokers;
use crate::kafka_by_hand;

/// A topic and a group that no other test uses.
struct Topic {
    brokers: &'static str,
    name: &'static str,
}

impl Topic {
    async fn new(name: &'static str) -> Topic {
        let brokers = Brokers::shared().await.addresses.as_str();
        create(brokers, name, 1, &[]).await;
        Topic { brokers, name }
    }

    async fn send(&self, partition: i32, values: &[&str]) {
        let producer: FutureProducer = client(self.brokers).create().unwrap();
        for value in values {
            let record =
                FutureRecord::<str, str>::to(self.name).partition(partition).payload(value);
            producer.send(record, PATIENCE).await.unwrap();
        }
    }

    fn join(&self, start: Start) -> KafkaSource {
        let (brokers, topic) = (self.brokers.to_owned(), self.name.to_owned());
        let group = format!("group of {topic}");
        KafkaSource::join(SourceSettings { brokers, topic, group, start }).unwrap()
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        client(self.brokers).create().unwrap()
    }

    /// Reads until the cluster keeps this offset for the group.
    async fn read_until_kept(&self, source: &mut KafkaSource, partition: i32, offset: i64) {
        let group = format!("group of {}", self.name);
        let display: BaseConsumer = client(self.brokers).set("group.id", group).create().unwrap();
        let mut asked = TopicPartitionList::new();
        asked.add_partition(self.name, partition);
        let began = tokio::time::Instant::now();
        loop {
            let kept = display.committed_offsets(asked.clone(), PATIENCE).unwrap();
            if kept.elements()[0].offset() == KafkaOffset::Offset(offset) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{offset} is not kept");
            let read = source.next(A_WHILE).await.unwrap();
            assert!(read.is_none(), "more was read");
        }
    }
}

/// Partition, offset and value of the next messages, so many at least.
async fn read(source: &mut KafkaSource, count: usize) -> Vec<(i32, i64, String)> {
    let mut all = Vec::new();
    let began = tokio::time::Instant::now();
    while all.len() < count {
        assert!(began.elapsed() < PATIENCE, "{all:?} and no more came");
        let Some(read) = source.next(Duration::from_secs(1)).await.unwrap() else { continue };
        for message in read.messages {
            assert!(message.time.is_some());
            let value = String::from_utf8(message.value.to_vec()).unwrap();
            all.push((read.partition.0, message.offset.0, value));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_latest_is_for_a_group_that_has_read_nothing() {
    let topic = Topic::new("source.latest").await;
    topic.send(0, &["old"]).await;
    let mut source = topic.join(Start::Latest);
    // Kept at once, so that who dies before its first message leaves none out.
    topic.read_until_kept(&mut source, 0, 1).await;
    topic.send(0, &["new"]).await;
    assert_eq!(read(&mut source, 1).await, [(0, 1, "new".to_owned())]);
    source.taken(Partition(0), Offset(2)).await.unwrap();
    topic.read_until_kept(&mut source, 0, 2).await;
    drop(source);

    let more = NewPartitions::new(topic.name, 6);
    let made = topic.admin().create_partitions([&more], &AdminOptions::new()).await.unwrap();
    made[0].as_ref().unwrap();
    let consumer: BaseConsumer = client(topic.brokers).create().unwrap();
    eventually("the partitions are known", || async {
        let metadata = consumer.fetch_metadata(Some(topic.name), PATIENCE).unwrap();
        metadata.topics()[0].partitions().len() == 6
    })
    .await;
    topic.send(5, &["the first of its partition"]).await;
    let mut source = topic.join(Start::Latest);
    let told = read(&mut source, 1).await;
    assert_eq!(told, [(5, 0, "the first of its partition".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_systems_headers_are_its_own() {
    let topic = Topic::new("source.headers").await;
    kafka_by_hand::send(topic.brokers, topic.name, 0, b"a", (b"\xff", b"x"));
    kafka_by_hand::send(topic.brokers, topic.name, 0, b"b", (b"kind", b"tick"));
    let mut source = topic.join(Start::Earliest);
    assert_eq!(read(&mut source, 2).await, [(0, 0, "a".to_owned()), (0, 1, "b".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_topic_let_go_of_is_passed_over() {
    let topic = Topic::new("source.gone").await;
    topic.send(0, &["a", "b", "c"]).await;
    let mut source = topic.join(Start::Earliest);
    assert_eq!(read(&mut source, 3).await.len(), 3);
    source.taken(Partition(0), Offset(1)).await.unwrap();
    topic.read_until_kept(&mut source, 0, 1).await;
    drop(source);

    let mut before = TopicPartitionList::new();
    before.add_partition_offset(topic.name, 0, KafkaOffset::Offset(2)).unwrap();
    topic.admin().delete_records(&before, &AdminOptions::new()).await.unwrap();
    let mut source = topic.join(Start::Earliest);
    assert_eq!(read(&mut source, 1).await, [(0, 2, "c".to_owned())]);
}
