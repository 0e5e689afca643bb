//! Paths, returns, patterns, and the views, on logs that fit a screen.

use std::fmt::Write;

use footfall_event::schema::Table;
use footfall_query::{Declared, DeclaredNeed, DeclaredStep, QuerySettings};
use serde_json::{Value, json};

use crate::service::Service;

/// A lake with the visits of `log`: a line each, `visitor day name@path …`, a minute between events. A
/// visit is a session.
async fn visits(log: &str) -> Service {
    let declared = Declared {
        steps: ["view_item", "purchase"]
            .map(|name| DeclaredStep {
                name: name.to_owned(),
                when: format!("event_name = '{name}'"),
            })
            .into(),
        needs: vec![DeclaredNeed {
            name: "delivery".to_owned(),
            raised_by: "event_name = 'view_item'".to_owned(),
            found_by: "event_name = 'info'".to_owned(),
            within_us: 60_000_000,
            clicks_max: 2,
        }],
        conversion: Some("event_name = 'purchase'".to_owned()),
        session_cap_us: 86_400_000_000,
    };
    let settings = QuerySettings { threads: 2, declared, ..QuerySettings::default() };
    let service = Service::start_with(settings).await;
    let mut lines = String::new();
    for (number, visit) in log.trim().lines().enumerate() {
        let mut words = visit.split_whitespace();
        let (visitor, day) = (words.next().unwrap(), words.next().unwrap());
        for (minute, event) in words.enumerate() {
            let (name, path) = event.split_once('@').unwrap_or((event, ""));
            let path = if path.is_empty() { "null".to_owned() } else { format!("\"{path}\"") };
            writeln!(
                lines,
                r#"{{"event_id":"{number}-{minute}","site":"shop","visitor_id":"{visitor}","session_id":"s{number}","event_name":"{name}","event_time":"{day}T10:{minute:02}:00Z","page_path":{path},"late":false,"overflow":false,"event_date":"{day}"}}"#
            )
            .unwrap();
        }
    }
    service.commit(Table::Events, &lines).await;
    service
}

#[tokio::test]
async fn paths_merge_repeats_and_their_rest_balances() {
    let service = visits(
        "a 2026-11-02 view@/ view@/p view@/p view@/cart
         b 2026-11-02 view@/ view@/p view@/cart
         c 2026-11-02 view@/ view@/help
         d 2026-11-02 view@/p view@/",
    )
    .await;
    let sql = "SELECT path, count, share, is_other FROM paths(starting => page_path = '/', \
               by => page_path, top => 1) ORDER BY rank";
    assert_eq!(
        service.rows(sql).await,
        json!([[["/", "/p", "/cart"], 2, 0.5, false], [null, 2, 0.5, true]])
    );
    let sql =
        "SELECT path, count FROM paths(ending => page_path = '/cart', by => page_path, depth => 2)";
    assert_eq!(service.rows(sql).await, json!([[["/p", "/cart"], 2]]));
    let sql = "SELECT path, count FROM paths(starting => page_path = '/', depth => 9, \
               scope => 'visitor')";
    assert_eq!(service.rows(sql).await, json!([[["view"], 4]]));
}

#[tokio::test]
async fn returns_are_counted_by_the_period_behind_the_first() {
    // 2026-11-02 is a Monday.
    let service = visits(
        "a 2026-11-02 buy
         a 2026-11-10 view
         b 2026-11-08 buy view
         b 2026-11-16 view
         c 2026-11-09 buy
         c 2026-11-15 buy",
    )
    .await;
    let sql = "SELECT cohort, period, visitors, returned, share, is_over FROM retention(\
               started => event_name = 'buy', period => 'week', periods => 2) ORDER BY 1, 2";
    assert_eq!(
        service.rows(sql).await,
        json!([
            ["2026-11-02", 0, 2, 1, 0.5, true],
            ["2026-11-02", 1, 2, 1, 0.5, true],
            ["2026-11-02", 2, 2, 1, 0.5, false],
            ["2026-11-09", 0, 1, 1, 1.0, true],
            ["2026-11-09", 1, 1, 0, 0.0, false],
            ["2026-11-09", 2, 1, 0, 0.0, false],
        ])
    );
    let sql = "SELECT cohort, period, visitors, returned FROM retention(\
               started => event_name = 'buy', period => 'month', periods => 0, \
               from => '2026-11-03')";
    assert_eq!(service.rows(sql).await, json!([["2026-11-01", 0, 2, 2]]));
}

#[tokio::test]
async fn a_sequence_matches_over_the_events_that_fulfil_a_condition() {
    let service = visits(
        "a 2026-11-02 view_item scroll purchase
         b 2026-11-02 view_item scroll scroll purchase
         c 2026-11-02 purchase view_item",
    )
    .await;
    let sql = "SELECT visitor_id, sequence_match('(?1)(?2)', event_time, seq, \
                 event_name = 'view_item', event_name = 'purchase'), \
               sequence_match('(?1)(?t<=120)(?2)', event_time, seq, \
                 event_name = 'view_item', event_name = 'purchase') \
               FROM events GROUP BY visitor_id ORDER BY 1";
    assert_eq!(
        service.rows(sql).await,
        json!([["a", true, true], ["b", true, false], ["c", false, false]])
    );
    let whole = "SELECT sequence_match('(?1)(?1).*(?1)', event_time, seq, \
                 event_name = 'view_item') FROM events";
    assert_eq!(service.rows(whole).await, json!([[true]]));
}

