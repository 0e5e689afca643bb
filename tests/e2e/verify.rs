//! `verify`: tells every row that was removed, doubled or changed by hand, and raises no alarm on
//! what is allowed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use footfall_tests::{Footfall, Running, binary, python_text, repository, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::sample::{Posting, quick, wait_until_folded};

const TABLES: [&str; 7] =
    ["events", "sessions", "needs", "page_views", "rejected", "duplicates", "receipts"];
/// Which rows are removed and doubled; all of a table are meant where it has no entry.
const REMOVED: [(&str, &str); 3] = [
    ("events", "session_id is not None"),
    ("receipts", "site is not None"),
    ("receipts", "site is None"),
];
/// Changes of a row, as Python: the table, which row, and the column with its other value.
const CHANGED: [(&str, &str, &str, &str); 38] = [
    ("events", "event_name == 'purchase'", "event_name", "'click'"),
    ("events", "session_id is not None", "event_time", "event_time + timedelta(hours=3)"),
    ("events", "session_id is not None", "session_id", "'0' * 32"),
    ("events", "session_id is not None", "session_id", "None"),
    ("events", "session_id is not None", "late", "True"),
    ("events", "session_id is not None", "overflow", "True"),
    ("events", "session_id is not None", "overflow", "None"),
    ("events", "session_id is not None", "visitor_id", "'somebody else'"),
    ("events", "visitor_id is None", "session_id", "'0' * 32"),
    ("events", "visitor_id is None", "site", "'another'"),
    ("events", "session_id is not None", "log_offset", "10 ** 9"),
    ("events", "visitor_id is None", "event_date", "event_date + timedelta(days=1)"),
    ("sessions", "True", "exit_path", "'/elsewhere'"),
    ("sessions", "True", "event_count", "event_count + 1"),
    ("sessions", "needs_found", "needs_found", "[]"),
    ("sessions", "True", "close_cause", "'cap'"),
    ("sessions", "True", "revision", "1"),
    ("sessions", "True", "config_id", "'0' * 16"),
    ("needs", "True", "outcome", "'gave_up' if outcome == 'abandoned' else 'abandoned'"),
    ("needs", "True", "signalled", "None"),
    ("needs", "True", "revision", "1"),
    ("page_views", "True", "ended_at", "ended_at + timedelta(microseconds=1)"),
    ("page_views", "True", "is_exit", "not is_exit"),
    ("page_views", "True", "revision", "1"),
    ("rejected", "True", "site", "'another'"),
    ("rejected", "True", "reason", "'a whim'"),
    ("rejected", "True", "log_offset", "10 ** 9"),
    ("duplicates", "True", "site", "'another'"),
    ("duplicates", "True", "log_offset", "10 ** 9"),
    ("duplicates", "True", "received_time", "received_time + timedelta(days=1)"),
    ("receipts", "site is not None and accepted > 0", "accepted", "accepted + 1"),
    ("receipts", "site is not None", "pending", "pending + 1"),
    ("receipts", "site is not None", "overflow", "overflow + 1"),
    ("receipts", "site is None", "received", "5"),
    ("receipts", "site is None", "to_offset", "to_offset + 1"),
    ("receipts", "site is None", "hour", "hour + timedelta(hours=1)"),
    ("receipts", "site is None", "receipt_date", "receipt_date + timedelta(days=1)"),
    ("receipts", "site is None", "watermark", "datetime.now(timezone.utc) + timedelta(days=1)"),
];

