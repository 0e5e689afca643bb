//! The command line: exit codes, and mistakes that are all told before anything starts.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use footfall_tests::{Footfall, binary};
use tempfile::TempDir;

#[test]
fn a_bad_configuration_tells_all_its_mistakes_and_starts_nothing() -> Result<()> {
    let folder = TempDir::new()?;
    let config = folder.path().join("footfall.toml");
    std::fs::write(&config, "[ingest]\nlissten = \"x\"\n[[need]]\nname = \"n\"\nwithn = \"3s\"\n")?;
    let data = folder.path().join("data");
    let output = Footfall::at(&data).run(&["up", "--config", &config.to_string_lossy()])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2), "{}", output.status);
    for told in ["footfall.toml:2", "`listen`", "footfall.toml:5", "`within`"] {
        ensure!(said.contains(told), "it does not tell {told}: {said}");
    }
    ensure!(!data.exists(), "something was started");
    Ok(())
}

#[test]
fn a_bad_map_tells_all_its_mistakes_and_loads_nothing() -> Result<()> {
    let folder = TempDir::new()?;
    let (map, file) = (folder.path().join("map.toml"), folder.path().join("rows.csv"));
    std::fs::write(&file, "a,b\n1,2\n")?;
    std::fs::write(&map, "[columns]\nevent_nam = \"a\"\nvisitorid = \"b\"\n")?;
    let footfall = Footfall::at(&folder.path().join("data"));
    let output =
        footfall.run(&["load", &file.to_string_lossy(), "--map", &map.to_string_lossy()])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2), "{}", output.status);
    ensure!(!said.contains("footfall: "), "each mistake names its own place: {said}");
    for told in ["map.toml:2", "`event_name`", "map.toml:3", "`visitor_id`"] {
        ensure!(said.contains(told), "it does not tell {told}: {said}");
    }
    Ok(())
}

#[test]
fn a_lake_keeps_the_settings_it_was_made_with() -> Result<()> {
    let folder = TempDir::new()?;
    Footfall::at(folder.path()).start("up")?.stop()?;
    let other = Footfall::at(folder.path()).set("rules.session_gap=10s");
    let output = other.run(&[
        "up",
        "--ingest-listen",
        "127.0.0.1:0",
        "--query-listen",
        "127.0.0.1:0",
        "--postgres-listen",
        "127.0.0.1:0",
        "--pipeline-listen",
        "127.0.0.1:0",
    ])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && said.contains("session_gap"), "{said}");
    Ok(())
}

/// What no machine could do is told apart from what failed, and before anything is made.
#[test]
fn a_wrong_call_is_told_by_its_exit_code_and_starts_nothing() -> Result<()> {
    let folder = TempDir::new()?;
    let data = folder.path().join("data");
    let footfall = Footfall::at(&data);
    let cases: [(&[&str], &str); 8] = [
        (&["ingest"], "give --brokers HOST:PORT"),
        (&["pipeline"], "give --brokers HOST:PORT"),
        (&["up", "--brokers", "127.0.0.1:1"], "`footfall ingest`"),
        (&["up", "--ingest-listen", "0.0.0.0:0"], "`ingest.listen` is `\"0.0.0.0:0\"`"),
        (&["config", "check", "--ingest-listen", "192.0.2.1:80"], "must be on the loopback"),
        (&["sample", "--rate", "0"], "`rate`"),
        (&["sample", "--sessions", "many"], "--sessions"),
        (&["upp"], "upp"),
    ];
    for (arguments, told) in cases {
        let output = footfall.run(arguments)?;
        let said = said(&output);
        ensure!(output.status.code() == Some(2), "{arguments:?}: {} {said}", output.status);
        ensure!(said.contains(told), "{arguments:?} does not tell {told}: {said}");
    }
    ensure!(!data.exists(), "something was made");
    let failed = footfall.run(&["sql", "SELECT 1"])?;
    ensure!(failed.status.code() == Some(1), "there is no lake: {}", said(&failed));
    Ok(())
}

#[test]
fn help_tells_the_exit_codes_of_every_command() -> Result<()> {
    let folder = TempDir::new()?;
    let footfall = Footfall::at(folder.path());
    for command in [
        "", "up", "ingest", "pipeline", "query", "sql", "status", "tail", "rejected", "sample",
        "load", "verify",
    ] {
        let arguments: Vec<&str> =
            [command, "--help"].into_iter().filter(|a| !a.is_empty()).collect();
        let help = footfall.run_well(&arguments)?;
        ensure!(help.contains("Exit codes: 0"), "{command}: {help}");
    }
    Ok(())
}

/// The program need not lie on the PATH: what is printed to be tried next runs as it is.
#[test]
fn what_is_to_be_tried_next_runs() -> Result<()> {
    let folder = TempDir::new()?;
    let mut command = Command::new(binary());
    command.args(["up", "--data-dir", &folder.path().to_string_lossy()]);
    for part in ["ingest", "query", "pipeline"] {
        command.args([format!("--{part}-listen"), "127.0.0.1:0".to_owned()]);
    }
    let mut up = command.stdout(Stdio::piped()).spawn()?;
    let mut told = String::new();
    let mut out = BufReader::new(up.stdout.take().context("no standard output")?);
    while !told.contains("SELECT") && out.read_line(&mut told)? > 0 {}
    let next = told.lines().find(|line| line.contains(" sample ")).unwrap_or_default();
    let sample = format!("{next} --sessions 2 --rate 1000").replace("--sessions 100", "");
    let output = Command::new("sh").args(["-c", &sample]).output();
    up.kill()?;
    up.wait()?;
    let output = output?;
    ensure!(told.contains("rows appear some 16 s after"), "{told}");
    ensure!(output.status.success(), "{sample}: {}", said(&output));
    Ok(())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
