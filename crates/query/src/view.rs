//! The views that analysts read, as the SQL that they are. What a session is and why it ended is left to
//! the sessionizer; planning a view to `catalog`.

use crate::Declared;

/// A name that stands for a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Abandonment,
    AbandonmentPoints,
    NeedsByPage,
    PageSpeed,
}

impl View {
    pub(crate) const ALL: [View; 4] =
        [View::Abandonment, View::AbandonmentPoints, View::NeedsByPage, View::PageSpeed];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            View::Abandonment => "abandonment",
            View::AbandonmentPoints => "abandonment_points",
            View::NeedsByPage => "needs_by_page",
            View::PageSpeed => "page_speed",
        }
    }

    pub(crate) fn named(name: &str) -> Option<View> {
        View::ALL.into_iter().find(|view| view.name() == name)
    }

    /// The query that the view is.
    pub(crate) fn sql(self, declared: &Declared) -> String {
        match self {
            View::Abandonment => ABANDONMENT.to_owned(),
            View::AbandonmentPoints => ABANDONMENT_POINTS.to_owned(),
            View::NeedsByPage => needs_by_page(declared),
            View::PageSpeed => page_speed(),
        }
    }
}

/// A session without a conversion per row, bots left out: whose it was, when and where it ended, how
/// far it had come, and what may have been the reason.
const ABANDONMENT: &str = "\
SELECT session_id, site, visitor_id, user_id, started_at, ended_at, duration_ms, event_count,
  page_view_count, engaged, landing_path, exit_path, exit_page_type, exit_section, furthest_step,
  furthest_step_index, needs_raised, needs_found, needs_not_found, progress_to_exit_ms, reason, reasons,
  channel, utm_source, utm_medium, utm_campaign, device_type, country, close_cause, session_date
FROM sessions WHERE NOT converted AND bot IS NULL";

/// Where sessions without a conversion end, those of most sessions first.
const ABANDONMENT_POINTS: &str = "\
SELECT site, CAST(rank() OVER (PARTITION BY site ORDER BY sessions DESC) AS BIGINT) AS rank, page_template, section,
  furthest_step, sessions,
  sessions / CAST(sum(sessions) OVER (PARTITION BY site) AS DOUBLE) AS share, median_progress_to_exit_ms,
  error, slow_page, rage_click, zero_search, need_not_found, none
FROM (SELECT site, page_template(exit_page_type, exit_path) AS page_template, exit_section AS section,
    furthest_step, count(*) AS sessions,
    CAST(median(progress_to_exit_ms) AS BIGINT) AS median_progress_to_exit_ms,
    count(*) FILTER (WHERE reason = 'error') AS error,
    count(*) FILTER (WHERE reason = 'slow_page') AS slow_page,
    count(*) FILTER (WHERE reason = 'rage_click') AS rage_click,
    count(*) FILTER (WHERE reason = 'zero_search') AS zero_search,
    count(*) FILTER (WHERE reason = 'need_not_found') AS need_not_found,
    count(*) FILTER (WHERE reason = 'none') AS none
  FROM sessions WHERE NOT converted AND bot IS NULL
  GROUP BY site, page_template(exit_page_type, exit_path), exit_section, furthest_step) AS points";

/// What became of each need, by the kind of page that raised it. A need of a site and day on which no
/// event at all fulfilled its `found_by` was not measured: its rows count as that, and for nothing else.
fn needs_by_page(declared: &Declared) -> String {
    let found = declared.needs.iter().map(|need| {
        let name = need.name.replace('\'', "''");
        format!(
            "SELECT DISTINCT site, event_date AS found_date, '{name}' AS need FROM events WHERE {}",
            need.found_by
        )
    });
    let mut measured: Vec<String> = found.collect();
    // A need that is not declared any more was measured where its rows say so.
    let declared: Vec<String> =
        declared.needs.iter().map(|need| format!("'{}'", need.name.replace('\'', "''"))).collect();
    let others = match declared.is_empty() {
        true => String::new(),
        false => format!(" AND need NOT IN ({})", declared.join(", ")),
    };
    measured.push(format!(
        "SELECT DISTINCT site, session_date AS found_date, need FROM needs \
         WHERE found_at IS NOT NULL{others}"
    ));
    format!(
        "\
SELECT site, need, page_template, raised, found_in_time, found_late, converted_without, abandoned, gave_up,
  not_measured, (abandoned + gave_up) / CAST(nullif(raised - not_measured, 0) AS DOUBLE) AS share_lost,
  median_info_ms, median_click_count, associated_losses
FROM (SELECT n.site, n.need, page_template(n.raised_page_type, n.raised_path) AS page_template,
    count(*) AS raised,
    count(*) FILTER (WHERE is_measured AND n.outcome = 'found_in_time') AS found_in_time,
    count(*) FILTER (WHERE is_measured AND n.outcome = 'found_late') AS found_late,
    count(*) FILTER (WHERE is_measured AND n.outcome = 'converted_without') AS converted_without,
    count(*) FILTER (WHERE is_measured AND n.outcome = 'abandoned') AS abandoned,
    count(*) FILTER (WHERE is_measured AND n.outcome = 'gave_up') AS gave_up,
    count(*) FILTER (WHERE NOT is_measured) AS not_measured,
    CAST(median(n.info_ms) AS BIGINT) AS median_info_ms,
    CAST(median(CASE WHEN n.found_at IS NOT NULL THEN n.click_count END) AS BIGINT)
      AS median_click_count,
    associated_losses(n.found_at IS NOT NULL, n.converted, CAST(s.value AS DOUBLE), s.currency)
      FILTER (WHERE is_measured) AS associated_losses
  FROM (SELECT needs.*, m.need IS NOT NULL OR needs.found_at IS NOT NULL AS is_measured FROM needs
    LEFT JOIN ({}) AS m
    ON m.site = needs.site AND m.need = needs.need AND m.found_date = needs.session_date) AS n
  JOIN sessions AS s ON s.session_id = n.session_id
  WHERE s.bot IS NULL
  GROUP BY n.site, n.need, page_template(n.raised_page_type, n.raised_path)) AS by_page",
        measured.join(" UNION ALL ")
    )
}

/// How fast pages are for visitors, with web.dev's bounds of good and poor.
fn page_speed() -> String {
    let vital = |column: &str, good: &str, poor: &str| {
        format!(
            "count({column}) AS {column}_count, \
             percentile_cont(0.75) WITHIN GROUP (ORDER BY {column}) AS p75_{column}, \
             count(*) FILTER (WHERE {column} <= {good}) / CAST(nullif(count({column}), 0) AS DOUBLE) \
             AS share_good_{column}, \
             count(*) FILTER (WHERE {column} > {poor}) / CAST(nullif(count({column}), 0) AS DOUBLE) \
             AS share_poor_{column}"
        )
    };
    format!(
        "SELECT site, page_template(page_type, page_path) AS page_template, device_type, {}, {}, {}, {} \
         FROM events WHERE bot IS NULL AND (lcp_ms IS NOT NULL OR inp_ms IS NOT NULL OR cls IS NOT NULL \
         OR ttfb_ms IS NOT NULL) \
         GROUP BY site, page_template(page_type, page_path), device_type",
        vital("lcp_ms", "2500", "4000"),
        vital("inp_ms", "200", "500"),
        vital("cls", "0.1", "0.25"),
        vital("ttfb_ms", "800", "1800"),
    )
}
