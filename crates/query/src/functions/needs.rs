//! `needs(…)`: a need over history, declared or asked for in the call, and the SQL that it stands for.
//! Its episodes are found by `needs/episode.rs`.

pub(super) mod episode;

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::Query;

use super::arguments::{Arguments, Signature, text_of};
use super::template::Template;
use super::{DeclaredNeed, events};
use crate::diagnose::nearest;
use crate::{QueryError, bind};

pub(super) const NEEDS: Signature = Signature {
    name: "needs",
    named: &[
        &["raised_by", "found_by", "within", "max_clicks", "converted_by"],
        &["from", "to", "include_bots"],
    ],
    usage: "needs('delivery', within => '5s'), or needs(raised_by => page_type = 'product', \
            found_by => info_key = 'sizes', within => '3s', max_clicks => 2)",
};

/// Clicks without a bound.
const CLICKS_MAX: i64 = i64::MAX;

/// A row per episode, with the outcomes of the table `needs`.
pub(super) fn needs(mut arguments: Arguments<'_>) -> Result<Box<Query>, QueryError> {
    let declared = arguments.declared;
    let need = declared_need(&arguments)?;
    let mut template = Template::default();
    let name = need.map_or("needs()", |need| need.name.as_str());
    template.put_value("name", ScalarValue::from(name))?;
    for (argument, own) in [
        ("raised_by", need.map(|need| need.raised_by.as_str())),
        ("found_by", need.map(|need| need.found_by.as_str())),
        ("converted_by", declared.conversion.as_deref()),
    ] {
        let condition = match (arguments.condition(argument)?, own) {
            (Some(expression), _) => expression,
            (None, Some(own)) => events::parse(own)?,
            (None, None) => return Err(arguments.wrong(format!("`{argument}` is missing"))),
        };
        template.put(argument, condition);
    }
    let within_us = arguments.duration_us("within")?.or(need.map(|need| need.within_us));
    let Some(within_us) = within_us else {
        return Err(arguments.wrong("`within` is missing"));
    };
    let clicks_max = arguments.whole("max_clicks", 0..=CLICKS_MAX)?;
    let clicks_max = clicks_max.or(need.map(|need| need.clicks_max)).unwrap_or(CLICKS_MAX);
    let (mut sessions, mut events) = (String::new(), String::new());
    if !arguments.flag("include_bots")? {
        sessions.push_str(" AND s.bot IS NULL");
    }
    let (from_us, to_us) = arguments.range_us()?;
    if let Some(from_us) = from_us {
        template.put_value("from", events::time(from_us))?;
        sessions.push_str(" AND s.started_at >= $from AND s.session_date >= CAST($from AS DATE)");
        events.push_str(" AND event_date >= CAST($from AS DATE)");
    }
    if let Some(to_us) = to_us {
        template.put_value("to", events::time(to_us))?;
        sessions.push_str(" AND s.started_at < $to AND s.session_date <= CAST($to AS DATE)");
        // A session that begins before the end goes on beyond it.
        template.put_value("last", events::time(to_us.saturating_add(declared.session_cap_us)))?;
        events.push_str(" AND event_date <= CAST($last AS DATE)");
    }
    template.fill(&format!(
        "SELECT session_id, site, visitor_id, $name AS need, raised_at, raised_path, \
           raised_page_type, found_at, info_us / 1000 AS info_ms, click_count, \
           CASE WHEN info_us <= {within_us} AND click_count <= {clicks_max} THEN 'found_in_time' \
             WHEN info_us IS NOT NULL THEN 'found_late' \
             WHEN converted THEN 'converted_without' \
             WHEN went_on THEN 'gave_up' ELSE 'abandoned' END AS outcome, \
           left_after_us / 1000 AS left_after_ms, \
           info_us IS NULL AND NOT converted AND left_after_us < {within_us} \
             AS left_before_deadline, \
           converted, session_date \
         FROM (SELECT s.session_id, s.site, s.visitor_id, s.session_date, \
             e['raised_at'] AS raised_at, e['raised_path'] AS raised_path, \
             e['raised_page_type'] AS raised_page_type, e['found_at'] AS found_at, \
             CAST(e['found_at'] AS BIGINT) - CAST(e['raised_at'] AS BIGINT) AS info_us, \
             e['click_count'] AS click_count, e['converted'] AS converted, \
             CAST(s.ended_at AS BIGINT) - CAST(e['raised_at'] AS BIGINT) AS left_after_us, \
             coalesce(v.last_view > e['raised_at'], false) AS went_on \
           FROM (SELECT session_id, need_episode(event_time, seq, event_id, order_id, page_path, \
               page_type, $raised_by AND visible_ms IS DISTINCT FROM 0, $found_by, \
               event_name = 'click', $converted_by) AS e \
             FROM events \
             WHERE session_id IS NOT NULL AND NOT overflow \
               AND ($raised_by OR $found_by OR event_name = 'click' OR $converted_by){events} \
             GROUP BY session_id) AS found \
           JOIN sessions AS s ON s.session_id = found.session_id \
           LEFT JOIN (SELECT session_id, max(started_at) AS last_view FROM page_views \
             GROUP BY session_id) AS v ON v.session_id = s.session_id \
           WHERE e['raised_at'] IS NOT NULL{sessions}) AS episodes"
    ))
}

fn declared_need<'a>(arguments: &Arguments<'a>) -> Result<Option<&'a DeclaredNeed>, QueryError> {
    let needs = &arguments.declared.needs;
    let name = match arguments.positional.as_slice() {
        [] => return Ok(None),
        // A statement that is only described: its columns are the same whatever the need.
        [expression] if bind::is_placeholder(expression) => {
            return Ok(needs.first());
        }
        [expression] => text_of(expression),
        _ => return Err(arguments.wrong("it takes the name of one need")),
    };
    let Some(name) = name else {
        return Err(arguments.wrong("the need is named by a text, such as 'delivery'"));
    };
    match needs.iter().find(|need| need.name == name) {
        Some(need) => Ok(Some(need)),
        None => {
            let names = needs.iter().map(|need| need.name.as_str());
            let like = nearest(name, names);
            let meant = like.map(|like| format!(": did you mean '{like}'?")).unwrap_or_default();
            Err(arguments.wrong(format!("no need '{name}' is declared{meant}")))
        }
    }
}
