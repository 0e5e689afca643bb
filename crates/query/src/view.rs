//! The views that analysts read: `abandonment`. What a session is and why it ended is left to the
//! sessionizer.

use std::sync::Arc;

use datafusion::catalog::{TableProvider, view::ViewTable};
use datafusion::common::Result;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlanBuilder, col};
use footfall_event::schema::Table;

pub(crate) const ABANDONMENT: &str = "abandonment";

/// Columns of `abandonment`: whose session, when and where it ended, how far it had come, and what
/// may have been the reason.
pub(crate) const ABANDONMENT_COLUMNS: [&str; 30] = [
    "session_id",
    "site",
    "visitor_id",
    "user_id",
    "started_at",
    "ended_at",
    "duration_ms",
    "event_count",
    "page_view_count",
    "engaged",
    "landing_path",
    "exit_path",
    "exit_page_type",
    "exit_section",
    "furthest_step",
    "furthest_step_index",
    "needs_raised",
    "needs_found",
    "needs_not_found",
    "progress_to_exit_ms",
    "reason",
    "reasons",
    "channel",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "device_type",
    "country",
    "close_cause",
    "session_date",
];

/// `abandonment`: a session without a conversion per row, bots left out, over `sessions`.
pub(crate) fn abandonment(sessions: Arc<dyn TableProvider>) -> Result<ViewTable> {
    let plan =
        LogicalPlanBuilder::scan(Table::Sessions.name(), provider_as_source(sessions), None)?
            .filter(col("converted").is_false().and(col("bot").is_null()))?
            .project(ABANDONMENT_COLUMNS.map(col))?
            .build()?;
    let definition = format!(
        "CREATE VIEW {ABANDONMENT} AS SELECT {} FROM sessions WHERE NOT converted AND bot IS NULL",
        ABANDONMENT_COLUMNS.join(", ")
    );
    Ok(ViewTable::new(plan, Some(definition)))
}
