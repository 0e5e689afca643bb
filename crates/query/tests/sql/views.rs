//! The views, and declared needs, on logs that fit a screen.

use std::fmt::Write;

use footfall_event::schema::Table;
use serde_json::json;

use crate::journeys::visits;
use crate::service::Service;

/// `number` sessions of a day, with one need each: the outcome, whether it was found, whether the
/// session converted, for how much.
fn episodes(
    number: std::ops::Range<usize>,
    day: &str,
    outcome: &str,
    order: Option<u32>,
) -> [String; 2] {
    let (mut sessions, mut needs) = (String::new(), String::new());
    let found = match outcome.starts_with("found") {
        true => format!("\"{day}T10:00:01Z\""),
        false => "null".to_owned(),
    };
    for session in number {
        let value = order.map_or("null".to_owned(), |value| format!("\"{value}\""));
        let converted = order.is_some();
        writeln!(
            sessions,
            r#"{{"session_id":"s{session}","site":"shop","value":{value},"currency":"EUR","session_date":"{day}"}}"#
        )
        .unwrap();
        writeln!(
            needs,
            r#"{{"session_id":"s{session}","site":"shop","need":"delivery","raised_path":"/product/{session}","found_at":{found},"info_ms":1000,"click_count":1,"outcome":"{outcome}","converted":{converted},"session_date":"{day}"}}"#
        )
        .unwrap();
    }
    [sessions, needs]
}

/// On the first day somebody found it, on the second nobody did: its needs were not measured. On the third
/// one found it, in a session that began then, behind midnight: no event of that day says so.
#[tokio::test]
async fn needs_by_page_leaves_out_days_on_which_nothing_was_measured() {
    let service = visits("a 2026-11-02 view_item@/product/1 info").await;
    let (mut sessions, mut needs) = (String::new(), String::new());
    for [some_sessions, some_needs] in [
        episodes(0..40, "2026-11-02", "found_in_time", Some(30)),
        episodes(40..50, "2026-11-02", "found_late", None),
        episodes(50..60, "2026-11-02", "converted_without", Some(50)),
        episodes(60..90, "2026-11-02", "abandoned", None),
        episodes(90..100, "2026-11-02", "gave_up", None),
        episodes(100..107, "2026-11-03", "abandoned", None),
        episodes(107..108, "2026-11-04", "found_in_time", Some(30)),
    ] {
        sessions.push_str(&some_sessions);
        needs.push_str(&some_needs);
    }
    service.commit(Table::Sessions, &sessions).await;
    service.commit(Table::Needs, &needs).await;
    let sql = "SELECT need, page_template, raised, found_in_time, found_late, converted_without, \
               abandoned, gave_up, not_measured, share_lost, median_info_ms, median_click_count \
               FROM needs_by_page";
    assert_eq!(
        service.rows(sql).await,
        json!([["delivery", "/product/*", 108, 41, 10, 10, 30, 10, 7, 40.0 / 101.0, 1000, 1]])
    );
    // 40 left; 41 of 51 bought where it was found, 10 of 50 where not; so much is the average order.
    let order = (41.0 * 30.0 + 10.0 * 50.0) / 51.0;
    let loss = f64::round(40.0 * (41.0 / 51.0 - 0.2) * order * 1e6) / 1e6;
    let sql = "SELECT l['currency'], round(l['loss'], 6), l['low'] < l['loss'], l['loss'] < l['high'] \
               FROM (SELECT unnest(associated_losses) AS l FROM needs_by_page)";
    assert_eq!(service.rows(sql).await, json!([["EUR", loss, true, true]]));
}

/// As in the pipeline, an event for which a declared condition fails does not fulfil it.
#[tokio::test]
async fn a_declared_condition_that_fails_for_an_event_is_not_fulfilled() {
    let service = visits(
        "a 2026-11-02 view@7 view@x view@0 view@4
         b 2026-11-02 view@x view@9",
    )
    .await;
    let sessions = ["0", "1"].map(|number| {
        format!(
            r#"{{"session_id":"s{number}","site":"shop","visitor_id":"v","started_at":"2026-11-02T10:00:00Z","ended_at":"2026-11-02T10:09:00Z","session_date":"2026-11-02"}}"#
        )
    });
    service.commit(Table::Sessions, &format!("{}\n", sessions.join("\n"))).await;
    let sql = "SELECT session_id, raised_path, info_ms FROM needs('number') ORDER BY 1";
    assert_eq!(service.rows(sql).await, json!([["s0", "7", 180_000], ["s1", "9", null]]));
    let asked = "SELECT * FROM needs(raised_by => page_path::BIGINT > 5, found_by => true, \
                 within => '1s')";
    assert!(service.error(asked).await.1.to_string().contains("Cannot cast"));
}

#[tokio::test]
async fn abandonment_points_are_ranked_within_their_site() {
    let service = Service::start().await;
    let mut lines = String::new();
    for (number, (site, path, reason, converted)) in [
        ("a", "/cart", "need_not_found", false),
        ("a", "/cart", "none", false),
        ("a", "/product/1", "error", false),
        ("a", "/cart", "none", true),
        ("b", "/", "none", false),
    ]
    .iter()
    .enumerate()
    {
        writeln!(
            lines,
            r#"{{"session_id":"{number}","site":"{site}","exit_path":"{path}","reason":"{reason}","converted":{converted},"progress_to_exit_ms":{number}000,"session_date":"2026-11-02"}}"#
        )
        .unwrap();
    }
    lines.push_str(
        r#"{"session_id":"bot","site":"a","exit_path":"/cart","converted":false,"bot":"ua:bot","session_date":"2026-11-02"}"#,
    );
    service.commit(Table::Sessions, &format!("{lines}\n")).await;
    let sql = "SELECT site, rank, page_template, sessions, share, median_progress_to_exit_ms, error, \
               need_not_found, none FROM abandonment_points ORDER BY site, rank";
    assert_eq!(
        service.rows(sql).await,
        json!([
            ["a", 1, "/cart", 2, 2.0 / 3.0, 500, 0, 1, 1],
            ["a", 2, "/product/*", 1, 1.0 / 3.0, 2000, 1, 0, 0],
            ["b", 1, "/", 1, 1.0, 4000, 0, 0, 1],
        ])
    );
}

#[tokio::test]
async fn page_speed_counts_what_was_measured() {
    let service = Service::start().await;
    let mut lines = String::new();
    for (number, lcp) in ["1000", "2500", "2501", "4001", "null"].iter().enumerate() {
        writeln!(
            lines,
            r#"{{"event_id":"{number}","site":"shop","event_name":"web_vitals","page_type":"product","lcp_ms":{lcp},"cls":0.2,"event_date":"2026-11-02"}}"#
        )
        .unwrap();
    }
    service.commit(Table::Events, &lines).await;
    let sql = "SELECT page_template, lcp_ms_count, p75_lcp_ms, share_good_lcp_ms, share_poor_lcp_ms, \
               cls_count, share_good_cls, share_poor_cls, inp_ms_count, share_good_inp_ms \
               FROM page_speed";
    // Between 2501 and 4001, a quarter of the way.
    assert_eq!(
        service.rows(sql).await,
        json!([["product", 4, 2876.0, 0.5, 0.25, 5, 0.0, 0.0, 0, null]])
    );
}
