//! Deliveries cut into pieces, and partitions that go on from a snapshot.

use footfall_lake::Lake;
use prometheus::Registry;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::snapshot;

/// 2026-01-01T00:00:00Z.
const BEGAN: i64 = 1_767_225_600;

fn rules(slow_page_ms: i64) -> Arc<Rules> {
    Arc::new(Rules { slow_page_ms, ..crate::testing::rules() })
}

/// A fold, and what it reads with.
struct Bench {
    _folder: TempDir,
    lake: Lake,
    metrics: Metrics,
    fold: PartitionFold,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::at(&folder.path().to_string_lossy(), Vec::new()).unwrap();
        let metrics = Metrics::register(&Registry::new()).unwrap();
        let fold = PartitionFold::begin(origin(), Offset(0), None, rules(1)).unwrap();
        Bench { _folder: folder, lake, metrics, fold }
    }

    /// How many records were read.
    async fn read(&mut self, records: &[Record]) -> Result<usize, PipelineError> {
        let mut resends = OldResends::new(
            &self.lake,
            "events",
            Partition(0),
            Micros(0),
            CancellationToken::new(),
        );
        Ok(self.fold.read(records, &mut resends, &self.metrics).await?.0)
    }

    async fn read_all(&mut self, records: &[Record]) {
        let mut rest = records;
        while !rest.is_empty() {
            rest = &rest[self.read(rest).await.unwrap()..];
        }
    }

    /// Goes on from a snapshot of now.
    async fn restart(&mut self) -> Offset {
        self.fold.settle(true).unwrap();
        let (position, (resume_from, bytes)) =
            (self.fold.position(), self.fold.snapshot().unwrap());
        let published =
            snapshot::publish(&self.lake, "events", Partition(0), position, bytes.into());
        published.await.unwrap();
        self.restart_from_newest().await;
        resume_from
    }

    async fn restart_from_newest(&mut self) {
        let newest = snapshot::newest(&self.lake, "events", Partition(0)).await.unwrap();
        let (header, state) = newest.unwrap();
        let position = header.offset;
        self.fold = PartitionFold::resume(origin(), header, state, position).unwrap();
    }
}

fn origin() -> Origin {
    Origin { log: "events".into(), partition: Partition(0) }
}

fn record(offset: usize, second: i64, kind: Kind, payload: Vec<u8>) -> Record {
    let append_time = Micros((BEGAN + second) * Micros::SECOND.0);
    Record { offset: Offset(offset as i64), append_time, kind, payload: payload.into() }
}

/// Ticks at these seconds.
fn ticks(seconds: &[i64]) -> Vec<Record> {
    let tick = |(offset, second): (usize, &i64)| record(offset, *second, Kind::Tick, Vec::new());
    seconds.iter().enumerate().map(tick).collect()
}

fn event(offset: usize, second: i64, id: &str) -> Record {
    let time = (BEGAN + second) * Micros::SECOND.0;
    let json = format!(
        r#"{{"event_id":"{id}","site":"s","visitor_id":"v","event_name":"scroll","event_time":{time},"received_time":{time}}}"#
    );
    record(offset, second, Kind::Event, json.into_bytes())
}

#[tokio::test]
async fn a_piece_ends_where_log_time_has_gone_a_quarter_of_the_window() {
    // Log time is known from the second record on.
    let records = ticks(&[0, 5, 100, 305, 306, 307, 600]);
    let mut bench = Bench::new();
    assert_eq!(bench.read(&records).await.unwrap(), 5);
    assert!(bench.fold.spans_much());
    bench.fold.settle(false).unwrap();
    assert!(!bench.fold.spans_much());
    assert_eq!(bench.read(&records[5..]).await.unwrap(), 2);
}

/// Else an id could be forgotten before its row can be looked up.
#[tokio::test]
async fn a_restart_does_not_begin_a_pieces_span_anew() {
    let records = ticks(&[0, 5, 6, 305, 307, 308]);
    for restarts in [0, 1] {
        let mut bench = Bench::new();
        bench.read_all(&records[..3]).await;
        for _ in 0..restarts {
            bench.restart().await;
        }
        assert_eq!(bench.read(&records[3..]).await.unwrap(), 2, "{restarts} restarts");
    }
}

