//! The rules of docs/semantics.md, each at its bounds: a log as text goes in, the rows of the fold come
//! out as text. `rules/language.rs` defines the text of logs, `rules/render.rs` that of rows.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod rules {
    mod check;
    mod conditions;
    mod language;
    mod render;
    mod run;

    mod book;
    mod caps;
    mod clocks;
    mod duplicates;
    mod erasure;
    mod gauges;
    mod live;
    mod needs;
    mod order;
    mod outcomes;
    mod page_views;
    mod profile;
    mod random;
    mod reasons;
    mod receipts;
    mod restarts;
    mod rule_changes;
    mod sessions;
    mod signals;
}