/// Copies a lake for each case, and rewrites a table of the copy with one row removed, doubled or
/// changed. `rewrite` changes nothing: what is told must not come from the rewriting.
pub const BY_HAND: &str = "
import json, shutil, sys
from datetime import datetime, timedelta, timezone
import pyarrow as pa, deltalake
lake, cases = sys.argv[1], json.loads(sys.argv[2])
tables = {}
for case in cases:
    name = case['table']
    shutil.copytree(lake, case['lake'])
    if name not in tables:
        rows = deltalake.DeltaTable(lake + '/' + name).to_pyarrow_table()
        tables[name] = (rows, rows.to_pylist())
    rows, listed = tables[name]
    known = {'datetime': datetime, 'timedelta': timedelta, 'timezone': timezone}
    fits = [i for i, row in enumerate(listed) if eval(case['where'], {**known, **row})]
    assert fits, f'no row of {name} is such that {case[\"where\"]}'
    at = fits[len(fits) // 2]
    before, row, after = rows.slice(0, at), rows.slice(at, 1), rows.slice(at + 1)
    if case['kind'] == 'remove':
        parts = [before, after]
    elif case['kind'] == 'double':
        parts = [before, row, row, after]
    elif case['kind'] == 'rewrite':
        parts = [rows]
    else:
        column = rows.schema.get_field_index(case['column'])
        field = rows.schema.field(column)
        value = eval(case['value'], {**known, **listed[at]})
        assert value != listed[at][case['column']]
        row = row.set_column(column, field, pa.array([value], field.type))
        parts = [before, row, after]
    deltalake.write_deltalake(case['lake'] + '/' + name, pa.concat_tables(parts), mode='overwrite')
";

/// Tampers with copies of a lake, one change each, and has each verified.
fn check_by_hand(folder: &Path, lake: &Path) -> Result<()> {
    let mut cases: Vec<Value> = Vec::new();
    for table in TABLES {
        let wheres: Vec<&str> =
            REMOVED.iter().filter(|(of, _)| *of == table).map(|(_, rows)| *rows).collect();
        let wheres = if wheres.is_empty() { vec!["True"] } else { wheres };
        cases.push(json!({"table": table, "kind": "rewrite", "where": "True"}));
        for (rows, kind) in wheres.iter().flat_map(|rows| [(rows, "remove"), (rows, "double")]) {
            cases.push(json!({"table": table, "kind": kind, "where": rows}));
        }
    }
    for (table, rows, column, value) in CHANGED {
        cases.push(json!({
            "table": table, "kind": "change", "where": rows, "column": column, "value": value,
        }));
    }
    for (number, case) in cases.iter_mut().enumerate() {
        let lake = folder.join(format!("case-{number}")).join("lake");
        case["lake"] = json!(lake.to_string_lossy());
    }
    let listed = Value::from(cases.clone()).to_string();
    python_text(BY_HAND, &[&lake.to_string_lossy(), &listed])?;
    let mut unseen = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let copy = Footfall::at(&folder.join(format!("case-{number}")));
        let verified = copy.run(&["verify"])?;
        let expected = if case["kind"] == "rewrite" { 0 } else { 1 };
        if verified.status.code() != Some(expected) {
            let said = String::from_utf8_lossy(&verified.stdout).into_owned();
            unseen.push(format!("{case}: {} {said}", verified.status));
        }
    }
    ensure!(unseen.is_empty(), "judged wrongly:\n{}", unseen.join("\n"));
    Ok(())
}

/// A sample's events as a file, with a line that no event can be made of.
fn sample_file(folder: &Path, sessions: &str) -> Result<PathBuf> {
    let path = folder.join("sample.jsonl");
    let output = Command::new(binary()).args(["sample", "--sessions", sessions]).output()?;
    ensure!(output.status.success(), "sample: {}", output.status);
    let mut events = output.stdout;
    events.extend_from_slice(b"{\"event_name\":\"without a time\"}\n");
    std::fs::write(&path, events)?;
    Ok(path)
}

fn load(footfall: &Footfall, file: &Path) -> Result<()> {
    let map = repository().join("config/maps/footfall.toml");
    footfall.run_well(&["load", &file.to_string_lossy(), "--map", &map.to_string_lossy()])?;
    Ok(())
}

fn ensure_full(mut count: impl FnMut(&str) -> Result<i64>) -> Result<()> {
    for table in TABLES {
        ensure!(count(&format!("SELECT count(*) FROM {table}"))? > 0, "`{table}` is empty");
    }
    Ok(())
}

fn count(footfall: &Footfall, statement: &str) -> Result<i64> {
    let answer = footfall.run_well(&["sql", statement, "--format", "json"])?;
    let answer: Value = serde_json::from_str(&answer)?;
    answer["rows"][0][0].as_i64().with_context(|| format!("{statement}: {answer}"))
}

fn post(running: &Running, events: &str) -> Result<()> {
    let (status, answer) = running.post("/v1/events", events)?;
    ensure!(status == 202, "{status} {answer}");
    Ok(())
}