#[tokio::test]
async fn a_leap_ends_a_piece_where_it_is_confirmed() {
    let mut bench = Bench::new();
    // One that is not believed ends none.
    assert_eq!(bench.read(&ticks(&[0, 5, 9_000, 6, 7])).await.unwrap(), 5);
    let mut bench = Bench::new();
    assert_eq!(bench.read(&ticks(&[0, 5, 9_000, 9_004, 9_005, 9_006])).await.unwrap(), 5);
}

#[tokio::test]
async fn a_piece_ends_behind_a_control_record() {
    let mut records = ticks(&[0, 5, 6, 7]);
    records[2].kind = Kind::Control;
    records[2].payload = serde_json::to_vec(&*rules(2)).unwrap().into();
    let mut bench = Bench::new();
    assert_eq!(bench.read(&records).await.unwrap(), 3);
    assert_eq!(**bench.fold.fold().rules().newest().1, *rules(2));
    // One with a condition that nobody can evaluate is passed over.
    let mut unfit = Rules::clone(&rules(3));
    unfit.conditions.error = "no SQL".to_owned();
    records[3].kind = Kind::Control;
    records[3].payload = serde_json::to_vec(&unfit).unwrap().into();
    assert_eq!(bench.read(&records[3..]).await.unwrap(), 1);
    assert_eq!(**bench.fold.fold().rules().newest().1, *rules(2));
    // It is a record of the log all the same, of which the receipt tells.
    let settled = bench.fold.settle(true).unwrap();
    assert_eq!(settled.output.receipts.last().unwrap().to, bench.fold.position());
}

#[tokio::test]
async fn held_events_are_read_again_before_anything_else() {
    let mut records = ticks(&[0, 5, 0, 0, 8, 21]);
    records[2] = event(2, 6, "a");
    records[3] = event(3, 7, "b");
    let mut bench = Bench::new();
    bench.read_all(&records[..5]).await;
    assert_eq!(bench.restart().await, Offset(2));
    assert!(!bench.fold.is_whole());
    // Neither a gap in the log nor a start behind them is passed over in silence.
    for given in [&records[5..], &records[3..5]] {
        let refused = bench.read(given).await.unwrap_err();
        assert!(matches!(refused, PipelineError::HeldLost { offset: Offset(2), .. }), "{refused}");
    }
    bench.restart_from_newest().await;
    // They may come in several deliveries.
    assert_eq!(bench.read(&records[2..3]).await.unwrap(), 1);
    assert!(!bench.fold.is_whole());
    bench.read_all(&records[3..]).await;
    assert!(bench.fold.is_whole());
    let settled = bench.fold.settle(false).unwrap();
    assert_eq!(settled.events.num_rows(), 2);
}

#[tokio::test]
async fn a_held_event_that_is_no_event_any_more_stops_the_partition() {
    let mut records = ticks(&[0, 5, 0, 8]);
    records[2] = event(2, 6, "a");
    let mut bench = Bench::new();
    bench.read_all(&records).await;
    bench.restart().await;
    records[2].payload = b"{".to_vec().into();
    let refused = bench.read(&records[2..]).await.unwrap_err().to_string();
    assert!(refused.contains("record 2 is named by the snapshot as held"), "{refused}");
}

#[tokio::test]
async fn rules_that_only_held_events_follow_outlive_two_restarts() {
    let mut records = ticks(&[0, 5, 0, 7, 8, 21, 22]);
    records[2] = event(2, 6, "a");
    records[3].kind = Kind::Control;
    records[3].payload = serde_json::to_vec(&*rules(2)).unwrap().into();
    let mut bench = Bench::new();
    bench.read_all(&records[..5]).await;
    for _ in 0..2 {
        assert_eq!(bench.restart().await, Offset(2));
        bench.read_all(&records[2..5]).await;
        assert!(bench.fold.is_whole());
    }
    bench.read_all(&records[5..]).await;
    // It settles by the rules of its record, and opens a session that keeps them.
    assert_eq!(bench.fold.settle(false).unwrap().output.rows.events.len(), 1);
    assert_eq!(bench.fold.fold().rules().iter().count(), 2);
}

