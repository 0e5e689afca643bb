//! The alert rules and the dashboard name metrics that are served: a misspelt one would never fire, and
//! nobody would notice.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use footfall_tests::{Running, repository};
use serde_json::Value;

/// What Prometheus itself says of a target.
const OF_PROMETHEUS: [&str; 1] = ["up"];
/// A counter with labels is served once it counted something, and no other writer wins in a test.
const UNSEEN: [&str; 1] = ["footfall_pipeline_commit_conflicts_total"];

/// Every metric of the alert rules and of the dashboard is among those of a process that has counted
/// everything.
pub fn all_are_served(running: &Running) -> Result<()> {
    let mut served = BTreeSet::new();
    for part in [running.ingest(), running.pipeline(), running.query()] {
        let text = reqwest::blocking::get(format!("{part}/metrics"))?.text()?;
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        served.extend(samples.filter_map(|line| Some(line.split(['{', ' ']).next()?.to_owned())));
    }
    let deploy = repository().join("deploy");
    let rules = std::fs::read_to_string(deploy.join("prometheus/footfall.rules.yml"))?;
    let dashboard = std::fs::read_to_string(deploy.join("grafana/footfall.json"))?;
    let dashboard = dashboard_expressions(&serde_json::from_str(&dashboard)?);
    for (file, expressions) in [("rules", rule_expressions(&rules)), ("dashboard", dashboard)] {
        ensure!(
            expressions.len() > 15,
            "{file}: only {} expressions were found",
            expressions.len()
        );
        let missing = missing(&expressions, &served);
        ensure!(missing.is_empty(), "{file}: not served: {missing:?}");
    }
    Ok(())
}

fn missing(expressions: &[String], served: &BTreeSet<String>) -> Vec<String> {
    let names = expressions.iter().flat_map(|expression| names(expression));
    let is_known = |name: &String| {
        served.contains(name) || OF_PROMETHEUS.contains(&&**name) || UNSEEN.contains(&&**name)
    };
    names.filter(|name| !is_known(name)).collect()
}

/// The values of `expr` in a file of rules: on the key's line, or on the deeper lines below it.
fn rule_expressions(yaml: &str) -> Vec<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut expressions = Vec::new();
    let mut lines = yaml.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(value) = line.trim().strip_prefix("expr:") else { continue };
        let mut expression = value.trim().trim_start_matches(">-").to_owned();
        while let Some(more) = lines.next_if(|more| indent(more) > indent(line)) {
            expression.push(' ');
            expression.push_str(more.trim());
        }
        expressions.push(expression);
    }
    expressions
}

/// The values of all keys `expr`, however deep.
fn dashboard_expressions(json: &Value) -> Vec<String> {
    match json {
        Value::Array(entries) => entries.iter().flat_map(dashboard_expressions).collect(),
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| match value.as_str() {
                Some(expression) if key == "expr" => vec![expression.to_owned()],
                _ => dashboard_expressions(value),
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The metrics that an expression of PromQL names: its words that are no function, no keyword, no label
/// and no duration.
fn names(expression: &str) -> Vec<String> {
    const KEYWORDS: [&str; 7] =
        ["and", "or", "unless", "bool", "offset", "group_left", "group_right"];
    const BEFORE_LABELS: [&str; 4] = ["by", "without", "on", "ignoring"];
    let (mut names, mut rest) = (Vec::new(), expression);
    while let Some(first) = rest.chars().next() {
        let is_word = |letter: char| letter.is_ascii_alphanumeric() || "_:.".contains(letter);
        let word_end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(word_end);
        rest = match first {
            '{' => after(rest, '}'),
            '[' => after(rest, ']'),
            '"' => after(&rest[1..], '"'),
            _ if word.is_empty() => &rest[first.len_utf8()..],
            _ if BEFORE_LABELS.contains(&word) => after(behind, ')'),
            _ => {
                let is_name =
                    !word.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.');
                // The labels of an aggregation may stand before what it is of.
                let next = behind.trim_start();
                let is_function = ["(", "by ", "by(", "without ", "without("]
                    .iter()
                    .any(|sign| next.starts_with(sign));
                if is_name && !is_function && !KEYWORDS.contains(&word) {
                    names.push(word.to_owned());
                }
                behind
            }
        };
    }
    names
}

fn after(text: &str, end: char) -> &str {
    text.find(end).map_or("", |at| &text[at + end.len_utf8()..])
}

#[test]
fn the_names_of_an_expression_are_its_metrics() {
    for (expression, expected) in [
        ("a_total", vec!["a_total"]),
        ("sum by (le, job) (rate(a_bucket{x=\"b_total\"}[5m])) > 1e3", vec!["a_bucket"]),
        ("sum(a) by (b) > 0.05 * c offset 1d", vec!["a", "c"]),
        ("time() - a:b > 6 * 3600 and on (x) deriv(c[15m]) > 0", vec!["a:b", "c"]),
        ("count(up{job=~\"f.*\"} == 0) or vector(0)", vec!["up"]),
        ("rate(a[$__rate_interval])", vec!["a"]),
    ] {
        assert_eq!(names(expression), expected, "{expression}");
    }
}

#[test]
fn a_misspelt_name_is_found_in_rules_and_dashboards() -> Result<()> {
    let served = BTreeSet::from(["right_total".to_owned()]);
    let rules = "
      - alert: A
        expr: rate(right_total[5m]) > 0
        for: 5m
      - alert: B
        expr: >-
          sum(rate(right_total[5m]))
          > sum(rate(wrong_total[5m]))
        labels: {severity: page}
";
    assert_eq!(rule_expressions(rules).len(), 2);
    assert_eq!(missing(&rule_expressions(rules), &served), ["wrong_total"]);
    let dashboard: Value = serde_json::from_str(
        r#"{"panels":[{"targets":[{"expr":"right_total"},{"expr":"wrong_total"}],"title":"expr"}]}"#,
    )
    .context("no JSON")?;
    assert_eq!(missing(&dashboard_expressions(&dashboard), &served), ["wrong_total"]);
    Ok(())
}
