//! Rules that change under a pipeline that is restarted, killed or running: they hold for what follows, and
//! reading the log again gives the same tables.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use footfall_tests::{Footfall, Running, wait_until};
use serde_json::Value;
use tempfile::TempDir;

use crate::repair::WAITING;
use crate::sample::{Posting, free_port, quick, wait_until_folded};

/// Longer than a session gap, lateness, snapshots and repairs together.
const PATIENCE: Duration = Duration::from_secs(90);

/// What the rules change to, one after the other: needs, steps, conditions, caps and the lateness.
pub const SECOND: &str = r#"
[rules]
allowed_lateness = "9s"
events_per_session_max = 5
slow_page = "2s"
[[step]]
name = "looked"
when = "event_name IN ('page_view', 'view_item')"
[[step]]
name = "bought"
when = "event_name = 'purchase'"
[[need]]
name = "delivery"
raised_by = "event_name = 'page_view' AND page_type = 'product'"
found_by = "event_name = 'info_exposed' AND info_key = 'delivery_price'"
within = "1s"
max_clicks = 0
[[need]]
name = "price"
raised_by = "event_name = 'page_view'"
found_by = "event_name = 'info_exposed'"
within = "2s"
max_clicks = 1
"#;
const THIRD: &str = r#"
[rules]
allowed_lateness = "11s"
[rules.condition]
hidden = "event_name = 'scroll'"
page_view = "event_name = 'page_view'"
[[need]]
name = "returns"
raised_by = "page_type IN ('cart', 'checkout', 'product')"
found_by = "info_key = 'returns'"
within = "2s"
max_clicks = 1
"#;

/// All columns of all rows, in an order of their own. What is settled by records comes of the log alone;
/// `receipts` have a range for each commit, so of them the sums count.
const TABLES: [(&str, &str); 7] = [
    ("events", "SELECT * FROM events ORDER BY log_partition, log_offset"),
    ("sessions", "SELECT * FROM sessions ORDER BY session_id, started_at"),
    ("needs", "SELECT * FROM needs ORDER BY session_id, need, raised_at"),
    ("page_views", "SELECT * FROM page_views ORDER BY session_id, index_in_session"),
    ("duplicates", "SELECT * FROM duplicates ORDER BY log_partition, log_offset"),
    ("rejected", "SELECT * FROM rejected ORDER BY log_partition, log_offset"),
    (
        "receipts",
        "SELECT log_partition, site, hour, sum(received), sum(accepted), sum(late), \
         sum(duplicate), sum(rejected) FROM receipts WHERE received > 0 GROUP BY 1, 2, 3 \
         ORDER BY 1, 2, 3",
    ),
];

pub fn rows(footfall: &Footfall, statement: &str) -> Result<Vec<Value>> {
    let answer = footfall.run_well(&["sql", statement, "--format", "json"])?;
    let mut answer: Value = serde_json::from_str(&answer)?;
    Ok(answer["rows"].as_array_mut().map(std::mem::take).unwrap_or_default())
}

fn number(footfall: &Footfall, statement: &str) -> Result<i64> {
    let rows = rows(footfall, statement)?;
    rows.first().and_then(|row| row[0].as_i64()).with_context(|| format!("{statement}: {rows:?}"))
}

/// Tells the first row of each table that differs.
pub fn ensure_equal(one: &Footfall, other: &Footfall, tables: &[(&str, &str)]) -> Result<()> {
    for (table, statement) in tables {
        let (left, right) = (rows(one, statement)?, rows(other, statement)?);
        let differ = left.iter().zip(&right).find(|(left, right)| left != right);
        ensure!(differ.is_none(), "`{table}`: {differ:#?}");
        let (left, right) = (left.len(), right.len());
        ensure!(left == right && left > 0, "`{table}`: {left} and {right} rows");
    }
    Ok(())
}

pub fn verify(footfall: &Footfall) -> Result<()> {
    verify_all_but(footfall, "nothing")
}

/// Verifies a lake of which only what `may_miss` tells of may be left out.
pub fn verify_all_but(footfall: &Footfall, may_miss: &str) -> Result<()> {
    let said = footfall.run_well(&["verify"])?;
    let mut left_out = said.lines().filter(|line| line.starts_with("left out"));
    ensure!(left_out.all(|line| line.ends_with(may_miss)), "{said}");
    Ok(())
}

/// Copies the log of a stopped pipeline into a data directory that has nothing else.
fn with_log_of(footfall: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let status = Command::new("cp").arg("-r").arg(footfall.join("log")).arg(folder).status()?;
    ensure!(status.success(), "cp: {status}");
    Ok(())
}

