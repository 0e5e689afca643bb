//! Another system's topic: where a group begins to read it, and what the topic let go of.

use std::slice;

use footfall_event::{Offset, Partition};
use footfall_log::kafka::{KafkaSource, SourceSettings, Start};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};

use crate::harness::{A_WHILE, PARTITIONS, PATIENCE, eventually};
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

    /// A client that asks what the cluster knows of the group.
    fn display(&self) -> BaseConsumer {
        let group = format!("group of {}", self.name);
        client(self.brokers).set("group.id", group).create().unwrap()
    }

    /// The offset that the cluster keeps for the group; `None` while it elects who tells.
    fn kept(&self, partition: i32) -> Option<KafkaOffset> {
        let mut asked = TopicPartitionList::new();
        asked.add_partition(self.name, partition);
        let kept = self.display().committed_offsets(asked, PATIENCE).ok()?;
        Some(kept.elements()[0].offset())
    }

    /// Reads nothing until the cluster keeps this offset for the group.
    async fn read_until_kept(&self, sources: &mut [KafkaSource], partition: i32, offset: i64) {
        let began = tokio::time::Instant::now();
        while self.kept(partition) != Some(KafkaOffset::Offset(offset)) {
            assert!(began.elapsed() < PATIENCE, "{offset} is not kept");
            for source in sources.iter_mut() {
                let read = source.next(A_WHILE).await.unwrap();
                assert!(read.is_none(), "more was read");
            }
        }
    }

    /// Waits until the group has so many members, each of which knows what it has.
    async fn has_members(&self, count: usize) {
        let (display, group) = (self.display(), format!("group of {}", self.name));
        eventually("all are members", || async {
            let Ok(groups) = display.fetch_group_list(Some(&group), PATIENCE) else { return false };
            let is_whole = |state: &str, members| state == "Stable" && members == count;
            groups.groups().iter().any(|group| is_whole(group.state(), group.members().len()))
        })
        .await;
    }
}

/// Partition, offset and value of the next messages, so many at least.
async fn read(sources: &mut [KafkaSource], count: usize) -> Vec<(i32, i64, String)> {
    let mut all = Vec::new();
    let began = tokio::time::Instant::now();
    while all.len() < count {
        assert!(began.elapsed() < PATIENCE, "{all:?} and no more came");
        for source in sources.iter_mut() {
            let Some(read) = source.next(A_WHILE).await.unwrap() else { continue };
            for message in read.messages {
                assert!(message.time.is_some());
                let value = String::from_utf8(message.value.to_vec()).unwrap();
                all.push((read.partition.0, message.offset.0, value));
            }
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
    topic.read_until_kept(slice::from_mut(&mut source), 0, 1).await;
    topic.send(0, &["new"]).await;
    assert_eq!(read(slice::from_mut(&mut source), 1).await, [(0, 1, "new".to_owned())]);
    source.taken(Partition(0), Offset(2)).await.unwrap();
    topic.read_until_kept(slice::from_mut(&mut source), 0, 2).await;
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
    let told = read(slice::from_mut(&mut source), 1).await;
    assert_eq!(told, [(5, 0, "the first of its partition".to_owned())]);
}

/// Who is asked first has other partitions than whoever tells the ends, and who is asked later finds what was told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_begin_at_the_latest_begin_together() {
    let topic = Topic::new("source.two").await;
    let partitions = 0..PARTITIONS as i32;
    for partition in partitions.clone() {
        topic.send(partition, &["old"]).await;
    }
    let first = topic.join(Start::Latest);
    topic.has_members(1).await;
    let mut sources = [topic.join(Start::Latest), first];
    topic.has_members(2).await;
    for partition in partitions.clone() {
        topic.read_until_kept(&mut sources, partition, 1).await;
    }
    for partition in partitions.clone() {
        topic.send(partition, &["new"]).await;
    }
    let mut told = read(&mut sources, PARTITIONS as usize).await;
    told.sort();
    let new = partitions.map(|partition| (partition, 1, "new".to_owned()));
    assert_eq!(told, new.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_systems_headers_are_its_own() {
    let topic = Topic::new("source.headers").await;
    kafka_by_hand::send(topic.brokers, topic.name, 0, b"a", (b"\xff", b"x"));
    kafka_by_hand::send(topic.brokers, topic.name, 0, b"b", (b"kind", b"tick"));
    let mut source = topic.join(Start::Earliest);
    assert_eq!(
        read(slice::from_mut(&mut source), 2).await,
        [(0, 0, "a".to_owned()), (0, 1, "b".to_owned())]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_topic_let_go_of_is_passed_over() {
    let topic = Topic::new("source.gone").await;
    topic.send(0, &["a", "b", "c"]).await;
    let mut source = topic.join(Start::Earliest);
    assert_eq!(read(slice::from_mut(&mut source), 3).await.len(), 3);
    source.taken(Partition(0), Offset(1)).await.unwrap();
    topic.read_until_kept(slice::from_mut(&mut source), 0, 1).await;
    drop(source);

    let mut before = TopicPartitionList::new();
    before.add_partition_offset(topic.name, 0, KafkaOffset::Offset(2)).unwrap();
    topic.admin().delete_records(&before, &AdminOptions::new()).await.unwrap();
    let mut source = topic.join(Start::Earliest);
    assert_eq!(read(slice::from_mut(&mut source), 1).await, [(0, 2, "c".to_owned())]);
    // The others are read on.
    topic.send(1, &["d"]).await;
    assert_eq!(read(slice::from_mut(&mut source), 1).await, [(1, 0, "d".to_owned())]);
}