/// A session is by the rules in force at the record of its first event, held over a restart or not.
#[tokio::test]
async fn an_event_right_behind_a_control_record_is_by_its_rules() {
    let mut records = ticks(&[0, 5, 0, 7, 0, 8, 3_000, 3_006]);
    records[2] = event(2, 6, "a");
    records[3].kind = Kind::Control;
    records[3].payload = serde_json::to_vec(&*rules(2)).unwrap().into();
    let other = String::from_utf8(event(4, 7, "b").payload.to_vec()).unwrap();
    let other = other.replace(r#""visitor_id":"v""#, r#""visitor_id":"w""#);
    records[4] = record(4, 7, Kind::Event, other.into_bytes());
    for restarts in [0, 1] {
        let mut bench = Bench::new();
        bench.read_all(&records[..6]).await;
        for _ in 0..restarts {
            assert_eq!(bench.restart().await, Offset(2));
            bench.read_all(&records[2..6]).await;
        }
        bench.read_all(&records[6..]).await;
        let settled = bench.fold.settle(false).unwrap();
        let by = settled.output.rows.sessions.iter().map(|row| {
            (row.visitor.visitor_id.to_string(), settled.book.at(row.rules).slow_page_ms)
        });
        let expected = [("v".to_owned(), 1), ("w".to_owned(), 2)];
        assert_eq!(by.collect::<BTreeMap<_, _>>(), BTreeMap::from(expected), "{restarts} restarts");
    }
}

/// A duplicate tells when it was received, not when it was appended.
#[tokio::test]
async fn a_duplicate_tells_when_it_was_received() {
    let mut records = ticks(&[0, 5, 0, 0]);
    records[2] = event(2, 6, "a");
    records[3] = record(3, 9, Kind::Event, records[2].payload.to_vec());
    let mut bench = Bench::new();
    bench.read_all(&records).await;
    let settled = bench.fold.settle(false).unwrap();
    let [duplicate] = &settled.duplicates[..] else { panic!("one is a duplicate") };
    let received = Micros((BEGAN + 6) * Micros::SECOND.0);
    assert_eq!((duplicate.offset, duplicate.received_time), (Offset(3), received));
}

/// No reader of the tables could represent them: whoever wrote them is not Footfall.
#[tokio::test]
async fn a_strangers_time_beyond_all_calendars_reaches_no_table() {
    let beyond = TIME_RANGE.end().0 + 1;
    let refused = |received: i64| {
        let row = format!(
            r#"{{"id":"i","site":"s","reason":"missing","field":"f","payload":"p","payload_bytes":1,"received_time":{received}}}"#
        );
        record(2, 6, Kind::Rejected, row.into_bytes())
    };
    let posted = event(3, 6, "a");
    let own = format!(r#""received_time":{}"#, (BEGAN + 6) * Micros::SECOND.0);
    let json = String::from_utf8(posted.payload.to_vec()).unwrap();
    let strange = json.replace(&own, &format!(r#""received_time":{beyond}"#));
    let mut records = ticks(&[0, 5]);
    records.extend([refused(beyond), record(3, 6, Kind::Event, strange.into_bytes())]);
    records.push(Record { offset: Offset(4), ..refused(beyond - 1) });
    let mut bench = Bench::new();
    bench.read_all(&records).await;
    let settled = bench.fold.settle(false).unwrap();
    let rows = settled.rejected.iter().map(|row| {
        let Rejection { reason, received_time, .. } = &row.rejection;
        (row.offset.0, reason.as_str(), received_time.0)
    });
    let appended = records[2].append_time.0;
    let expected =
        [(2, "bad_record", appended), (3, "bad_record", appended), (4, "missing", beyond - 1)];
    assert_eq!(rows.collect::<Vec<_>>(), expected);
    assert_eq!(bench.fold.fold().held_events(), 0);
}
