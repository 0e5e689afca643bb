//! The command line: exit codes, and mistakes that are all told before anything starts.

use anyhow::{Result, ensure};
use footfall_tests::Footfall;
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
    ensure!(output.status.code() == Some(1), "{}", output.status);
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
        "--pipeline-listen",
        "127.0.0.1:0",
    ])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && said.contains("session_gap"), "{said}");
    Ok(())
}