pub fn file(folder: &Path, name: &str, rules: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    fs::write(&path, rules)?;
    Ok(path)
}

/// Waits until sessions follow `sets` sets of rules, so that each has been in force for a while.
fn wait_for_rules(running: &Running, sets: i64) -> Result<()> {
    wait_until("sessions of the rules in force", PATIENCE, || {
        Ok(running.number("SELECT count(DISTINCT config_id) FROM sessions")? >= sets)
    })
}

/// Waits until every event has its row and no session is open. While a pipeline was away events came late,
/// so how many sessions there are is not known beforehand.
fn wait_until_read(running: &Running, totals: &Value) -> Result<()> {
    let events = totals["events"].as_i64().context("no total of events")?;
    wait_until("all events, and no session open", PATIENCE, || {
        let open = running.metric(running.pipeline(), "footfall_pipeline_open_sessions")?;
        Ok(running.number("SELECT count(*) FROM events")? == events && open == 0.0)
    })?;
    wait_until_all_is_over(running)
}

/// Waits until no run can go on, so that none waits for its repair for longer.
fn wait_until_all_is_over(running: &Running) -> Result<()> {
    let behind = "SELECT count(*) FROM (SELECT max(watermark) AS reached FROM receipts \
                  GROUP BY log_partition) WHERE reached <= \
                  (SELECT max(event_time) FROM events) + INTERVAL '11 seconds'";
    wait_until("watermarks behind all events", PATIENCE, || Ok(running.number(behind)? == 0))
}

