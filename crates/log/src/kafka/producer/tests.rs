//! A producer that has failed for good or in part, and one that is told too little. The broker is librdkafka's
//! mock: a real one cannot be made to answer so.

use std::time::Duration;

use footfall_event::Partition;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;

fn settings() -> KafkaSettings {
    let mut settings = KafkaSettings::new("mock", "events", 1);
    settings.client.insert("test.mock.num.brokers".to_owned(), "1".to_owned());
    settings
}

fn record() -> NewRecord {
    record_of(0)
}

fn record_of(partition: i32) -> NewRecord {
    let (partition, kind) = (Partition(partition), Kind::Event);
    NewRecord { partition, kind, payload: Bytes::from_static(b"x") }
}

/// One that does not wait for the broker's word has no offset to tell.
#[tokio::test]
async fn what_is_acknowledged_without_an_offset_is_in_doubt() {
    let settings = settings();
    let client = client::create(client::config(&settings).set("acks", "0"), Reports).unwrap();
    let producer = Producer { settings, client, waiting: Arc::default() };
    let broker = producer.client.client().mock_cluster().unwrap();
    broker.create_topic("events", 1, 1).unwrap();
    let failed = producer.append(&[record()]).await.unwrap_err();
    assert!(matches!(failed, LogError::Unavailable { .. }), "{failed}");
    assert!(failed.to_string().ends_with(": acknowledged without an offset"), "{failed}");
}

#[tokio::test]
async fn one_record_that_is_not_written_fails_the_call() {
    let mut settings = KafkaSettings { append_timeout_ms: 2_000, ..settings() };
    settings.client.insert("test.mock.num.brokers".to_owned(), "2".to_owned());
    let producer = Producer::new(&settings).unwrap();
    let brokers = producer.client.client().mock_cluster().unwrap();
    brokers.create_topic("events", 2, 1).unwrap();
    brokers.partition_leader("events", 0, Some(1)).unwrap();
    brokers.partition_leader("events", 1, Some(2)).unwrap();
    producer.append(&[record_of(0), record_of(1)]).await.unwrap();
    brokers.broker_down(2).unwrap();
    let failed = producer.append(&[record_of(0), record_of(1)]).await.unwrap_err();
    assert!(matches!(failed, LogError::Unavailable { .. }), "{failed}");
}

#[tokio::test]
async fn after_a_fatal_error_every_append_and_readiness_say_so() {
    let producer = Producer::new(&settings()).unwrap();
    let broker = producer.client.client().mock_cluster().unwrap();
    broker.create_topic("events", 1, 1).unwrap();
    producer.append(&[record()]).await.unwrap();
    producer.has_room().unwrap();

    let out_of_order = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    broker.request_errors(RDKafkaApiKey::Produce, &[out_of_order]);
    for _ in 0..2 {
        let records = [record()];
        let append = producer.append(&records);
        let failed = tokio::time::timeout(Duration::from_secs(60), append).await.unwrap();
        let failed = failed.unwrap_err();
        assert!(matches!(failed, LogError::Io { .. }), "{failed}");
        assert!(failed.to_string().ends_with(": restart footfall"), "{failed}");
        let unready = producer.has_room().unwrap_err();
        assert_eq!(unready.to_string(), failed.to_string());
    }
}
