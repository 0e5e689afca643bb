//! The schemas of the live tables: what pipelines hold of sessions that are not over. They lie in no lake.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{Field, Schema, SchemaRef};

use super::{flag, money_sum_type, text, texts, time, whole};

/// Headers of an answer: its partitions, as numbers separated by commas, and how many the log has.
pub const PARTITIONS_HEADER: &str = "footfall-partitions";
pub const PARTITION_COUNT_HEADER: &str = "footfall-partition-count";

/// A table that pipelines answer from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LiveTable {
    Sessions,
    Needs,
}

impl LiveTable {
    pub const ALL: [LiveTable; 2] = [LiveTable::Sessions, LiveTable::Needs];

    pub const fn name(self) -> &'static str {
        match self {
            LiveTable::Sessions => "live_sessions",
            LiveTable::Needs => "live_needs",
        }
    }

    /// Where a pipeline's listener answers it.
    pub const fn path(self) -> &'static str {
        match self {
            LiveTable::Sessions => "/v1/live/sessions",
            LiveTable::Needs => "/v1/live/needs",
        }
    }

    pub fn schema(self) -> SchemaRef {
        SCHEMAS[self as usize].clone()
    }
}

static SCHEMAS: LazyLock<[SchemaRef; 2]> = LazyLock::new(|| {
    LiveTable::ALL.map(|table| {
        Arc::new(Schema::new(match table {
            LiveTable::Sessions => sessions(),
            LiveTable::Needs => needs(),
        }))
    })
});

fn sessions() -> Vec<Field> {
    vec![
        text("session_id"),
        text("site"),
        text("visitor_id"),
        text("user_id"),
        time("started_at"),
        time("last_event_at"),
        whole("event_count"),
        whole("overflow_count"),
        whole("page_view_count"),
        text("landing_path"),
        text("exit_path"),
        text("exit_page_type"),
        text("exit_section"),
        text("furthest_step"),
        whole("furthest_step_index"),
        flag("converted"),
        whole("conversion_count"),
        Field::new("value", money_sum_type(), true),
        text("currency"),
        text("channel"),
        text("utm_source"),
        text("utm_medium"),
        text("utm_campaign"),
        text("utm_term"),
        text("utm_content"),
        text("device_type"),
        text("country"),
        texts("needs_raised"),
        texts("needs_found"),
        texts("needs_open"),
        text("bot"),
        text("config_id"),
        time("as_of"),
    ]
}

fn needs() -> Vec<Field> {
    vec![
        text("session_id"),
        text("site"),
        text("visitor_id"),
        text("need"),
        time("raised_at"),
        text("raised_path"),
        text("raised_page_type"),
        time("found_at"),
        whole("info_ms"),
        whole("click_count"),
        whole("load_ms"),
        text("outcome"),
        time("deadline"),
        flag("converted"),
        flag("signalled"),
        text("config_id"),
        time("as_of"),
    ]
}
