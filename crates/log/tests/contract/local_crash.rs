//! A process that appends is killed: what it was promised is there, and offsets go on.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use footfall_event::{Offset, Partition};
use footfall_log::{EventLog, LocalLog};

use crate::harness::{PARTITIONS, event};
use crate::local::eager;

const CHILD_DIRECTORY: &str = "FOOTFALL_TEST_CHILD_DIRECTORY";
const APPENDERS: usize = 4;

/// Not a test by itself: the other one starts it as a child process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_appends_until_it_is_killed() {
    let Ok(directory) = std::env::var(CHILD_DIRECTORY) else { return };
    let log = Arc::new(LocalLog::open(eager(Path::new(&directory))).unwrap());
    let appenders: Vec<_> =
        (0..APPENDERS).map(|a| tokio::spawn(append(Arc::clone(&log), a))).collect();
    for appender in appenders {
        appender.await.unwrap();
    }
}

async fn append(log: Arc<LocalLog>, appender: usize) {
    for call in 0.. {
        let records: Vec<_> = (0..10)
            .map(|index| {
                let partition = (appender + index) % PARTITIONS as usize;
                event(partition as i32, format!("{}.{appender}.{call}.{index}", std::process::id()))
            })
            .collect();
        let appended = log.append(records.clone()).await.unwrap();
        let mut lines = String::new();
        for (record, at) in records.iter().zip(appended) {
            let payload = std::str::from_utf8(&record.payload).unwrap();
            lines += &format!("\nkept {} {} {payload}\n", at.partition, at.offset);
        }
        std::io::stdout().write_all(lines.as_bytes()).unwrap();
    }
}

#[tokio::test]
async fn kill_9_loses_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let mut kept: BTreeMap<(i32, i64), String> = BTreeMap::new();
    for round in 1..=4 {
        let mut child = spawn_child(directory.path());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut heard = 0;
        // What it wrote before it died is read to the end, also after the kill.
        for line in lines.map_while(Result::ok) {
            let Some(("kept", rest)) = line.split_once(' ') else { continue };
            let [partition, offset, payload] = rest.split(' ').collect::<Vec<_>>()[..] else {
                continue;
            };
            let at = (partition.parse().unwrap(), offset.parse().unwrap());
            assert_eq!(kept.insert(at, payload.to_owned()), None, "{at:?} was given out twice");
            heard += 1;
            if heard == 400 * round {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(heard >= 400 * round, "the child ended by itself");
    }
    let log = LocalLog::open(eager(directory.path())).unwrap();
    for ((partition, offset), payload) in &kept {
        let record = log.read_one(Partition(*partition), Offset(*offset)).await.unwrap();
        assert_eq!(record.unwrap().payload, payload.as_bytes());
    }
}

fn spawn_child(directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "local_crash::child_that_appends_until_it_is_killed", "--nocapture"])
        .env(CHILD_DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}
