//! What is refused, and how an error points at its place.

use std::fmt::Write;

use footfall_event::schema::Table;
use serde_json::Value;

use crate::service::Service;

const EVENTS: &str = r#"
{"event_id":"e1","site":"shop","event_time":"2026-11-22T10:00:00Z","seq":1,"search_results":0,"order_id":"A-1","event_date":"2026-11-22"}
"#;
const SESSIONS: &str = r#"{"session_id":"s1","site":"shop","session_date":"2026-11-22"}"#;

/// Statements, each with its error in the line below: `line:column message (hint)`, the place and
/// the hint only where there are any. A `⏎` in a statement is a line break.
async fn check(cases: &str) {
    let service = Service::start().await;
    service.commit(Table::Events, EVENTS).await;
    service.commit(Table::Sessions, SESSIONS).await;
    let mut actual = String::new();
    for sql in cases.lines().step_by(2) {
        let (status, error) = service.error(&sql.replace('⏎', "\n")).await;
        assert_eq!((status, error["code"].as_str()), (400, Some("bad_query")), "{sql}: {error}");
        let place = match &error["line"] {
            Value::Null => String::new(),
            line => format!("{line}:{} ", error["column"]),
        };
        let hint = error["hint"].as_str().map(|hint| format!(" ({hint})")).unwrap_or_default();
        writeln!(actual, "{sql}\n    {place}{}{hint}", error["message"].as_str().unwrap()).unwrap();
    }
    assert_eq!(actual, cases, "\n{actual}");
}

