//! User agents that others have collected: what is told of browsers is right, crawlers are flagged, people are not.
//! The figures of docs/enrichment.md are printed here.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::io::{Read, Write};
use std::path::PathBuf;

use flate2::read::GzDecoder;
use footfall_enrich::Agents;
use serde_json::Value;

/// A list as text; `None` where there are none, which is said.
fn list(name: &str) -> Option<String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("../../../shared/suites").join(name);
    let Ok(file) = std::fs::File::open(&path) else {
        // The test runner keeps what is printed by its macros to itself.
        let _ = writeln!(std::io::stderr(), "{name} was NOT looked at: there is no {path:?}");
        return None;
    };
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).unwrap();
    Some(text)
}

fn told(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// uap-core's cases: user agents, and their families.
fn cases(name: &str) -> Option<Vec<(String, String)>> {
    let text = list(name)?;
    let value = |line: &str, key: &str| -> Option<String> {
        let raw = line.trim_start_matches([' ', '-']).strip_prefix(key)?.trim();
        Some(match raw.as_bytes().first() {
            Some(b'\'') => raw[1..raw.len() - 1].replace("''", "'"),
            Some(b'"') => serde_json::from_str(raw).unwrap_or_else(|_| raw.to_owned()),
            _ => raw.to_owned(),
        })
    };
    let (mut cases, mut user_agent) = (Vec::new(), None);
    for line in text.lines() {
        if let Some(found) = value(line, "user_agent_string:") {
            user_agent = Some(found);
        } else if let Some(family) = value(line, "family:")
            && let Some(user_agent) = user_agent.take()
        {
            cases.push((user_agent, family));
        }
    }
    assert!(cases.len() > 100, "{name}: {} cases", cases.len());
    Some(cases)
}

#[test]
fn browsers_and_systems_are_those_of_uap_core() {
    let agents = Agents::new(true, false).unwrap();
    for (name, of_system) in
        [("uap-core/test_ua.yaml.gz", false), ("uap-core/test_os.yaml.gz", true)]
    {
        let Some(cases) = cases(name) else { continue };
        let wrong = cases.iter().filter(|(user_agent, family)| {
            let facts = agents.look_up(user_agent);
            let found = if of_system { &facts.os } else { &facts.browser };
            found.as_deref().unwrap_or("Other") != family
        });
        let wrong: Vec<_> = wrong.collect();
        for (user_agent, family) in &wrong {
            told(format_args!(
                "  {family}: {:?} in {user_agent}",
                agents.look_up(user_agent).browser
            ));
        }
        let (wrong, all) = (wrong.len(), cases.len());
        told(format_args!("{name}: {wrong} of {all} families are told otherwise"));
        assert_eq!(wrong, 0, "{name}: of {all}");
    }
}

#[test]
fn crawlers_are_flagged_and_people_are_not() {
    let agents = Agents::new(true, true).unwrap();
    let is_flagged = |user_agent: &str| agents.look_up(user_agent).bot.is_some();
    if let Some(text) = list("crawler-user-agents.json.gz") {
        let crawlers: Vec<Value> = serde_json::from_str(&text).unwrap();
        let all: Vec<&str> = crawlers
            .iter()
            .flat_map(|crawler| crawler["instances"].as_array().into_iter().flatten())
            .filter_map(Value::as_str)
            .collect();
        let missed = all.iter().filter(|user_agent| !is_flagged(user_agent)).count();
        let all = all.len();
        told(format_args!("crawler-user-agents: {missed} of {all} are not flagged"));
        assert!(missed <= 1, "{missed} of {all}");
    }
    if let Some(cases) = cases("uap-core/test_ua.yaml.gz") {
        // What browsers send begins so, and so does what many machines send, which say where to ask about them, are
        // called so, or are known as what they are.
        let is_machine = |user_agent: &str, family: &str| {
            let small = family.to_lowercase();
            let words = [
                "bot", "crawl", "spider", "slurp", "headless", "phantom", "preview", "fetch",
                "monitor",
            ];
            let known = [
                "Catchpoint",
                "Datanyze",
                "Google-InspectionTool",
                "HTTrack",
                "OpenVAS Scanner",
                "Python-urllib",
                "Ruxit Synthetic",
                "Web-sniffer",
                "ZyBorg",
            ];
            words.iter().any(|word| small.contains(word))
                || known.contains(&family)
                || ["http://", "https://", "@", "Google Web Preview"]
                    .iter()
                    .any(|text| user_agent.contains(text))
        };
        let people: Vec<_> = cases
            .iter()
            .filter(|(user_agent, family)| {
                user_agent.starts_with("Mozilla/") && !is_machine(user_agent, family)
            })
            .collect();
        let flagged: Vec<_> =
            people.iter().filter(|(user_agent, _)| is_flagged(user_agent)).collect();
        told(format_args!("uap-core: {} of {} browsers are flagged", flagged.len(), people.len()));
        for (user_agent, family) in &flagged {
            told(format_args!("  {family}: {:?} in {user_agent}", agents.look_up(user_agent).bot));
        }
        assert!(flagged.is_empty(), "{} of {}", flagged.len(), people.len());
    }
}
