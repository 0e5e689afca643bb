//! `retention(…)`: who comes back, by the day, week or month of the first visit, and the SQL that it
//! stands for. Each visitor's returns are found by `retention/returns.rs`.

pub(super) mod returns;

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::Query;

use super::arguments::{Arguments, EVENTS, Signature};
use super::template::Template;
use super::{events, funnel};
use crate::QueryError;

pub(super) const RETENTION: Signature = Signature {
    name: "retention",
    named: &[&["started", "returned", "period", "periods"], EVENTS],
    usage: "retention(started => event_name = 'purchase', returned => event_name = 'purchase', \
            period => 'week', periods => 8)",
};

const PERIODS: i64 = 8;
const PERIODS_MAX: i64 = 400;

/// A row per cohort and period.
pub(super) fn retention(mut arguments: Arguments<'_>) -> Result<Box<Query>, QueryError> {
    let mut template = Template::default();
    arguments.require_names("`started => …` and `returned => …`")?;
    for name in ["started", "returned"] {
        // Any event, where nothing is said.
        let condition = arguments.condition(name)?;
        template.put(name, condition.map_or_else(|| events::parse("true"), Ok)?);
    }
    let period =
        arguments.choice("period", &[("day", "day"), ("week", "week"), ("month", "month")])?;
    let periods = arguments.whole("periods", 0..=PERIODS_MAX)?.unwrap_or(PERIODS);
    template.put_value("period", ScalarValue::from(period))?;
    let condition = events::condition(&mut arguments, &mut template)?;
    let (mut began, mut days) = ("$started".to_owned(), String::new());
    let (from_us, to_us) = arguments.range_us()?;
    events::between(from_us, to_us, &mut began, &mut template)?;
    events::between(from_us, None, &mut days, &mut template)?;
    template.fill(&format!(
        "SELECT r['cohort'] AS cohort, r['period'] AS period, count(*) AS visitors, \
           count(*) FILTER (WHERE r['has_returned']) AS returned, \
           count(*) FILTER (WHERE r['has_returned']) / CAST(count(*) AS DOUBLE) AS share, \
           coalesce(r['ends_at'] <= max(horizon), false) AS is_over \
         FROM (SELECT unnest(journey_returns($period, {periods}, event_time, seq, {began}, \
             $returned)) AS r \
           FROM events WHERE visitor_id IS NOT NULL{condition}{days} \
           GROUP BY site, visitor_id) AS returns \
         CROSS JOIN {} AS h \
         GROUP BY r['cohort'], r['period'], r['ends_at']",
        funnel::HORIZON
    ))
}