#[test]
fn rules_change_over_a_kill_and_a_stop_and_a_replay_gives_the_same() -> Result<()> {
    let folder = TempDir::new()?;
    let listen = format!("127.0.0.1:{}", free_port()?);
    let data = folder.path().join("data");
    // Late events keep their rows until all is read.
    let first = quick(&data).set("pipeline.rewrite_interval=24h");
    let second = first.clone().config(&file(folder.path(), "second.toml", SECOND)?);
    let third = first.clone().config(&file(folder.path(), "third.toml", THIRD)?);
    let running = first.start_on("up", &listen)?;
    let more = ["--sessions", "1200", "--rate", "180", "--seed", "21", "--late", "0.01"];
    let mut posting = Posting::start(folder.path(), running.ingest(), &more)?;
    wait_for_rules(&running, 1)?;
    let (status, answer) = running.post("/v1/events", r#"{"visitor_id":"nameless"}"#)?;
    ensure!(status == 400, "{status} {answer}");
    running.kill()?;
    let running = second.start_on("up", &listen)?;
    wait_for_rules(&running, 2)?;
    running.stop()?;
    let running = third.start_on("up", &listen)?;
    ensure!(posting.is_running()?, "the sample ended before the last change");
    let totals = posting.finish()?;
    wait_until_read(&running, &totals)?;
    wait_for_rules(&running, 3)?;
    running.stop()?;
    let late = number(&third, "SELECT count(*) FROM events WHERE late")?;
    ensure!(late > 0, "no event was late");
    each_session_follows_the_rules_of_its_first_event(&third)?;

    let (again, events) = (folder.path().join("again"), "SELECT count(*) FROM events");
    with_log_of(&data, &again)?;
    let again = quick(&again)
        .set("pipeline.rewrite_interval=24h")
        .config(&folder.path().join("third.toml"));
    let running = again.start("up")?;
    let (events, sessions) =
        (number(&third, events)?, number(&third, "SELECT count(*) FROM sessions")?);
    wait_until("all is read again", PATIENCE, || {
        Ok(running.number("SELECT count(*) FROM events")? >= events
            && running.number("SELECT count(*) FROM sessions")? >= sessions)
    })?;
    wait_until_all_is_over(&running)?;
    running.stop()?;
    ensure_equal(&third, &again, &TABLES)?;
    // What waits for its repair is settled by the rules in force.
    for footfall in [&third, &again] {
        footfall.run_well(&["maintain"])?;
        verify(footfall)?;
    }
    ensure_equal(&third, &again, &TABLES)
}

/// In the order in which the rules were in force, by the sessions that began by them.
fn each_session_follows_the_rules_of_its_first_event(footfall: &Footfall) -> Result<()> {
    let ids = "SELECT config_id FROM sessions GROUP BY 1 ORDER BY min(started_at)";
    let ids = rows(footfall, ids)?;
    ensure!(ids.len() == 3, "{ids:?}");
    let id = |number: usize| ids[number][0].as_str().unwrap_or_default().to_owned();
    for number in 0..3 {
        let kept = footfall.lake().join("_footfall/rules").join(format!("{}.json", id(number)));
        ensure!(kept.is_file(), "{} is missing", kept.display());
    }
    let of = |table: &str, id: &str, fits: &str| {
        number(
            footfall,
            &format!("SELECT count(*) FROM {table} WHERE config_id = '{id}' AND {fits}"),
        )
    };
    let (first, second, third) = (id(0), id(1), id(2));
    ensure!(of("needs", &first, "need = 'returns'")? > 0, "the first rules had `returns`");
    ensure!(of("needs", &second, "need = 'price'")? > 0, "the second rules have `price`");
    ensure!(of("needs", &second, "need = 'returns'")? == 0, "the second rules had no `returns`");
    ensure!(of("needs", &third, "need <> 'returns'")? == 0, "the third rules have one need");
    ensure!(of("sessions", &second, "overflow_count > 0")? > 0, "the second rules had a cap");
    ensure!(of("sessions", &third, "overflow_count > 0")? == 0, "the third rules have none");
    ensure!(of("sessions", &third, "furthest_step IS NOT NULL")? > 0, "the steps of the defaults");
    ensure!(of("sessions", &second, "furthest_step = 'looked'")? > 0, "the second rules' steps");
    // Those that were open when the rules changed went on by their own.
    for (before, after) in [(&first, &second), (&second, &third)] {
        let open = format!(
            "SELECT count(*) FROM sessions WHERE config_id = '{before}' AND ended_at > \
             (SELECT min(started_at) FROM sessions WHERE config_id = '{after}')"
        );
        ensure!(number(footfall, &open)? > 0, "no session was open when the rules changed");
    }
    Ok(())
}

#[test]
fn late_events_on_both_sides_of_a_change_are_repaired_by_the_rules_in_force() -> Result<()> {
    let folder = TempDir::new()?;
    let listen = format!("127.0.0.1:{}", free_port()?);
    let first = quick(&folder.path().join("data")).set("pipeline.rewrite_interval=1s");
    let second = first.clone().config(&file(folder.path(), "second.toml", SECOND)?);
    let running = first.start_on("up", &listen)?;
    let more = ["--sessions", "900", "--rate", "200", "--seed", "22", "--late", "0.03"];
    let mut posting = Posting::start(folder.path(), running.ingest(), &more)?;
    let repaired = "SELECT count(*) FROM sessions WHERE revision > 0";
    wait_until("a repair", PATIENCE, || Ok(running.number(repaired)? > 0))?;
    running.kill()?;
    let running = second.start_on("up", &listen)?;
    ensure!(posting.is_running()?, "the sample ended before the change");
    let totals = posting.finish()?;
    wait_until_folded(&running, &totals)?;
    wait_until("all repaired", PATIENCE, || Ok(running.number(WAITING)? == 0))?;
    let sets = "SELECT count(DISTINCT config_id) FROM sessions WHERE revision > 0";
    ensure!(running.number(sets)? == 2, "repairs by one set of rules");
    running.stop()?;
    verify(&second)
}

#[test]
fn a_running_pipeline_takes_up_the_rules_at_a_hangup() -> Result<()> {
    let folder = TempDir::new()?;
    let config = file(folder.path(), "rules.toml", "")?;
    let footfall = quick(&folder.path().join("data")).set("log.partitions=2").config(&config);
    let running = footfall.start("up")?;
    let hang_up = || -> Result<()> {
        let process = running.process().to_string();
        let status = Command::new("kill").args(["-HUP", &process]).status()?;
        ensure!(status.success(), "kill: {status}");
        Ok(())
    };
    let more = ["--sessions", "700", "--rate", "200", "--seed", "23", "--late", "0"];
    let mut posting = Posting::start(folder.path(), running.ingest(), &more)?;
    wait_for_rules(&running, 1)?;
    // What cannot be right changes nothing.
    for wrong in ["[rules]\nslow_pag = \"2s\"", "[rules]\nsession_gap = \"20s\""] {
        fs::write(&config, wrong)?;
        hang_up()?;
    }
    fs::write(&config, SECOND)?;
    hang_up()?;
    wait_for_rules(&running, 2)?;
    ensure!(posting.is_running()?, "the sample ended before the change");
    let totals = posting.finish()?;
    wait_until_folded(&running, &totals)?;
    let sets = running.number("SELECT count(DISTINCT config_id) FROM sessions")?;
    ensure!(sets == 2, "{sets} sets of rules were in force");
    let of_price =
        running.number("SELECT count(DISTINCT config_id) FROM needs WHERE need = 'price'")?;
    ensure!(of_price == 1, "{of_price} sets of rules have the need `price`");
    running.stop()?;
    verify(&footfall)
}
