//! When a topic counts as taken, on a real Kafka and a log that fails.

use std::time::Duration;

use footfall_log::kafka::Start;
use footfall_tests::Kafka;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::failing_log::{Answer, FailingLog};

const TOPIC: &str = "clicks";
const GROUP: &str = "g";
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

const MAP: &str = r#"
site = "shop"
[columns]
timestamp = "at"
event_name = "kind"
visitor_id = "who"
"#;

fn bridge(kafka: &Kafka, log: &Arc<FailingLog>) -> Bridge {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clicks.map.toml");
    std::fs::write(&path, MAP).unwrap();
    let topic = MappedTopic {
        name: "clicks".to_owned(),
        source: SourceSettings {
            brokers: kafka.brokers.clone(),
            topic: TOPIC.to_owned(),
            group: GROUP.to_owned(),
            start: Start::Earliest,
        },
        reader: Reader(Plan::new(&LoadMap::load(&path).unwrap(), "shop")),
    };
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    topic.join(Arc::default(), log.clone(), metrics).unwrap()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_taken_when_the_log_holds_it() {
    let kafka = Kafka::start(1).unwrap();
    kafka.make_topic(TOPIC, 1).unwrap();
    kafka.send(TOPIC, r#"{"kind":"view","who":"v"}"#).unwrap();
    // Before its first message it tells where it began.
    let is_taken = || kafka.taken(GROUP, TOPIC).unwrap() > Some(0);

    // A log that takes nothing any more is for another process to replace: the partitions are let go.
    let log = Arc::new(FailingLog::new(Answer::FailedForGood));
    let run = bridge(&kafka, &log).run(CancellationToken::new());
    let ended = tokio::time::timeout(PATIENCE, run).await.unwrap();
    assert!(matches!(ended, Err(LogError::Io { .. })), "{ended:?}");
    assert!(log.appends() == 1 && !is_taken());

    let log = Arc::new(FailingLog::new(Answer::Unavailable));
    let stop = CancellationToken::new();
    let running = tokio::spawn(bridge(&kafka, &log).run(stop.clone()));
    eventually("it is tried again", || log.appends() >= 4).await;
    assert!(!is_taken());
    log.answer(Answer::Taken);
    eventually("the group is told", is_taken).await;
    stop.cancel();
    running.await.unwrap().unwrap();
}
