//! A visitor is erased beside the live fold: no byte of the id is left, everybody else's figures stay, and
//! what dies in between goes on.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use footfall_tests::{
    Footfall, Kafka, Running, oracle_of_all, python_text, repository, rules_with_gap, wait_until,
    watermarks,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::pauses::Pauses;
use crate::sample::{GAP_S, Posting, quick};

/// No compression writes it shorter where it stands once, and no other id looks like it: its first and last letters stand
/// nowhere else, so that not even they are taken from what is before or behind it.
const PERSON: &str = "~7Hq2Zk3vQ9xW2bTf7LmRc~";
const PATIENCE: Duration = Duration::from_secs(120);
/// What the request's file says when a step is done: it is killed behind each, and in between.
const STEPS: [&str; 6] = [
    "\"visitor\": ",
    "\"control_offsets\": {\n",
    "\"is_counted\": true",
    "\"rewritten_at\": ",
    "\"log_records\": ",
    "\"log_erased_at\": ",
];

const WAITING: &str = "SELECT count(*) FROM events WHERE late AND session_id IS NULL \
    AND visitor_id IS NOT NULL AND NOT (event_name = 'heartbeat' AND visible_ms = 0)";
/// The tables that have a column for the visitor.
const OF_VISITORS: [&str; 4] = ["events", "sessions", "needs", "page_views"];

/// Reads every Parquet file below a folder, whether a table has it or not, and prints those that hold a
/// text.
const SEARCH_PARQUET: &str = "
import pathlib, sys
import pyarrow.parquet
for path in pathlib.Path(sys.argv[1]).rglob('*.parquet*'):
    if sys.argv[2] in str(pyarrow.parquet.ParquetFile(path).read().to_pylist()):
        print(path)
";

fn erasing(folder: &Path) -> Footfall {
    quick(&folder.join("data"))
        .set("pipeline.rewrite_interval=1s")
        .set("pipeline.erasure_grace=2s")
        .set("log.partitions=2")
}

/// An event of the person; `more` are further members.
fn event(id: &str, name: &str, more: Value) -> String {
    let mut event = json!({
        "event_id": id, "site": "shop", "visitor_id": PERSON, "event_name": name,
        "page_url": format!("https://shop.example/?v={PERSON}"), "page_type": "product",
    });
    let members = more.as_object().cloned().unwrap_or_default();
    members.into_iter().for_each(|(key, value)| event[key] = value);
    event.to_string()
}

fn post(running: &Running, body: &str, wanted: u16) -> Result<()> {
    let (status, answer) = running.post("/v1/events", body)?;
    ensure!(status == wanted, "{status} {answer}");
    Ok(())
}

/// History of the person, before anything is live.
fn load(folder: &Path, footfall: &Footfall) -> Result<()> {
    let line = |id: &str, second: u32| {
        event(id, "page_view", json!({ "timestamp": format!("2026-01-01T10:00:{second:02}Z") }))
    };
    let lines = [line("l1", 1), line("l2", 2)];
    let file = folder.join("history.jsonl");
    std::fs::write(&file, lines.map(|line| format!("{line}\n")).concat())?;
    let map = repository().join("config/maps/footfall.toml");
    footfall.run_well(&["load", &file.to_string_lossy(), "--map", &map.to_string_lossy()])?;
    Ok(())
}

