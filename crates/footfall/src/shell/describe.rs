//! `\d` and `\df`: a listing of tables and functions as text.

use std::fmt::Write;

use anyhow::Context;
use serde_json::Value;

/// All tables and views with what they are, or the columns of one.
///
/// # Errors
/// When there is none of that name.
pub fn describe(listing: &Value, name: Option<&str>) -> anyhow::Result<String> {
    let tables = entries(&listing["tables"]);
    let Some(name) = name else {
        return Ok(lines(
            tables
                .iter()
                .map(|table| [text(table, "name"), text(table, "kind"), text(table, "comment")]),
        ));
    };
    let table = tables.iter().find(|table| text(table, "name") == name);
    let table = table.with_context(|| format!("there is no table `{name}`; \\d lists them"))?;
    let columns = entries(&table["columns"]);
    let columns =
        columns.iter().map(|it| [text(it, "name"), text(it, "type"), text(it, "comment")]);
    Ok(format!("{name}: {}\n{}", text(table, "comment"), lines(columns)))
}

/// Footfall's own functions.
pub fn functions(listing: &Value) -> String {
    let functions = entries(&listing["functions"]);
    lines(functions.iter().map(|it| [text(it, "call"), "", text(it, "comment")]))
}

fn entries(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn lines<'a>(rows: impl Iterator<Item = [&'a str; 3]> + Clone) -> String {
    let width = |column: usize| rows.clone().map(|row| row[column].chars().count()).max();
    let (first, second) = (width(0).unwrap_or_default(), width(1).unwrap_or_default());
    let mut text = String::new();
    for [name, kind, comment] in rows {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "  {name:first$}  {kind:second$}  {comment}");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_and_columns_stand_in_line() {
        let listing = json!({"tables": [
            {"name": "events", "kind": "table", "comment": "all", "columns": [
                {"name": "site", "type": "text", "comment": "whose"},
                {"name": "x", "type": "bigint", "comment": null},
            ]},
            {"name": "points", "kind": "view", "comment": "where", "columns": []},
        ]});
        assert_eq!(
            describe(&listing, None).unwrap(),
            "  events  table  all\n  points  view   where\n"
        );
        assert_eq!(
            describe(&listing, Some("events")).unwrap(),
            "events: all\n  site  text    whose\n  x     bigint  \n"
        );
        let error = describe(&listing, Some("event")).unwrap_err().to_string();
        assert!(error.contains("there is no table `event`"), "{error}");
    }
}
