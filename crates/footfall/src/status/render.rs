//! How a status is printed: tables for people, or a line for each value.

use std::fmt::Write;

use super::Status;

/// Sections, each a table; what an operator should look at comes last, where the eye ends.
pub fn table(status: &Status) -> String {
    let mut text = String::new();
    let parts = status.parts.iter();
    let parts = parts.map(|part| vec![part.name.clone(), part.server.clone(), part.state.clone()]);
    section(&mut text, "parts", &["part", "address", "state"], parts.collect());
    for pipeline in &status.pipelines {
        let freshness = pipeline
            .freshness_seconds
            .map_or("no commit yet".to_owned(), |age| format!("{age:.1} s"));
        let (topic, count) = (&pipeline.topic, pipeline.partition_count);
        let title = format!("log {topic}, {count} partitions; freshness {freshness}");
        let rows = pipeline.partitions.iter().map(|partition| {
            vec![
                partition.partition.to_string(),
                shown(partition.start_offset),
                shown(partition.end_offset),
                shown(partition.lag_records),
                partition.lag_seconds.map_or("-".to_owned(), |lag| format!("{lag:.1}")),
                partition.watermark.clone().unwrap_or("-".to_owned()),
                partition.open_sessions.to_string(),
                partition.held_events.to_string(),
            ]
        });
        let names = [
            "partition",
            "start",
            "end",
            "lag",
            "lag_s",
            "watermark",
            "open_sessions",
            "held_events",
        ];
        section(&mut text, &title, &names, rows.collect());
    }
    if let Some(lake) = &status.lake {
        let rows = status.tables.iter().map(|table| {
            vec![
                table.name.clone(),
                shown(table.rows),
                table.files.to_string(),
                size(table.bytes),
                shown(table.version),
            ]
        });
        let title = format!("tables at {lake}");
        section(&mut text, &title, &["table", "rows", "files", "size", "version"], rows.collect());
    }
    // Where a pipeline runs it tells more.
    if status.pipelines.is_empty() && !status.settled.is_empty() {
        let rows = status.settled.iter().map(|settled| {
            let watermark = settled.watermark.clone().unwrap_or("-".to_owned());
            vec![
                settled.log.clone(),
                settled.partition.to_string(),
                settled.offset.to_string(),
                watermark,
            ]
        });
        let names = ["log", "partition", "up_to", "watermark"];
        section(&mut text, "the tables speak of", &names, rows.collect());
    }
    if let Some(pending) = &status.pending_repairs {
        let earliest = pending.earliest.as_ref().map(|time| format!(", the earliest of {time}"));
        let (events, earliest) = (pending.events, earliest.unwrap_or_default());
        line(&mut text, &format!("pending repairs: {events} late events in no session{earliest}"));
    }
    for note in &status.notes {
        line(&mut text, &format!("look at this: {note}"));
    }
    text
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

/// Three digits, and the unit that leaves them.
fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    let digits = if unit == 0 || size >= 100.0 { 0 } else { 1 };
    format!("{size:.digits$} {}", units[unit])
}

/// Columns as wide as their widest cell, two spaces apart; numbers to the right.
fn section(text: &mut String, title: &str, names: &[&str], rows: Vec<Vec<String>>) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain([&names]).map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let is_number = |column: usize| {
        rows.iter().all(|row| row[column].starts_with(|c: char| c.is_ascii_digit() || c == '-'))
    };
    line(text, title);
    for row in [&names].into_iter().chain(&rows) {
        let mut shown = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            // Writing to a text cannot fail.
            let _ = match is_number(column) {
                true => write!(shown, "  {cell:>width$}"),
                false => write!(shown, "  {cell:<width$}"),
            };
        }
        line(text, shown.trim_end());
    }
    text.push('\n');
}

/// `section,name,field,value`: a line for each value, so that a script finds one by three words.
///
/// # Errors
/// None that a status can lead to.
pub fn csv(status: &Status) -> anyhow::Result<String> {
    let mut text = String::from("section,name,field,value\n");
    let json = serde_json::to_value(status)?;
    for part in json["parts"].as_array().into_iter().flatten() {
        lines(&mut text, "part", &part["server"], part);
    }
    for pipeline in json["pipelines"].as_array().into_iter().flatten() {
        lines(&mut text, "log", &pipeline["topic"], pipeline);
        for partition in pipeline["partitions"].as_array().into_iter().flatten() {
            lines(&mut text, "partition", &partition["partition"], partition);
        }
    }
    for table in json["tables"].as_array().into_iter().flatten() {
        lines(&mut text, "table", &table["name"], table);
    }
    for settled in json["settled"].as_array().into_iter().flatten() {
        lines(&mut text, "settled", &settled["partition"], settled);
    }
    lines(&mut text, "pending_repairs", &"events".into(), &json["pending_repairs"]);
    for (number, note) in status.notes.iter().enumerate() {
        lines(&mut text, "note", &number.into(), &serde_json::json!({ "text": note }));
    }
    Ok(text)
}

fn lines(text: &mut String, section: &str, name: &serde_json::Value, fields: &serde_json::Value) {
    for (field, value) in fields.as_object().into_iter().flatten() {
        if value.is_array() {
            continue;
        }
        line(text, &format!("{section},{},{field},{}", cell(name), cell(value)));
    }
}

/// Nothing for NULL; in quotes where a comma or a quote is in it.
fn cell(value: &serde_json::Value) -> String {
    let text = match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.contains([',', '"', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}
