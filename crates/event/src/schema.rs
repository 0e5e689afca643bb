//! The Arrow schemas of all tables, in one place. Times are microseconds UTC, durations whole
//! milliseconds, ids text, and the last column is the UTC day that partitions the table.

mod live;

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use crate::Money;

pub use live::{LiveTable, PARTITION_COUNT_HEADER, PARTITIONS_HEADER};

/// A table of the lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    Events,
    Sessions,
    Needs,
    PageViews,
    Rejected,
    Duplicates,
    Receipts,
}

impl Table {
    /// All tables, in the order in which a commit of several goes through them.
    pub const ALL: [Table; 7] = [
        Table::Events,
        Table::Sessions,
        Table::Needs,
        Table::PageViews,
        Table::Rejected,
        Table::Duplicates,
        Table::Receipts,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Table::Events => "events",
            Table::Sessions => "sessions",
            Table::Needs => "needs",
            Table::PageViews => "page_views",
            Table::Rejected => "rejected",
            Table::Duplicates => "duplicates",
            Table::Receipts => "receipts",
        }
    }

    /// The column that holds the UTC day.
    pub const fn partition_column(self) -> &'static str {
        match self {
            Table::Events => "event_date",
            Table::Sessions | Table::Needs | Table::PageViews => "session_date",
            Table::Rejected | Table::Duplicates => "received_date",
            Table::Receipts => "receipt_date",
        }
    }

    pub fn schema(self) -> SchemaRef {
        SCHEMAS[self as usize].clone()
    }
}

static SCHEMAS: LazyLock<[SchemaRef; 7]> = LazyLock::new(|| {
    Table::ALL.map(|table| {
        let mut columns = match table {
            Table::Events => events(),
            Table::Sessions => sessions(),
            Table::Needs => needs(),
            Table::PageViews => page_views(),
            Table::Rejected => rejected(),
            Table::Duplicates => duplicates(),
            Table::Receipts => receipts(),
        };
        columns.push(Field::new(table.partition_column(), DataType::Date32, true));
        Arc::new(Schema::new(columns))
    })
});

/// Microseconds UTC.
pub fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// An event's or an item's amount of money.
pub const fn money_type() -> DataType {
    DataType::Decimal128(Money::PRECISION, Money::SCALE)
}

/// A sum of amounts.
pub const fn money_sum_type() -> DataType {
    DataType::Decimal128(Money::SUM_PRECISION, Money::SCALE)
}

/// The fields of one entry of `events.items`.
pub fn item_fields() -> Fields {
    Fields::from(vec![
        text("item_id"),
        text("item_name"),
        text("item_brand"),
        text("item_category"),
        text("item_variant"),
        Field::new("price", money_type(), true),
        Field::new("quantity", DataType::Float64, true),
    ])
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn time(name: &str) -> Field {
    Field::new(name, time_type(), true)
}

fn whole(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

fn flag(name: &str) -> Field {
    Field::new(name, DataType::Boolean, true)
}

fn texts(name: &str) -> Field {
    let entry = Arc::new(Field::new("element", DataType::Utf8, true));
    Field::new(name, DataType::List(entry), true)
}

fn partition(name: &str) -> Field {
    Field::new(name, DataType::Int32, true)
}

fn events() -> Vec<Field> {
    let items = Arc::new(Field::new("element", DataType::Struct(item_fields()), true));
    vec![
        text("event_id"),
        text("site"),
        text("visitor_id"),
        text("user_id"),
        text("session_id"),
        text("client_session_id"),
        text("event_name"),
        time("event_time"),
        whole("seq"),
        time("client_time"),
        time("received_time"),
        time("appended_at"),
        text("log"),
        partition("log_partition"),
        whole("log_offset"),
        text("page_view_id"),
        text("page_url"),
        text("page_path"),
        text("page_type"),
        text("page_title"),
        text("referrer"),
        text("section"),
        text("info_key"),
        text("target"),
        whole("x"),
        whole("y"),
        whole("visible_ms"),
        text("search_id"),
        text("search_term"),
        whole("search_results"),
        Field::new("items", DataType::List(items), true),
        text("cart_id"),
        text("order_id"),
        Field::new("value", money_type(), true),
        text("currency"),
        text("coupon"),
        text("utm_source"),
        text("utm_medium"),
        text("utm_campaign"),
        text("utm_term"),
        text("utm_content"),
        text("click_id"),
        text("channel"),
        text("user_agent"),
        text("device_type"),
        text("browser"),
        text("os"),
        text("language"),
        text("country"),
        text("region"),
        text("ip"),
        whole("lcp_ms"),
        whole("inp_ms"),
        Field::new("cls", DataType::Float64, true),
        whole("ttfb_ms"),
        text("error"),
        text("consent"),
        text("bot"),
        flag("late"),
        flag("overflow"),
        text("properties"),
    ]
}

fn sessions() -> Vec<Field> {
    vec![
        text("session_id"),
        text("site"),
        text("visitor_id"),
        text("user_id"),
        time("started_at"),
        time("ended_at"),
        whole("duration_ms"),
        whole("event_count"),
        whole("overflow_count"),
        whole("page_view_count"),
        flag("engaged"),
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
        texts("needs_not_found"),
        text("reason"),
        texts("reasons"),
        whole("progress_to_exit_ms"),
        text("close_cause"),
        text("bot"),
        whole("revision"),
        text("config_id"),
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
        whole("left_after_ms"),
        flag("left_before_deadline"),
        flag("converted"),
        flag("signalled"),
        whole("revision"),
        text("config_id"),
    ]
}

fn page_views() -> Vec<Field> {
    vec![
        text("page_view_id"),
        text("session_id"),
        text("site"),
        text("visitor_id"),
        whole("index_in_session"),
        text("page_path"),
        text("page_type"),
        time("started_at"),
        time("ended_at"),
        whole("visible_ms"),
        whole("click_count"),
        whole("lcp_ms"),
        flag("is_landing"),
        flag("is_exit"),
        whole("revision"),
        text("config_id"),
    ]
}

fn rejected() -> Vec<Field> {
    vec![
        time("received_time"),
        text("site"),
        text("reason"),
        text("field"),
        text("payload"),
        whole("payload_bytes"),
        text("log"),
        partition("log_partition"),
        whole("log_offset"),
    ]
}

fn duplicates() -> Vec<Field> {
    vec![
        text("site"),
        text("event_id"),
        text("log"),
        partition("log_partition"),
        whole("log_offset"),
        time("received_time"),
    ]
}

fn receipts() -> Vec<Field> {
    vec![
        text("log"),
        partition("log_partition"),
        whole("from_offset"),
        whole("to_offset"),
        text("site"),
        time("hour"),
        whole("received"),
        whole("accepted"),
        whole("on_time"),
        whole("late"),
        whole("duplicate"),
        whole("rejected"),
        whole("overflow"),
        whole("pending"),
        time("watermark"),
    ]
}