#[test]
fn verify_tells_rows_that_were_removed_doubled_or_changed() -> Result<()> {
    let folder = TempDir::new()?;
    let footfall = Footfall::at(&folder.path().join("data"));
    load(&footfall, &sample_file(folder.path(), "400")?)?;
    ensure_full(|statement| count(&footfall, statement))?;
    check_by_hand(folder.path(), &footfall.lake())?;
    // History has no signals.
    let (copy, lake) = (folder.path().join("signalled"), footfall.lake());
    let case = json!([{
        "table": "needs", "kind": "change", "where": "True", "column": "signalled", "value": "True",
        "lake": copy.join("lake").to_string_lossy(),
    }]);
    python_text(BY_HAND, &[&lake.to_string_lossy(), &case.to_string()])?;
    let verified = Footfall::at(&copy).run(&["verify"])?;
    ensure!(verified.status.code() == Some(1), "a signal of history was not seen");
    Ok(())
}

#[test]
fn verify_tells_them_in_a_live_lake_of_several_partitions() -> Result<()> {
    let folder = TempDir::new()?;
    let footfall = quick(&folder.path().join("data")).set("log.partitions=3");
    let running = footfall.start("up")?;
    let (status, answer) = running.post("/v1/events", r#"{"visitor_id":"v"}"#)?;
    ensure!(status == 400, "{status} {answer}");
    // Runs whose late events wait are left out, and of repaired ones not all is known.
    let more = ["--sessions", "300", "--rate", "600", "--late", "0"];
    let totals = Posting::start(folder.path(), running.ingest(), &more)?.finish()?;
    wait_until_folded(&running, &totals)?;
    ensure_full(|statement| running.number(statement))?;
    let partitions = running.number("SELECT count(DISTINCT log_partition) FROM events")?;
    ensure!(partitions == 3, "events are in {partitions} partitions");
    running.stop()?;
    check_by_hand(folder.path(), &footfall.lake())
}

/// A process that dies in its first commit leaves tables that speak up to different records.
#[test]
fn live_rows_are_left_out_before_the_first_barrier() -> Result<()> {
    let folder = TempDir::new()?;
    let data = folder.path().join("data");
    load(&quick(&data), &sample_file(folder.path(), "30")?)?;
    let footfall = quick(&data).set("pipeline.snapshot_interval=1h");
    let running = footfall.start("up")?;
    // The same sample as the file's: its sessions have the ids of the loaded ones.
    let more = ["--sessions", "60", "--rate", "600", "--late", "0"];
    let totals = Posting::start(folder.path(), running.ingest(), &more)?.finish()?;
    let events = totals["events"].as_i64().context("no total of events")?;
    wait_until("live events", Duration::from_secs(60), || {
        let live = "SELECT count(*) FROM events WHERE log NOT LIKE 'load:%'";
        Ok(running.number(live)? >= events)
    })?;
    running.kill()?;
    // As if it had died between its first commit and the snapshot right behind it.
    std::fs::remove_dir_all(footfall.lake().join("_footfall/snapshots"))?;
    let said = footfall.run_well(&["verify"])?;
    ensure!(said.contains("left out: live rows of partition 0: no snapshot"), "{said}");
    // What was loaded is verified all the same.
    let copy = folder.path().join("tampered");
    let loaded = "close_cause == 'end_of_load'";
    let case = json!([{
        "table": "sessions", "kind": "remove", "where": loaded,
        "lake": copy.join("lake").to_string_lossy(),
    }]);
    python_text(BY_HAND, &[&footfall.lake().to_string_lossy(), &case.to_string()])?;
    let verified = Footfall::at(&copy).run(&["verify"])?;
    ensure!(verified.status.code() == Some(1), "a loaded session's row was not missed");
    // A restart finds its way, and then nothing is left out.
    start_until_read(&footfall, events)?;
    let said = footfall.run_well(&["verify"])?;
    ensure!(!said.contains("left out"), "{said}");
    Ok(())
}

/// `events` has gone on when a load comes, tables without a row have not: at the barrier some hold
/// the load and others do not.
#[test]
fn a_load_that_not_all_tables_hold_at_the_barrier_is_left_out() -> Result<()> {
    let folder = TempDir::new()?;
    let data = folder.path().join("data");
    let file = sample_file(folder.path(), "100")?;
    quick(&data).set("log.partitions=1").start("up")?.stop()?;
    let footfall = quick(&data).set("log.partitions=1").set("pipeline.snapshot_interval=1h");
    let running = footfall.start("up")?;
    // Events that are held wait for log time; one without a visitor does as well, and is no session.
    post(&running, r#"{"event_id":"a","event_name":"page_hide"}"#)?;
    wait_until("the event", Duration::from_secs(60), || {
        Ok(running.number("SELECT count(*) FROM events")? == 1)
    })?;
    load(&footfall, &file)?;
    running.kill()?;
    let said = footfall.run_well(&["verify"])?;
    ensure!(said.contains("not all tables hold it"), "{said}");
    start_until_read(&footfall, 1)?;
    let said = footfall.run_well(&["verify"])?;
    ensure!(!said.contains("left out"), "{said}");
    Ok(())
}

/// Starts again, reads all live events, and stops behind a barrier.
fn start_until_read(footfall: &Footfall, events: i64) -> Result<()> {
    let running = footfall.start("up")?;
    wait_until("all is read again", Duration::from_secs(60), || {
        let pipeline = |name: &str| running.metric(running.pipeline(), name);
        Ok(pipeline("footfall_pipeline_remembered_ids")? >= events as f64
            && pipeline("footfall_pipeline_lag_records")? == 0.0)
    })?;
    running.stop()
}

#[test]
fn verify_raises_no_alarm_on_what_is_allowed() -> Result<()> {
    let folder = TempDir::new()?;
    let footfall =
        quick(&folder.path().join("data")).set("log.partitions=1").set("rules.dedupe_ids_max=1");
    let running = footfall.start("up")?;
    let event = |id: &str, visitor: &str, rest: &str| {
        format!(r#"{{"event_id":"{id}","visitor_id":"{visitor}",{rest}}}"#)
    };
    let view = r#""event_name":"page_view""#;
    let unseen = r#""event_name":"heartbeat","visible_ms":0"#;
    // One body has one time: without a `seq`, an event comes behind one of -1.
    let absent = event("a-absent", "seq", view);
    let negative = event("b-negative", "seq", r#""event_name":"page_view","seq":-1"#);
    post(&running, &format!("{absent}\n{negative}"))?;
    // An id that was forgotten, as the memory was full, comes again.
    for id in ["one", "two", "one"] {
        post(&running, &event(id, "twice", view))?;
    }
    post(&running, &event("old-1", "old", view))?;
    post(&running, &event("old-2", "old", unseen))?;
    wait_until("the old rules' session", Duration::from_secs(90), || {
        Ok(running.number("SELECT count(*) FROM sessions WHERE visitor_id = 'old'")? == 1)
    })?;
    running.stop()?;
    // Under other rules other events are hidden.
    let footfall = footfall.set("rules.condition.hidden=event_name = 'ping'");
    let running = footfall.start("up")?;
    let ping = r#""event_name":"ping""#;
    let mut tried = 0;
    wait_until("the new rules", Duration::from_secs(90), || {
        tried += 1;
        let id = format!("ping-{tried}");
        post(&running, &event(&id, &id, ping))?;
        std::thread::sleep(Duration::from_millis(400));
        let hidden = "SELECT count(*) FROM events WHERE event_name = 'ping' AND session_id IS NULL";
        Ok(running.number(hidden)? > 0)
    })?;
    for (id, rest) in [("new-1", view), ("new-2", unseen), ("new-3", ping)] {
        post(&running, &event(id, "new", rest))?;
    }
    wait_until("the new rules' session", Duration::from_secs(90), || {
        Ok(running.number("SELECT count(*) FROM sessions WHERE visitor_id = 'new'")? == 1)
    })?;
    let counts = |visitor: &str| {
        let events = "SELECT CAST(max(event_count) AS BIGINT) FROM sessions WHERE visitor_id";
        running.number(&format!("{events} = '{visitor}'"))
    };
    let (seq, twice, old, new) = (counts("seq")?, counts("twice")?, counts("old")?, counts("new")?);
    ensure!((seq, twice, old, new) == (2, 3, 1, 2), "{seq}, {twice}, {old}, {new} events");
    running.stop()?;
    let said = footfall.run_well(&["verify"])?;
    ensure!(said.contains("1 events were sent again after their ids were forgotten"), "{said}");
    ensure!(said.contains("all of them agree"), "{said}");
    Ok(())
}