#[tokio::test]
async fn declared_steps_are_named_and_all_of_them_are_the_funnel() {
    let service = visits(
        "a 2026-11-02 view_item purchase
         b 2026-11-02 view_item
         c 2026-11-04 view_item",
    )
    .await;
    let sql = "SELECT name, entered, converted, still_open, lost, share_of_first, median_ms \
               FROM funnel(within => '1 hour')";
    let wanted = json!([
        ["view_item", 3, 1, 1, 1, 1.0, null],
        ["purchase", 1, 1, 0, 0, 0.3333333333333333, 60000],
    ]);
    assert_eq!(service.rows(sql).await, wanted);
    let named = "SELECT name, entered, converted, still_open, lost, share_of_first, median_ms \
                 FROM funnel('view_item', 'purchase', within => '1 hour') ORDER BY step";
    assert_eq!(service.rows(named).await, wanted);
    let (_, error) = service.error("SELECT * FROM funnel('purchse')").await;
    assert!(error["message"].as_str().unwrap().ends_with("did you mean 'purchase'?"), "{error}");
}

#[tokio::test]
async fn parameters_stand_within_functions_too() {
    let service = visits("a 2026-11-02 view_item purchase").await;
    let request = json!({
        "sql": "SELECT entered FROM funnel(event_name = $name, within => $within) \
                WHERE step = $step",
        "parameters": {"name": "it's; --", "within": "1 hour", "step": 1},
    });
    let (status, body) = service.post("/v1/sql", &request.to_string()).await;
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["rows"], json!([[0]]));
    let numbered =
        json!({"sql": "SELECT $1, $2 + 1, $3 LIMIT $4", "parameters": ["a", 2, null, 1]});
    let (status, body) = service.post("/v1/sql?format=jsonl", &numbered.to_string()).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body.lines().count(), 1);
    for (sql, parameters, said) in [
        ("SELECT $1", json!([]), "there is no value for $1"),
        ("SELECT 1", json!([1]), "there is a value for $1, but no $1 in the statement"),
        ("SELECT $1", json!([[1]]), "a parameter is one value"),
    ] {
        let request = json!({"sql": sql, "parameters": parameters});
        let (status, body) = service.post("/v1/sql", &request.to_string()).await;
        assert!(status == 400 && body.contains(said), "{sql}: {body}");
    }
}

#[tokio::test]
async fn needs_asked_for_have_the_outcomes_of_the_table() {
    let service = visits(
        "a 2026-11-02 view_item info purchase
         b 2026-11-02 view_item click
         c 2026-11-02 view_item view_item
         d 2026-11-02 info view_item
         e 2026-11-02 view_item purchase info
         f 2026-11-02 view_item click click info",
    )
    .await;
    let sessions: String = (0..6)
        .map(|session| {
            let minute = [2, 1, 1, 1, 2, 3][session];
            format!(
                "{{\"session_id\":\"s{session}\",\"site\":\"shop\",\"visitor_id\":\"v\",\
                 \"started_at\":\"2026-11-02T10:00:00Z\",\"ended_at\":\"2026-11-02T10:0{minute}:00Z\",\
                 \"session_date\":\"2026-11-02\"}}\n"
            )
        })
        .collect();
    service.commit(Table::Sessions, &sessions).await;
    let views =
        r#"{"session_id":"s2","started_at":"2026-11-02T10:01:00Z","session_date":"2026-11-02"}"#;
    service.commit(Table::PageViews, &format!("{views}\n")).await;
    let sql = "SELECT session_id, outcome, info_ms, click_count, left_after_ms, \
               left_before_deadline, converted FROM needs('delivery') ORDER BY 1";
    assert_eq!(
        service.rows(sql).await,
        json!([
            ["s0", "found_in_time", 60000, 0, 120000, false, true],
            ["s1", "abandoned", null, 1, 60000, false, false],
            ["s2", "gave_up", null, 0, 60000, false, false],
            ["s4", "converted_without", null, 0, 120000, false, true],
            ["s5", "found_late", 180000, 2, 180000, false, false],
        ])
    );
    let sql = "SELECT session_id FROM needs('delivery', within => '3m', max_clicks => 1, \
               from => '2026-11-02', to => '2026-11-03') WHERE outcome = 'found_in_time' ORDER BY 1";
    assert_eq!(service.rows(sql).await, json!([["s0"]]));
    let sql = "SELECT count(*) FROM needs(raised_by => event_name = 'click', \
               found_by => event_name = 'info', within => '3s')";
    assert_eq!(service.rows(sql).await, json!([[2]]));
}