#[tokio::test]
async fn errors_point_at_their_place() {
    check(
        "\
SELECT evnt_name FROM events
    1:8 there is no column `evnt_name` (did you mean `event_name`?)
SELECT event_name⏎FROM events e⏎WHERE e.sit = 'shop'
    3:7 there is no column `e.sit` (did you mean `site`?)
SELECT zzz FROM (SELECT 1 AS a, 2 AS b)
    1:8 there is no column `zzz` (there are: a, b)
SELECT *⏎FROM evnts
    2:6 there is no table `evnts` (did you mean `events`?)
SELECT cuont(*) FROM events
    1:8 there is no function `cuont` (did you mean `count`?)
SELECT site, count(*) FROM events
    1:8 'events.site' must appear in GROUP BY clause because it's not an aggregate expression (Either add 'events.site' to GROUP BY clause, or use an aggregate function like ANY_VALUE(events.site))
SELEC 1
    1:1 Expected: an SQL statement, found: SELEC
SELECT * FROM events WHERE
    1:27 Expected: an expression, found: EOF
SELECT 'abc
    1:8 Unterminated string literal
SELECT 1; SELECT 2
    1:11 one statement a request: there are several
SELECT CAST('abc' AS INT)
    1:13 Cannot cast string 'abc' to value of Int32 type
SELECT 1 + 'x'
    1:10 Cannot coerce arithmetic expression Int64 + Utf8 to valid types
SELECT event_time + true FROM events
    1:8 Cannot coerce arithmetic expression Timestamp(µs, \"UTC\") + Boolean to valid types
SELECT date_trunc('fortnight', event_time) FROM events
    1:19 Unsupported date_trunc granularity: 'fortnight'. Supported values are: microsecond, millisecond, second, minute, hour, day, week, month, quarter, year
SELECT a.site FROM events a JOIN sessions b ON site = 'x'
    1:48 column 'site' is ambiguous (possible column a.site; possible column b.site)
SELECT sum(site), sum(seq) FROM events
    1:8 No function matches the given name and argument types 'sum(Utf8View)'. You might need to add explicit type casts. (there are: sum(Decimal), sum(UInt64), sum(Int64), sum(Float64), sum(Duration), sum(Interval))
SELECT 1 FROM events WHERE site
    1:28 Cannot create filter with non-boolean predicate 'events.site' returning Utf8View
SELECT 1/0
    1:9 Divide by zero error
-- nothing
    there is no statement
",
    )
    .await;
}

#[tokio::test]
async fn a_condition_that_fails_while_a_file_is_read_is_a_mistake_in_it() {
    check(
        "\
SELECT * FROM events WHERE 10 / search_results > 1
    1:31 Divide by zero error
SELECT * FROM events WHERE CAST(order_id AS BIGINT) = 5
    Cannot cast string 'A-1' to value of Int64 type
SELECT * FROM events⏎WHERE site = 'shop' AND date_trunc(order_id, event_time) IS NULL
    2:25 Granularity of `date_trunc` must be non-null scalar Utf8
",
    )
    .await;
}

#[tokio::test]
async fn a_snippet_shows_the_place() {
    let service = Service::start().await;
    let (_, error) = service.error("SELECT 1,\n\tevnt_name\nFROM events").await;
    assert_eq!(error["snippet"], "\tevnt_name\n\t^");
    let long = format!("SELECT {} evnt_name FROM events", "1,".repeat(100));
    let (_, error) = service.error(&long).await;
    let snippet = error["snippet"].as_str().unwrap();
    let (line, caret) = snippet.split_once('\n').unwrap();
    assert!(line.len() <= 120, "{snippet}");
    assert!(line[caret.len() - 1..].starts_with("evnt_name"), "{snippet}");
}

#[tokio::test]
async fn what_writes_is_refused() {
    let service = Service::start().await;
    let folder = service.folder.path().join("out.csv");
    let copy = format!("COPY (SELECT 1) TO '{}'", folder.display());
    for sql in [
        "INSERT INTO events (event_id) VALUES ('x')",
        "UPDATE events SET site = 'x'",
        "DELETE FROM events",
        "CREATE TABLE t AS SELECT 1",
        "CREATE VIEW v AS SELECT 1",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "DROP TABLE events",
        "SELECT 1 AS a INTO t",
        "SET datafusion.execution.batch_size = 1",
        "RESET datafusion.execution.batch_size",
        "EXPLAIN DROP TABLE events",
        "EXPLAIN ANALYZE INSERT INTO events (event_id) VALUES ('x')",
        "BEGIN",
        "PREPARE p AS SELECT 1",
        "TRUNCATE TABLE events",
        "  /* hidden */ CREATE FUNCTION f() RETURNS INT RETURN 1",
        &copy,
    ] {
        let (status, error) = service.error(sql).await;
        assert_eq!(status, 400, "{sql}: {error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with("only queries run here"), "{sql}: {message}");
        assert_eq!(error["line"], 1, "{sql}");
    }
    assert!(!folder.exists());
    service.rows("SELECT event_id FROM events").await;
}

#[tokio::test]
async fn files_cannot_be_read() {
    let service = Service::start().await;
    let file = service.folder.path().join("secret.csv");
    std::fs::write(&file, "secret\n1\n").unwrap();
    for name in ["/etc/passwd", file.to_str().unwrap()] {
        for sql in [format!("SELECT * FROM '{name}'"), format!("SELECT * FROM \"{name}\"")] {
            let (status, error) = service.error(&sql).await;
            assert_eq!(status, 400, "{sql}: {error}");
            assert!(error["message"].as_str().unwrap().starts_with("there is no table"), "{error}");
        }
    }
    for sql in ["SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM parquet_metadata('x')"] {
        assert_eq!(service.error(sql).await.0, 400);
    }
}

#[tokio::test]
async fn deep_and_long_statements_do_no_harm() {
    let service = Service::start().await;
    let repeat = |before: &str, piece: &str, count: usize, after: &str| {
        format!("{before}{}{after}", piece.repeat(count))
    };
    for sql in [
        repeat("SELECT ", "(", 100_000, "1"),
        repeat("SELECT ", "- ", 100_000, "1"),
        repeat("SELECT ", "NOT ", 50_000, "true"),
        repeat("SELECT 1 WHERE 1 = 0", " OR 1 = 0", 20_000, ""),
        repeat("SELECT 1", "+1", 100_000, ""),
        repeat("SELECT 1", "::INT", 40_000, ""),
        repeat("SELECT 1", " UNION ALL SELECT 1", 10_000, ""),
        repeat("SELECT 1 FROM events", ", events", 10_000, ""),
        repeat("SELECT 1 FROM events", " CROSS JOIN events", 10_000, ""),
        repeat("WITH a AS (SELECT 1)", ", a AS (SELECT * FROM a)", 5_000, " SELECT * FROM a"),
        repeat("SELECT ", "CASE WHEN true THEN 1 ELSE ", 5_000, "1"),
        repeat("SELECT [[1]]", "[1]", 50_000, ""),
        repeat("SELECT 'a'", " ILIKE 'a'", 20_000, ""),
        repeat("SELECT 'a'", " SIMILAR TO 'a'", 15_000, ""),
        repeat("SELECT true", " XOR true", 20_000, ""),
        repeat("SELECT 1", " DIV 1", 40_000, ""),
        repeat("SELECT ", "INTERVAL ", 25_000, "'1 day'"),
        repeat("SELECT 1", " MINUS SELECT 1", 15_000, ""),
    ] {
        let (status, error) = service.error(&sql).await;
        assert_eq!(status, 400, "{}: {error}", &sql[..40]);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("nested too deeply"), "{}: {message}", &sql[..40]);
    }
    // What is long without being deep is no trouble.
    let list = format!("SELECT 1 WHERE 0 IN (1{})", ", -1".repeat(20_000));
    assert_eq!(service.rows(&list).await, serde_json::json!([]));
    for (before, piece, count) in [
        ("SELECT 1 FROM events WHERE seq = 0", " OR seq = 0", 490),
        ("SELECT seq FROM events WHERE seq = 0", "+seq", 990),
        ("SELECT seq FROM events", " UNION ALL SELECT seq FROM events", 400),
    ] {
        let sql = repeat(before, piece, count, "");
        assert_eq!(service.rows(&sql).await, serde_json::json!([]), "{before}");
    }
}

#[tokio::test]
async fn names_that_multiply_a_statement_are_refused_before_it_is_planned() {
    let service = Service::start().await;
    // Each step doubles what the one before it stands for.
    let chain = |first: &str, step: &str, count: usize, last: &str| {
        let mut sql = format!("WITH a0 AS ({first})");
        for index in 1..=count {
            let step = step.replace("before", &format!("a{}", index - 1));
            write!(sql, ", a{index} AS ({step})").unwrap();
        }
        format!("{sql} {}", last.replace("last", &format!("a{count}")))
    };
    let seq = "SELECT seq AS x FROM events";
    let expressions = |count| {
        chain(seq, "SELECT x + x AS x FROM before", count, "SELECT * FROM last WHERE x > 1")
    };
    let queries = |count| {
        let step = "SELECT l.x FROM before l JOIN before r USING (x)";
        chain(seq, step, count, "SELECT * FROM last")
    };
    let subqueries = |count| {
        let step =
            "SELECT 1 AS x WHERE EXISTS (SELECT * FROM before) OR 1 IN (SELECT x FROM before)";
        chain(seq, step, count, "SELECT * FROM last")
    };
    let wide = "SELECT * FROM events a0";
    let columns: String = (1..300).map(|index| format!(", events a{index}")).collect();
    // 41 x 3 joins, in brackets and behind a name.
    let joins =
        "SELECT 1 AS x FROM ((events a JOIN events b ON true) JOIN events c ON true), events d";
    let tables: String = (0..41).map(|index| format!(", a0 l{index}")).collect();
    let brackets = format!("WITH a0 AS ({joins}) SELECT 1 FROM events{tables}");
    for sql in [expressions(60), queries(60), subqueries(60), brackets, format!("{wide}{columns}")]
    {
        let (status, error) = service.error(&sql).await;
        assert_eq!(status, 400, "{}: {error}", &sql[..80]);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("too large to plan"), "{}: {message}", &sql[..80]);
    }
    for sql in [expressions(5), queries(3), subqueries(2)] {
        service.rows(&sql).await;
    }
}
