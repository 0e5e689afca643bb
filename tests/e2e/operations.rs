//! What an operator runs against a system: its status while it runs and when it is stopped, the events as
//! they come, and its log lines as JSON.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use footfall_tests::{Running, binary, wait_until};
use serde_json::Value;
use tempfile::TempDir;

use crate::sample::quick;

const PATIENCE: Duration = Duration::from_secs(60);
const GOOD: &str =
    r#"{"event_id":"a","site":"shop","visitor_id":"v","event_name":"click","page_path":"/p"}"#;
const NAMELESS: &str = r#"{"event_id":"b","site":"blog","visitor_id":"v"}"#;

fn wait_for_watermark(running: &Running) -> Result<()> {
    wait_until("a watermark", PATIENCE, || {
        Ok(running.metric(running.pipeline(), "footfall_pipeline_watermark_seconds")? > 1e9)
    })
}

#[test]
fn status_tells_of_a_running_system_and_of_a_stopped_one() -> Result<()> {
    let folder = TempDir::new()?;
    let footfall = quick(folder.path()).set("log.partitions=1");
    let nothing = footfall.run(&["status", "--server", "http://127.0.0.1:1"])?;
    let said = String::from_utf8_lossy(&nothing.stderr).into_owned();
    ensure!(nothing.status.code() == Some(1), "{said}");
    ensure!(said.contains("no server answers at http://127.0.0.1:1"), "{said}");
    let running = footfall.start("up")?;
    wait_for_watermark(&running)?;
    let late = r#"{"event_id":"l","visitor_id":"w","event_name":"click","timestamp":"LATE"}"#;
    let hour_ago = running.sql("SELECT CAST(now() - INTERVAL '1 hour' AS VARCHAR)")?;
    let late = late.replace("LATE", hour_ago[0][0].as_str().unwrap_or_default());
    for event in [GOOD, &late] {
        let (status, answer) = running.post("/v1/events", event)?;
        ensure!(status == 202, "{status} {answer}");
    }
    wait_until("both rows", PATIENCE, || Ok(running.number("SELECT count(*) FROM events")? == 2))?;
    let servers =
        ["--server", running.pipeline(), "--server", running.query(), "--server", running.ingest()];
    let json = footfall.run_well(&[&["status", "--format", "json"], &servers[..]].concat())?;
    let status: Value = serde_json::from_str(&json)?;
    let pipeline = &status["pipelines"][0];
    let partition = &pipeline["partitions"][0];
    ensure!(pipeline["topic"] == "footfall.events" && pipeline["partition_count"] == 1, "{json}");
    ensure!(partition["end_offset"].as_i64() > Some(2), "{json}");
    ensure!(partition["watermark"].as_str().is_some_and(|time| time.starts_with("20")), "{json}");
    ensure!(pipeline["freshness_seconds"].as_f64().is_some_and(|age| age < 60.0), "{json}");
    rows_and_repairs(&status)?;
    let states: Vec<_> = status["parts"].as_array().into_iter().flatten().collect();
    ensure!(states.len() == 3 && states.iter().all(|part| part["state"] == "ready"), "{json}");
    let csv = footfall.run_well(&[&["status", "--format", "csv"], &servers[..]].concat())?;
    ensure!(csv.contains("\ntable,events,rows,2\n"), "{csv}");
    let table = footfall.run_well(&[&["status"], &servers[..]].concat())?;
    ensure!(table.contains("pending repairs: 1 late events in no session"), "{table}");
    running.stop()?;
    stopped(&footfall)
}

fn rows_and_repairs(status: &Value) -> Result<()> {
    let tables = status["tables"].as_array().context("no tables")?;
    let events = tables.iter().find(|table| table["name"] == "events").context("no events")?;
    ensure!(tables.len() == 7 && events["rows"] == 2, "{tables:?}");
    let above_0 = |key: &str| events[key].as_i64() > Some(0);
    ensure!(above_0("files") && above_0("bytes") && above_0("version"), "{events}");
    let pending = &status["pending_repairs"];
    ensure!(pending["events"] == 1 && !pending["earliest"].is_null(), "{pending}");
    Ok(())
}

/// The lake alone says how far it speaks.
fn stopped(footfall: &footfall_tests::Footfall) -> Result<()> {
    // Ports at which nothing listens; those of the default may be somebody's.
    let closed = [("ingest", 1), ("pipeline", 2), ("query", 3)]
        .map(|(part, port)| format!("--{part}-listen=127.0.0.1:{port}"));
    let mut arguments = vec!["status", "--format", "json"];
    arguments.extend(closed.iter().map(String::as_str));
    let json = footfall.run_well(&arguments)?;
    let status: Value = serde_json::from_str(&json)?;
    ensure!(status["pipelines"].as_array().is_some_and(Vec::is_empty), "{json}");
    rows_and_repairs(&status)?;
    ensure!(status["settled"][0]["offset"].as_i64() > Some(2), "{json}");
    for part in status["parts"].as_array().into_iter().flatten() {
        let state = part["state"].as_str().unwrap_or_default();
        ensure!(state.starts_with("no server answers"), "{part}");
    }
    Ok(())
}

