//! Paths, returns and patterns, on logs that fit a screen.

use std::fmt::Write;

use footfall_event::schema::Table;
use footfall_query::{Declared, DeclaredNeed, DeclaredStep, QuerySettings};
use serde_json::{Value, json};

use crate::service::Service;

/// A lake with the visits of `log`: a line each, `visitor day name@path …`, a minute between events. A
/// visit is a session.
pub async fn visits(log: &str) -> Service {
    let declared = Declared {
        steps: ["view_item", "purchase"]
            .map(|name| DeclaredStep {
                name: name.to_owned(),
                when: format!("event_name = '{name}'"),
            })
            .into(),
        needs: [
            ("delivery", "event_name = 'view_item'", "event_name = 'info'"),
            // They fail for most paths.
            ("number", "page_path::BIGINT > 5 -- a number", "10 / page_path::BIGINT > 1"),
        ]
        .map(|(name, raised_by, found_by)| DeclaredNeed {
            name: name.to_owned(),
            raised_by: raised_by.to_owned(),
            found_by: found_by.to_owned(),
            within_us: 60_000_000,
            clicks_max: 2,
        })
        .into(),
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
async fn a_way_begins_or_ends_with_an_event_in_the_range_that_may_have_no_label() {
    let service = visits(
        "a 2026-11-02 view@/a purchase
         a 2026-11-03 purchase view@/b purchase@/thanks view@/c
         b 2026-11-02 purchase",
    )
    .await;
    let ways = |arguments: &str| {
        format!(
            "SELECT path, count FROM paths({arguments}, by => page_path, scope => 'visitor') \
             ORDER BY rank"
        )
    };
    let purchase = "event_name = 'purchase'";
    let sql = ways(&format!("ending => {purchase}"));
    assert_eq!(service.rows(&sql).await, json!([[["/a"], 1]]));
    let sql = ways(&format!("starting => {purchase}"));
    assert_eq!(service.rows(&sql).await, json!([[["/b", "/thanks", "/c"], 1]]));
    // What lies before, or behind, the range is on the way.
    let sql = ways(&format!("ending => {purchase}, from => '2026-11-03'"));
    assert_eq!(service.rows(&sql).await, json!([[["/a"], 1]]));
    let sql = ways(&format!("starting => {purchase}, to => '2026-11-03'"));
    assert_eq!(service.rows(&sql).await, json!([[["/b", "/thanks", "/c"], 1]]));
    let sql = ways(&format!("starting => {purchase}, from => '2026-11-03T10:01:00Z'"));
    assert_eq!(service.rows(&sql).await, json!([[["/thanks", "/c"], 1]]));
}

#[tokio::test]
async fn a_range_is_told_from_now_or_as_far_as_years_go() {
    let service = visits("a 2026-11-02 view_item purchase").await;
    for (range, entered) in [
        ("from => now() - INTERVAL '100000 days'", 1),
        ("from => now() + INTERVAL '36500 days'", 0),
        ("from => current_date + INTERVAL '36500 days'", 0),
        ("to => '9999-12-31', within => '30 days'", 1),
    ] {
        let sql = format!("SELECT entered FROM funnel('view_item', {range})");
        assert_eq!(service.rows(&sql).await, json!([[entered]]), "{range}");
    }
    let sql = "SELECT count(*) FROM needs('delivery', to => '9999-12-31')";
    assert_eq!(service.rows(sql).await, json!([[0]]));
}

#[tokio::test]
async fn a_window_asks_after_each_row() {
    let service = visits("a 2026-11-02 view_item scroll purchase").await;
    let sql = "SELECT window_funnel('1h', 'ordered', event_time, seq, event_name = 'view_item', \
               event_name = 'purchase') OVER (PARTITION BY visitor_id ORDER BY event_time) \
               FROM events ORDER BY event_time";
    assert_eq!(service.rows(sql).await, json!([[1], [1], [2]]));
    // Events are put in order whatever the call says.
    for order in ["", " ORDER BY event_time DESC"] {
        let sql = format!(
            "SELECT window_funnel('1h', 'ordered', event_time, seq, event_name = 'view_item', \
             event_name = 'purchase'{order}), sequence_match('(?1)(?2)', event_time, seq, \
             event_name = 'view_item', event_name = 'purchase'{order}) \
             FROM events GROUP BY visitor_id"
        );
        assert_eq!(service.rows(&sql).await, json!([[2, true]]));
    }
}

#[tokio::test]
async fn what_is_open_goes_by_the_partition_that_is_furthest_behind() {
    let service = visits("a 2026-11-02 view_item\n b 2026-11-04 view_item").await;
    let receipt = |log: &str, partition: i64, until: &str| {
        format!(
            r#"{{"log":"{log}","log_partition":{partition},"from_offset":0,"to_offset":9,"site":"shop","hour":"2026-11-02T10:00:00Z","received":1,"accepted":1,"on_time":1,"late":0,"duplicate":0,"rejected":0,"overflow":0,"pending":0,"watermark":"{until}"}}"#
        )
    };
    let sql = "SELECT still_open, lost FROM funnel('view_item', 'purchase', within => '1 day') \
               WHERE step = 1";
    for (receipts, wanted) in [
        // Of a load alone: the last event.
        (vec![receipt("load:1", 0, "2026-12-01T00:00:00Z")], json!([[1, 1]])),
        // The newest of the slower partition.
        (
            vec![
                receipt("footfall", 0, "2026-11-02T11:00:00Z"),
                receipt("footfall", 1, "2026-11-20T00:00:00Z"),
            ],
            json!([[2, 0]]),
        ),
        (vec![receipt("footfall", 0, "2026-11-03T11:00:00Z")], json!([[1, 1]])),
        (vec![receipt("footfall", 0, "2026-11-06T11:00:00Z")], json!([[0, 2]])),
    ] {
        service.commit(Table::Receipts, &receipts.join("\n")).await;
        assert_eq!(service.rows(sql).await, wanted);
    }
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
async fn more_visitors_times_periods_than_are_held_are_refused() {
    let service = Service::start().await;
    let mut lines = String::new();
    for visitor in 0..110_000 {
        writeln!(
            lines,
            r#"{{"event_id":"{visitor}","site":"shop","visitor_id":"{visitor}","event_name":"a","event_time":"2026-11-02T10:00:00Z","late":false,"overflow":false,"event_date":"2026-11-02"}}"#
        )
        .unwrap();
    }
    service.commit(Table::Events, &lines).await;
    let sql = |periods: u32| {
        format!("SELECT sum(visitors) FROM retention(period => 'day', periods => {periods})")
    };
    assert_eq!(service.rows(&sql(3)).await, json!([[440_000]]));
    let (status, error) = service.error(&sql(400)).await;
    assert_eq!((status, &error["code"]), (422, &json!("memory")), "{error}");
    assert!(error.to_string().contains("visitors times periods"), "{error}");
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
    // A name stands for its condition wherever one belongs.
    for (from, wanted) in [
        ("SELECT entered FROM funnel($$view_item$$, filter => 'view_item')", json!([[3]])),
        ("SELECT path, count FROM paths(starting => 'purchase')", json!([[["purchase"], 1]])),
        ("SELECT sum(visitors) FROM retention(started => 'purchase', periods => 0)", json!([[1]])),
    ] {
        assert_eq!(service.rows(from).await, wanted, "{from}");
    }
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
    // A declared step's name stands for its condition.
    let named = "SELECT session_id FROM needs(raised_by => 'view_item', found_by => 'purchase', \
                 within => '2 minutes') WHERE outcome = 'found_in_time' ORDER BY 1";
    assert_eq!(service.rows(named).await, json!([["s0"], ["s4"]]));
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

/// Shares by the required step before and by the first, and the times that half and nine tenths of the
/// visitors did not exceed.
#[tokio::test]
async fn a_report_has_the_shares_and_times_of_its_trials() {
    // The purchase comes 1, 2, 4 and 8 minutes after the cart, which comes a minute after the product.
    let service = visits(
        "a 2026-11-02 view_item cart purchase
         b 2026-11-02 view_item cart x purchase
         c 2026-11-02 view_item cart x x x purchase
         d 2026-11-02 view_item cart x x x x x x x purchase
         e 2026-11-02 view_item cart note
         f 2026-11-02 view_item",
    )
    .await;
    let sql = "SELECT name, entered, share_of_previous, share_of_first, median_ms, p90_ms, \
               median_total_ms, p90_total_ms FROM funnel('view_item', \
               step(event_name = 'cart', name => 'cart'), \
               step(event_name = 'note', name => 'note', optional => true), 'purchase')";
    let minute = 60_000;
    assert_eq!(
        service.rows(sql).await,
        json!([
            ["view_item", 6, null, 1.0, null, null, null, null],
            ["cart", 5, 5.0 / 6.0, 5.0 / 6.0, minute, minute, minute, minute],
            ["note", 1, 0.2, 1.0 / 6.0, minute, minute, 2 * minute, 2 * minute],
            ["purchase", 4, 0.8, 4.0 / 6.0, 2 * minute, 8 * minute, 3 * minute, 9 * minute],
        ])
    );
}
