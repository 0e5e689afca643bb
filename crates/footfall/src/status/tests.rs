//! What a status says to people, to scripts, and to somebody who is worried.

use footfall_pipeline::PartitionStatus;

use super::*;

fn partition(number: i32, lag_seconds: f64) -> PartitionStatus {
    PartitionStatus {
        partition: number,
        start_offset: Some(0),
        end_offset: Some(12),
        position: 10,
        lag_records: Some(2),
        lag_seconds: Some(lag_seconds),
        watermark: Some("2026-11-28T06:00:00.000000Z".to_owned()),
        open_sessions: 3,
        held_events: 4,
        remembered_ids: 5,
    }
}

fn status(lag_seconds: f64, freshness_seconds: f64, told_seconds_ago: f64) -> Status {
    Status {
        parts: vec![Part {
            name: "pipeline".to_owned(),
            server: "http://127.0.0.1:8082".to_owned(),
            state: "ready".to_owned(),
        }],
        pipelines: vec![PipelineStatus {
            part: PipelineStatus::PART.to_owned(),
            topic: "footfall.events".to_owned(),
            partition_count: 2,
            lake: "file:///lake/".to_owned(),
            freshness_seconds: Some(freshness_seconds),
            told_seconds_ago: Some(told_seconds_ago),
            partitions: vec![partition(0, 0.0), partition(1, lag_seconds)],
        }],
        lake: Some("file:///lake/".to_owned()),
        tables: vec![TableFacts {
            name: "events".to_owned(),
            version: Some(7),
            files: 2,
            bytes: 1_536,
            rows: Some(100),
        }],
        pending_repairs: Some(Pending { events: 3, earliest: None }),
        ..Status::default()
    }
}

#[test]
fn people_see_tables() {
    let expected = "\
parts
  part      address                state
  pipeline  http://127.0.0.1:8082  ready

log footfall.events, 2 partitions; freshness 1.5 s
  partition  start  end  lag  lag_s                    watermark  open_sessions  held_events
          0      0   12    2    0.0  2026-11-28T06:00:00.000000Z              3            4
          1      0   12    2    0.5  2026-11-28T06:00:00.000000Z              3            4

tables at file:///lake/
  table   rows  files     size  version
  events   100      2  1.5 KiB        7

pending repairs: 3 late events in no session
";
    assert_eq!(render::table(&status(0.5, 1.5, 0.0)), expected);
}

#[test]
fn scripts_see_a_line_for_each_value() {
    let mut status = status(0.0, 1.5, 0.0);
    status.notes.push("a, \"b\"".to_owned());
    let csv = render::csv(&status).unwrap();
    for line in [
        "part,http://127.0.0.1:8082,state,ready",
        "log,footfall.events,freshness_seconds,1.5",
        "partition,1,end_offset,12",
        "table,events,rows,100",
        "pending_repairs,events,events,3",
        "pending_repairs,events,earliest,",
        "note,0,text,\"a, \"\"b\"\"\"",
    ] {
        assert!(csv.lines().any(|found| found == line), "no {line} in {csv}");
    }
}

#[test]
fn what_is_wrong_is_said_and_nothing_else() {
    assert_eq!(worries(&status(1.0, 20.0, 1.0)), Vec::<String>::new());
    let mut bad = status(61.0, 61.0, 11.0);
    bad.pipelines[0].partitions.remove(0);
    let notes = worries(&bad).join("\n");
    for told in [
        "the tables are 61 s old",
        "told its state 11 s ago",
        "partition 1 lags 61 s",
        "folds partition 0",
    ] {
        assert!(notes.contains(told), "{told} is not in {notes}");
    }
}
