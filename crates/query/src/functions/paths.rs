//! `paths(…)`: the most frequent ways from or to an event, and the SQL that they stand for. Each way is
//! found by `paths/way.rs`.

pub(super) mod way;

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::Query;

use super::arguments::{Arguments, EVENTS, Signature};
use super::events;
use super::template::Template;
use crate::QueryError;

pub(super) const PATHS: Signature = Signature {
    name: "paths",
    named: &[&["starting", "ending", "by", "depth", "top", "scope"], EVENTS],
    usage: "paths(starting => event_name = 'view_item', by => page_path, depth => 5, top => 20)",
};

const DEPTH: i64 = 5;
const DEPTH_MAX: i64 = 50;
const TOP: i64 = 20;
const TOP_MAX: i64 = 10_000;

/// A row per way, ranked, and one for all others.
pub(super) fn paths(mut arguments: Arguments<'_>) -> Result<Box<Query>, QueryError> {
    let mut template = Template::default();
    arguments.require_names("`starting => …` or `ending => …`")?;
    let (starting, ending) = (arguments.condition("starting")?, arguments.condition("ending")?);
    let (direction, anchor) = match (starting, ending) {
        (Some(anchor), None) => ("starting", anchor),
        (None, Some(anchor)) => ("ending", anchor),
        _ => return Err(arguments.wrong("it takes `starting` or `ending`, one of the two")),
    };
    let is_start = direction == "starting";
    template.put("anchor", anchor);
    template.put_value("direction", ScalarValue::from(direction))?;
    let by = arguments.value("by")?;
    template.put("by", by.map_or_else(|| events::parse("event_name"), Ok)?);
    let depth = arguments.whole("depth", 1..=DEPTH_MAX)?.unwrap_or(DEPTH);
    let top = arguments.whole("top", 1..=TOP_MAX)?.unwrap_or(TOP);
    let (key, columns) = arguments.choice(
        "scope",
        &[
            ("session", ("session_id", "session_id")),
            ("visitor", ("visitor_id", "site, visitor_id")),
        ],
    )?;
    let mut condition = events::condition(&mut arguments, &mut template)?;
    let (from_us, to_us) = arguments.range_us()?;
    let mut anchor = "$anchor".to_owned();
    events::between(from_us, to_us, &mut anchor, &mut template)?;
    // The range is that of the anchor; what lies behind its end, or before its begin, may be on the way.
    let (from_us, to_us) = if is_start { (from_us, None) } else { (None, to_us) };
    events::between(from_us, to_us, &mut condition, &mut template)?;
    // Of events at one time the anchor comes first on a way from it, and last on a way to it: so all of them
    // are on the way.
    let labelled = "$by IS NOT NULL".to_owned();
    let conditions = if is_start { [anchor, labelled] } else { [labelled, anchor] }.join(", ");
    template.fill(&format!(
        "SELECT CASE WHEN path IS NOT NULL THEN CAST(rank AS BIGINT) END AS rank, path, sum(n) AS count, \
           sum(n) / CAST(max(total) AS DOUBLE) AS share, path IS NULL AS is_other \
         FROM (SELECT CASE WHEN rank <= {top} THEN path END AS path, n, total, \
             least(rank, {top} + 1) AS rank \
           FROM (SELECT path, n, sum(n) OVER () AS total, \
               row_number() OVER (ORDER BY n DESC, array_to_string(path, chr(31))) AS rank \
             FROM (SELECT path, count(*) AS n \
               FROM (SELECT journey_path($direction, {depth}, event_time, seq, CAST($by AS TEXT), \
                   {conditions}) AS path \
                 FROM events WHERE {key} IS NOT NULL{condition} GROUP BY {columns}) AS ways \
               WHERE path IS NOT NULL GROUP BY path) AS counted) AS ranked) AS cut \
         GROUP BY path, rank"
    ))
}
