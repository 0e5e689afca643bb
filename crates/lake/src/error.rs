//! What can go wrong with a lake.

use footfall_event::schema::Table;

/// An error of the lake. Losing a race is none: see [`Outcome`](crate::Outcome).
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    #[error(
        "`{location}` is not a lake's location: {reason}; use a path or a URL such as s3://bucket/lake"
    )]
    Location { location: String, reason: String },
    #[error(
        "this lake was made with `{setting}` = {made_with}, not {wanted}; it is fixed when a lake is made: set it back, or make another lake"
    )]
    Fixed { setting: &'static str, made_with: String, wanted: String },
    #[error("table `{}`: {source}", .table.name())]
    Delta { table: Table, source: deltalake_core::DeltaTableError },
    #[error("table `{}`: cannot read or write a Parquet file: {source}", .table.name())]
    Parquet { table: Table, source: parquet::errors::ParquetError },
    #[error("table `{}`: cannot form rows: {source}", .table.name())]
    Rows { table: Table, source: arrow::error::ArrowError },
    #[error("the lake's store: {0}")]
    Store(#[from] object_store::Error),
    #[error("`{path}` in the lake is not readable: {reason}")]
    Unreadable { path: String, reason: String },
    #[error(
        "table `{}` has `{feature}`, which is not read here: rewrite it without, in the program that wrote it so",
        .table.name()
    )]
    Unfit { table: Table, feature: String },
    #[error("a file of table `{}` was finished {minutes} minutes ago and is not committed any more", .table.name())]
    Stale { table: Table, minutes: u64 },
}
