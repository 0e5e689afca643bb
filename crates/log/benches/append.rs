//! Records a second, and a CPU second of this process, for appending and reading records of 300
//! bytes: on the local disk, and on Kafka when `KAFKA_BROKERS` is set. Figures, no verdict.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on stops")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use footfall_event::Partition;
use footfall_log::{
    Delivery, EventLog, KafkaLog, KafkaSettings, Kind, LocalLog, LocalSettings, NewRecord,
};
use footfall_tests::cpu_seconds;

const PARTITIONS: u32 = 4;
const RECORD_BYTES: usize = 300;
/// Calls in a row by one task, by size of group; about as many records for each size.
const CASES: [(usize, usize); 3] = [(10, 2_000), (100, 400), (1000, 60)];
const TASKS: [usize; 3] = [1, 8, 32];
const RECORDS_MAX: usize = 1_000_000;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    println!("log    work    tasks  group   records    records/s  records/CPU s");
    for (group, calls) in CASES {
        for tasks in TASKS {
            let directory = tempfile::tempdir().expect("a folder");
            let settings = LocalSettings::new(directory.path(), "events", PARTITIONS);
            let log = Arc::new(LocalLog::open(settings).expect("a local log"));
            measure("local", log, tasks, group, calls).await;
        }
    }
    let Ok(brokers) = std::env::var("KAFKA_BROKERS") else { return };
    for (group, calls) in CASES {
        for tasks in TASKS {
            let topic = format!("bench-{}-{group}-{tasks}", std::process::id());
            let settings = KafkaSettings::new(&brokers, &topic, PARTITIONS);
            let log = Arc::new(KafkaLog::open(settings).await.expect("a log on Kafka"));
            measure("kafka", log, tasks, group, calls).await;
        }
    }
}

async fn measure<L: EventLog + 'static>(
    name: &str,
    log: Arc<L>,
    tasks: usize,
    group: usize,
    calls: usize,
) {
    let calls = calls.min(RECORDS_MAX / tasks / group);
    let count = tasks * calls * group;
    let payloads = payloads();
    let report = |work, watch: Watch| {
        let (wall, cpu) = watch.elapsed();
        let (per_second, per_cpu) = (count as f64 / wall, count as f64 / cpu);
        println!("{name}  {work:6} {tasks:6} {group:6} {count:9} {per_second:12.0} {per_cpu:14.0}");
    };

    let watch = Watch::start();
    let appenders =
        (0..tasks).map(|task| append(Arc::clone(&log), payloads.clone(), task, group, calls));
    futures::future::join_all(appenders.map(tokio::spawn)).await;
    report("append", watch);

    let watch = Watch::start();
    read(&*log, count).await;
    report("read", watch);
}

async fn append(
    log: Arc<impl EventLog>,
    payloads: Arc<[Bytes]>,
    task: usize,
    group: usize,
    calls: usize,
) {
    for call in 0..calls {
        let records = (0..group).map(|index| {
            let number = task * 7919 + call * group + index;
            let partition = Partition((number % PARTITIONS as usize) as i32);
            let payload = payloads[number % payloads.len()].clone();
            NewRecord { partition, kind: Kind::Event, payload }
        });
        log.append(records.collect()).await.expect("kept");
    }
}

async fn read(log: &impl EventLog, count: usize) {
    let mut subscription = log.subscribe("bench").expect("a subscription");
    let mut left = count;
    while left > 0 {
        match subscription.next(Duration::from_secs(10)).await.expect("a delivery") {
            Delivery::Assigned(partitions) => {
                for partition in partitions {
                    let first = log.bounds(partition).await.expect("bounds").start;
                    subscription.start(partition, first).await.expect("a start");
                }
            }
            Delivery::Records { records, .. } => left -= records.len(),
            Delivery::Idle | Delivery::Revoked(_) => panic!("{left} records did not come"),
        }
    }
}

/// Events of the usual size, with as much variety as compression would meet.
fn payloads() -> Arc<[Bytes]> {
    let payload = |_| {
        let id: u128 = rand::random();
        let (visitor, item, x): (u32, u16, u16) = rand::random();
        let mut text = format!(
            "{{\"event_id\":\"{id:032x}\",\"site\":\"shop\",\"visitor_id\":\"v{visitor}\",\
             \"event_name\":\"view_item\",\"event_time\":1793000{visitor:010},\"page_type\":\
             \"product\",\"page_url\":\"https://shop.example/product/{item}\",\"items\":[{{\
             \"item_id\":\"SKU-{item}\",\"price\":{x}.99}}],\"user_agent\":\"Mozilla/5.0\",\"p\":\""
        );
        while text.len() < RECORD_BYTES - 2 {
            text.push('x');
        }
        Bytes::from(text + "\"}")
    };
    (0..4096).map(payload).collect()
}

/// Wall clock and this process's CPU time.
struct Watch {
    started_at: Instant,
    cpu_seconds: f64,
}

impl Watch {
    fn start() -> Self {
        Self { started_at: Instant::now(), cpu_seconds: cpu_seconds().expect("Linux") }
    }

    fn elapsed(&self) -> (f64, f64) {
        // The kernel counts hundredths of a second.
        let cpu = (cpu_seconds().expect("Linux") - self.cpu_seconds).max(0.01);
        (self.started_at.elapsed().as_secs_f64(), cpu)
    }
}