/// A session that closes, a late event, one that is sent again, and what is refused.
fn visit(running: &Running) -> Result<()> {
    post(running, &event("p1", "view_item", json!({})), 202)?;
    post(running, &event("p1", "view_item", json!({})), 202)?;
    post(running, &event("p2", "page_view", json!({ "properties": { "v": PERSON } })), 202)?;
    let hour_ago = running.sql("SELECT CAST(now() - INTERVAL '1 hour' AS VARCHAR)")?;
    post(running, &event("p3", "click", json!({ "timestamp": hour_ago[0][0] })), 202)?;
    for refused in [
        format!(r#"{{"event_id":"r1","site":"shop","visitor_id":"{PERSON}"}}"#),
        format!(r#"{{"visitor_id":"{PERSON}", oops"#),
        format!(r#"{{"event_id":"r2","visitor_id":"\u007e{}"}}"#, &PERSON[1..]),
    ] {
        running.post("/v1/events", refused)?;
    }
    Ok(())
}

fn of_person(running: &Running, table: &str) -> Result<i64> {
    running.number(&format!("SELECT count(*) FROM {table} WHERE visitor_id = '{PERSON}'"))
}

fn wait_for_visit(running: &Running, totals: &Value) -> Result<()> {
    let total = |name: &str| totals[name].as_i64().with_context(|| format!("no total of {name}"));
    let (events, sessions) = (total("events")?, total("sessions")?);
    wait_until("everybody's rows", PATIENCE, || {
        let others = |table: &str| {
            let is_other = format!("visitor_id IS DISTINCT FROM '{PERSON}'");
            running.number(&format!("SELECT count(*) FROM {table} WHERE {is_other}"))
        };
        Ok(others("events")? >= events && others("sessions")? >= sessions)
    })?;
    wait_until("the person's rows", PATIENCE, || {
        // Loaded, live and late.
        Ok(of_person(running, "sessions")? == 3 && running.number(WAITING)? == 0)
    })?;
    wait_until("what was refused", PATIENCE, || {
        Ok(running.number("SELECT count(*) FROM rejected")? >= 3)
    })
}

/// Files below a folder that hold the id as it is, or in Parquet's columns.
fn places_of(folder: &Path) -> Result<Vec<String>> {
    let mut places = Vec::new();
    search(folder, &mut places)?;
    let decoded = python_text(SEARCH_PARQUET, &[&folder.to_string_lossy(), PERSON])?;
    places.extend(decoded.lines().map(str::to_owned));
    Ok(places)
}

fn search(folder: &Path, places: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            search(&path, places)?;
        } else if path.is_file()
            && std::fs::read(&path)?.windows(PERSON.len()).any(|at| at == PERSON.as_bytes())
        {
            places.push(path.display().to_string());
        }
    }
    Ok(())
}

/// Everybody else's tables are what they would be, and the receipts still add up.
fn check_others(folder: &Path, footfall: &Footfall, watermarks: &[String]) -> Result<()> {
    oracle_of_all(&footfall.lake(), &rules_with_gap(folder, GAP_S)?, watermarks)?;
    let said = footfall.run_well(&["verify"])?;
    ensure!(!said.contains("left out"), "{said}");
    ensure!(said.contains("of 1 erased visitors"), "{said}");
    Ok(())
}

#[test]
fn a_visitor_is_erased_and_everybody_else_stays() -> Result<()> {
    let folder = TempDir::new()?;
    let (footfall, data) = (erasing(folder.path()), folder.path().join("data"));
    load(folder.path(), &footfall)?;
    let running = footfall.start("up")?;
    let more = ["--sessions", "200", "--rate", "300", "--seed", "21", "--late", "0.02"];
    let posting = Posting::start(folder.path(), running.ingest(), &more)?;
    visit(&running)?;
    wait_for_visit(&running, &posting.finish()?)?;
    let places = places_of(&data)?;
    ensure!(places.len() > 5, "the id should stand in many places: {places:?}");
    let of_log = data.join("log").display().to_string();
    ensure!(places.iter().any(|place| place.starts_with(&of_log)), "not in the log: {places:?}");
    let rejected = running.number("SELECT count(*) FROM rejected")?;
    // An open session, and events that are held.
    post(&running, &event("p4", "view_item", json!({})), 202)?;
    wait_until("a row of the open session", PATIENCE, || Ok(of_person(&running, "events")? == 6))?;
    post(&running, &event("p5", "click", json!({})), 202)?;

    let who = ["erase", "--visitor", PERSON, "--server", running.pipeline()];
    let proof = footfall.run_well(&[&who[..], &["--site", "shop"]].concat())?;
    ensure!(!proof.contains(PERSON), "{proof}");
    let file = folder.path().join("proof.json");
    std::fs::write(&file, &proof)?;
    let proof: Value = serde_json::from_str(&proof)?;
    let rows = |table: &str| proof["tables"][table]["rows"].as_u64();
    ensure!(rows("events") == Some(7) && rows("sessions") >= Some(3), "{proof}");
    ensure!(rows("rejected") == Some(3) && proof["log_records"].as_u64() > Some(7), "{proof}");

    for table in OF_VISITORS {
        ensure!(of_person(&running, table)? == 0, "{table}");
    }
    ensure!(running.number("SELECT count(*) FROM rejected")? == rejected, "rejected rows went");
    ensure!(places_of(&data)?.is_empty(), "{:?}", places_of(&data)?);
    let file = file.to_string_lossy();
    let check = [&who[..], &["--check", &file]].concat();
    ensure!(footfall.run_well(&check)?.trim() == "absent");
    let another = ["erase", "--visitor", "other", "--check", &file];
    ensure!(footfall.run(&another)?.status.code() == Some(1), "another visitor's proof");

    let watermarks = watermarks(&running)?;
    running.stop()?;
    check_others(folder.path(), &footfall, &watermarks)?;
    let id = proof["id"].as_str().unwrap_or_default();
    let closed = ["erase", "--visitor", PERSON, "--check", id, "--server", "http://127.0.0.1:1"];
    ensure!(footfall.run_well(&closed)?.trim() == "absent");
    comes_back(&footfall, id)
}

/// Who comes by the same id later is a stranger.
fn comes_back(footfall: &Footfall, id: &str) -> Result<()> {
    let running = footfall.start("up")?;
    post(&running, &event("p6", "page_view", json!({})), 202)?;
    wait_until("a stranger's row", PATIENCE, || Ok(of_person(&running, "events")? == 1))?;
    let check = ["erase", "--visitor", PERSON, "--check", id, "--server", running.pipeline()];
    ensure!(footfall.run_well(&check)?.trim() == "absent");
    running.stop()
}

#[test]
fn an_erasure_that_is_killed_goes_on() -> Result<()> {
    let folder = TempDir::new()?;
    let (footfall, data) = (erasing(folder.path()), folder.path().join("data"));
    load(folder.path(), &footfall)?;
    let mut running = footfall.start("up")?;
    let more = ["--sessions", "100", "--rate", "300", "--seed", "22", "--late", "0.02"];
    let posting = Posting::start(folder.path(), running.ingest(), &more)?;
    visit(&running)?;
    wait_for_visit(&running, &posting.finish()?)?;
    post(&running, &event("p4", "view_item", json!({})), 202)?;
    let pipeline = running.pipeline().to_owned();
    let ask = ["erase", "--visitor", PERSON, "--site", "shop", "--no-wait", "--server", &pipeline];
    let id = footfall.run_well(&ask)?.trim().to_owned();
    let request = data.join(format!("lake/_footfall/erasures/waiting/{id}.json"));
    let mut pauses = Pauses::new(0x9e37_79b9_7f4a_7c15);
    for step in STEPS {
        wait_until(step, PATIENCE, || {
            // It may be further than that, and done.
            Ok(std::fs::read_to_string(&request).map_or(true, |text| text.contains(step)))
        })?;
        pauses.sleep(1, 300);
        running.kill()?;
        running = footfall.start("up")?;
    }
    wait_until("erased", PATIENCE, || {
        Ok(running.metric(running.pipeline(), "footfall_pipeline_erasures_waiting")? == 0.0
            && data.join(format!("lake/_footfall/erasures/done/{id}.json")).is_file())
    })?;
    ensure!(places_of(&data)?.is_empty(), "{:?}", places_of(&data)?);
    let check = ["erase", "--visitor", PERSON, "--check", &id, "--server", running.pipeline()];
    ensure!(footfall.run_well(&check)?.trim() == "absent");
    let watermarks = watermarks(&running)?;
    running.stop()?;
    check_others(folder.path(), &footfall, &watermarks)
}

/// Kafka changes no record: the lake is rid of the visitor, and the proof and its check tell of the log.
#[test]
fn on_kafka_the_lake_is_erased_and_the_log_is_left_to_retention() -> Result<()> {
    let folder = TempDir::new()?;
    let kafka = Kafka::start(1)?;
    let footfall = erasing(folder.path()).set(&format!("log.brokers={}", kafka.brokers));
    let ingest = footfall.start("ingest")?;
    let pipelines = [footfall.start("pipeline")?, footfall.start("pipeline")?];
    let query = footfall.start("query")?;
    let (status, answer) = ingest.post("/v1/events", event("p1", "page_view", json!({})))?;
    ensure!(status == 202, "{status} {answer}");
    wait_until("the person's row", PATIENCE, || Ok(of_person(&query, "events")? == 1))?;
    // Whichever of the two owns partition 0 carries it out.
    let asked = pipelines[1].pipeline();
    let erase = ["erase", "--visitor", PERSON, "--site", "shop", "--server", asked];
    let proof: Value = serde_json::from_str(&footfall.run_well(&erase)?)?;
    ensure!(proof["is_log_left_to_retention"] == true && proof["log_records"].is_null(), "{proof}");
    ensure!(of_person(&query, "events")? == 0, "the row is there");
    let lake = footfall.lake();
    ensure!(places_of(&lake)?.is_empty(), "{:?}", places_of(&lake)?);
    let id = proof["id"].as_str().unwrap_or_default();
    let check = footfall.run(&["erase", "--visitor", PERSON, "--check", id, "--server", asked])?;
    let said = String::from_utf8_lossy(&check.stderr);
    ensure!(check.status.code() == Some(1) && said.contains("absent from the lake"), "{said}");
    for part in pipelines.into_iter().chain([ingest, query]) {
        part.stop()?;
    }
    Ok(())
}