/// The lines that a command prints while it runs. It is killed when it is dropped.
struct Following {
    child: std::process::Child,
    lines: Receiver<String>,
}

impl Following {
    fn start(arguments: &[&str]) -> Result<Following> {
        let mut child = Command::new(binary()).args(arguments).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().context("no standard output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let read = BufReader::new(out).lines().map_while(Result::ok);
            read.for_each(|line| drop(sender.send(line)));
        });
        Ok(Following { child, lines })
    }

    fn next(&self) -> Result<String> {
        self.lines.recv_timeout(PATIENCE).context("no line came")
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn tail_shows_what_becomes_of_events_as_they_come() -> Result<()> {
    let folder = TempDir::new()?;
    let running = quick(folder.path()).start("up")?;
    wait_for_watermark(&running)?;
    let server = ["tail", "--server", running.pipeline()];
    let all = Following::start(&server)?;
    let json = ["--format", "json", "--status", "rejected", "--site", "blog"];
    let rejected = Following::start(&[&server[..], &json].concat())?;
    // Nothing tells from outside that they watch, but a record that both show.
    let mut tried = 0;
    let seen = wait_until("both watch", PATIENCE, || {
        tried += 1;
        let event = format!(r#"{{"event_id":"try-{tried}","site":"blog","visitor_id":"v"}}"#);
        running.post("/v1/events", event)?;
        std::thread::sleep(Duration::from_millis(500));
        Ok(all.lines.try_recv().is_ok() && rejected.lines.try_recv().is_ok())
    });
    seen?;
    for event in [GOOD, GOOD, NAMELESS] {
        running.post("/v1/events", event)?;
    }
    let line = |wanted: &str| -> Result<String> {
        loop {
            let line = all.next()?;
            if line.contains(wanted) {
                return Ok(line);
            }
        }
    };
    let accepted = line("[a]")?;
    ensure!(accepted.ends_with(" accepted  shop v click /p [a]"), "{accepted}");
    let duplicate = line("[a]")?;
    ensure!(duplicate.contains(" duplicate shop v click /p [a]"), "{duplicate}");
    let refused = line("[b]")?;
    ensure!(refused.contains(" rejected  blog v missing: event_name: is required"), "{refused}");
    loop {
        let line: Value = serde_json::from_str(&rejected.next()?)?;
        ensure!(line["status"] == "rejected" && line["site"] == "blog", "{line}");
        if line["event_id"] == "b" {
            ensure!(line["reason"] == "missing" && line["field"].is_string(), "{line}");
            break;
        }
    }
    let bad = reqwest::blocking::get(format!("{}/v1/tail?status=x", running.pipeline()))?;
    ensure!(bad.status() == 400, "{}", bad.status());
    running.stop()
}

/// A log collector reads every line of a run, from the first to the last.
#[test]
fn every_log_line_is_json_where_it_is_wanted() -> Result<()> {
    let folder = TempDir::new()?;
    let mut command = Command::new(binary());
    command.args(["up", "--data-dir", &folder.path().to_string_lossy()]);
    command.args(["--set", "telemetry.format=json"]);
    // The Delta library's debug lines exceed the 4 KiB that a pipe of two processes takes in one piece.
    command.args(["--set", "telemetry.filter=debug,buoyant_kernel=info"]);
    command.args(["--set", "pipeline.commit_interval=500ms"]);
    for part in ["ingest", "query", "pipeline"] {
        command.args([format!("--{part}-listen"), "127.0.0.1:0".to_owned()]);
    }
    let mut up = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let said = up.stderr.take().context("no standard error")?;
    let reading =
        std::thread::spawn(move || -> Result<String> { Ok(std::io::read_to_string(said)?) });
    let mut told = String::new();
    let mut out = BufReader::new(up.stdout.take().context("no standard output")?);
    while !told.contains("SELECT") && out.read_line(&mut told)? > 0 {}
    let address = told.split("http://").nth(1).and_then(|rest| rest.split('/').next());
    let address = address.context("no address")?;
    for body in [GOOD, NAMELESS, "nonsense\x1b[2J\n\"quoted\""] {
        let url = format!("http://{address}/v1/events");
        reqwest::blocking::Client::new().post(url).body(body).send()?;
    }
    std::thread::sleep(Duration::from_secs(2));
    Command::new("kill").arg(up.id().to_string()).status()?;
    let status = up.wait()?;
    ensure!(status.success(), "{status}");
    let said = reading.join().map_err(|_| anyhow::anyhow!("the reader broke off"))??;
    ensure!(said.lines().count() > 10, "hardly a line: {said}");
    ensure!(said.contains("pipeline stopped"), "the run's end is missing: {said}");
    for line in said.lines() {
        let json: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        for key in ["timestamp", "level", "target", "fields"] {
            ensure!(!json[key].is_null(), "no {key} in {line}");
        }
    }
    Ok(())
}
