//! The protocol of Postgres, byte by byte, where no client goes: malformed messages, bounds, and the order of
//! answers. What real clients do with it is in `tests/e2e/clients.rs`.

mod protocol;

use std::time::Duration;

use footfall_query::QuerySettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use protocol::{Client, bind, execute, field, message, parse, start, startup, text, told, value};

#[tokio::test]
async fn statements_of_one_message_end_with_the_first_mistake() {
    let server = start(QuerySettings::default()).await;
    let mut client = Client::open(&server).await;
    assert_eq!(client.query("SELECT 1; SELECT 2").await.0, "TDCTDCZ");
    let (kinds, code) = client.query("SELECT 1; SELECT nothing; SELECT 2").await;
    assert_eq!((kinds.as_str(), code.as_deref()), ("TDCEZ", Some("42703")));
    assert_eq!(client.query(" ; ").await.0, "IZ");
    let many = "SELECT 1;".repeat(101);
    assert_eq!(client.query(&many).await.1.as_deref(), Some("54000"));
    assert_eq!(client.query("SELECT 1").await.0, "TDCZ");
}

#[tokio::test]
async fn what_would_write_or_reach_beyond_the_tables_is_refused() {
    let server = start(QuerySettings::default()).await;
    let mut client = Client::open(&server).await;
    for sql in [
        "CREATE TABLE t (a INT)",
        "INSERT INTO events VALUES (1)",
        "DELETE FROM events",
        "DROP TABLE events",
        "COPY events FROM STDIN",
        "COPY events TO '/tmp/events'",
        "COPY (SELECT 1) TO PROGRAM 'cat'",
        "SELECT 1 INTO t",
        "EXPLAIN INSERT INTO events VALUES (1)",
        "WITH t AS (DELETE FROM events RETURNING *) SELECT * FROM t",
        "SELECT * FROM '/etc/passwd'",
        "VACUUM",
        "SET ROLE other",
        "DO $$ BEGIN END $$",
    ] {
        let (kinds, code) = client.query(sql).await;
        assert!(kinds == "EZ" && code.is_some(), "{sql}: {kinds} {code:?}");
    }
    assert_eq!(client.query("SELECT count(*) FROM events").await.0, "TDCZ");
}

#[tokio::test]
async fn a_transaction_that_failed_only_ends() {
    let server = start(QuerySettings::default()).await;
    let mut client = Client::open(&server).await;
    client.query("BEGIN").await;
    client.query("SAVEPOINT a").await;
    assert_eq!(client.query("SELECT nothing").await.1.as_deref(), Some("42703"));
    assert_eq!(client.query("SELECT 1").await.1.as_deref(), Some("25P02"));
    assert_eq!(client.query("ROLLBACK TO SAVEPOINT a").await.1, None);
    assert_eq!(client.query("SELECT 1").await.1, None);
    client.send(b'Q', &text("COMMIT")).await;
    let ended = client.until('Z').await;
    assert_eq!(ended.last().map(|(_, status)| status.as_slice()), Some(b"I".as_slice()));
    assert_eq!(client.query("SAVEPOINT a").await.1.as_deref(), Some("25P01"));
}

#[tokio::test]
async fn after_a_mistake_all_is_skipped_up_to_sync() {
    let server = start(QuerySettings::default()).await;
    let mut client = Client::open(&server).await;
    let batch = [
        parse("", "SELECT nothing"),
        bind("", "", &[]),
        execute("", 0),
        parse("kept", "SELECT $1::BIGINT + 1"),
        message(b'S', &[]),
        parse("kept", "SELECT $1::BIGINT + 1"),
        bind("", "kept", &["41"]),
        execute("", 0),
        message(b'S', &[]),
    ];
    client.0.write_all(&batch.concat()).await.unwrap();
    assert_eq!(told(&client.until('Z').await), ("EZ".to_owned(), Some("42703".to_owned())));
    let answer = client.until('Z').await;
    assert_eq!(told(&answer).0, "12DCZ");
    let row = &answer[2].1;
    assert_eq!(&row[row.len() - 2..], b"42");
}

#[tokio::test]
async fn a_portal_gives_as_many_rows_as_are_asked_for() {
    let server = start(QuerySettings::default()).await;
    let mut client = Client::open(&server).await;
    let batch = [
        parse("", "SELECT value FROM generate_series(1, 5)"),
        bind("p", "", &[]),
        execute("p", 2),
        execute("p", 2),
        execute("p", u32::MAX),
        message(b'S', &[]),
    ];
    client.0.write_all(&batch.concat()).await.unwrap();
    assert_eq!(told(&client.until('Z').await).0, "12DDsDDsDCZ");
    // It ended with its transaction.
    client.0.write_all(&[execute("p", 0), message(b'S', &[])].concat()).await.unwrap();
    assert_eq!(told(&client.until('Z').await).1.as_deref(), Some("34000"));
}

#[tokio::test]
async fn cursors_that_are_left_open_leave_a_place_to_others() {
    let settings = QuerySettings { concurrency_max: 2, ..QuerySettings::default() };
    let server = start(settings).await;
    let (mut a, mut b) = (Client::open(&server).await, Client::open(&server).await);
    let open =
        "BEGIN; DECLARE c CURSOR FOR SELECT value FROM generate_series(1, 100000); FETCH 1 FROM c";
    assert_eq!(a.query(open).await.1, None);
    assert_eq!(b.query(open).await.1.as_deref(), Some("53300"));
    assert_eq!(b.query("ROLLBACK").await.1, None);
    assert_eq!(b.query("SELECT 1").await.1, None);
    assert_eq!(a.query("FETCH 2 FROM c").await.0, "TDDCZ");
    assert_eq!(a.query("FETCH BACKWARD 1 FROM c").await.1.as_deref(), Some("0A000"));
}

#[tokio::test]
async fn statements_and_cursors_have_a_bound() {
    let server = start(QuerySettings::default()).await;
    let mut client = Client::open(&server).await;
    let mut batch: Vec<u8> = (0..1001).flat_map(|n| parse(&format!("s{n}"), "SELECT 1")).collect();
    batch.extend(message(b'S', &[]));
    client.0.write_all(&batch).await.unwrap();
    assert_eq!(told(&client.until('Z').await).1.as_deref(), Some("53400"));
    // One without a name is none more.
    let batch = [parse("", "SELECT 1"), bind("", "", &[]), execute("", 0), message(b'S', &[])];
    client.0.write_all(&batch.concat()).await.unwrap();
    assert_eq!(told(&client.until('Z').await).0, "12DCZ");
    assert_eq!(client.query("DEALLOCATE ALL").await.1, None);
    let mut batch = parse("", "SELECT 1");
    batch.extend((0..51).flat_map(|n| bind(&format!("p{n}"), "", &[])));
    batch.extend(message(b'S', &[]));
    client.0.write_all(&batch).await.unwrap();
    assert_eq!(told(&client.until('Z').await).1.as_deref(), Some("53400"));
    for (sql, code) in [("SELECT $1001", "54023"), ("SELECT $3", "42P18"), ("SELECT $a", "42P02")] {
        let batch = [parse("", sql), message(b'S', &[])].concat();
        client.0.write_all(&batch).await.unwrap();
        assert_eq!(told(&client.until('Z').await).1.as_deref(), Some(code), "{sql}");
    }
    let long = "x".repeat(900 * 1024);
    let mut batch = parse("", "SELECT length($1::TEXT)");
    batch.extend((0..5).flat_map(|n| bind(&format!("p{n}"), "", &[&long])));
    batch.extend(message(b'S', &[]));
    client.0.write_all(&batch).await.unwrap();
    assert_eq!(told(&client.until('Z').await), ("12222EZ".to_owned(), Some("53400".to_owned())));
}

#[tokio::test]
async fn malformed_messages_end_their_connection_alone() {
    let server = start(QuerySettings::default()).await;
    let long = [b"Q".as_slice(), &(1_u32 << 30).to_be_bytes()].concat();
    let short = [b"Q".as_slice(), &1_u32.to_be_bytes()].concat();
    let formats = [text(""), text(""), 9_u16.to_be_bytes().to_vec()].concat();
    for bytes in [
        long,
        short,
        message(b'B', &formats),
        message(b'P', b"no end"),
        message(b'E', b""),
        message(0xff, b""),
        [b"S".as_slice(), &(-1_i32).to_be_bytes()].concat(),
    ] {
        let mut client = Client::open(&server).await;
        client.0.write_all(&bytes).await.unwrap();
        client.send(b'S', &[]).await;
        let answer = client.until('\0').await;
        assert!(told(&answer).1.is_some(), "{bytes:?}: {answer:?}");
    }
    let mut client = Client::open(&server).await;
    // More formats than there are columns, and a portal that is none.
    let mut body = [text(""), text(""), vec![0, 0, 0, 0], 3_u16.to_be_bytes().to_vec()].concat();
    body.extend([0, 1, 0, 1, 0, 1]);
    let batch = [parse("", "SELECT 1"), message(b'B', &body), message(b'S', &[])].concat();
    client.0.write_all(&batch).await.unwrap();
    assert_eq!(told(&client.until('Z').await).1.as_deref(), Some("08P01"));
    assert_eq!(client.query("SELECT 1").await.0, "TDCZ");
}

#[tokio::test]
async fn a_first_message_that_is_none_is_refused() {
    let server = start(QuerySettings::default()).await;
    for bytes in [
        startup(131_072, &[("user", "test")]),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        [9_u32.to_be_bytes().as_slice(), &196_608_u32.to_be_bytes(), b"x"].concat(),
        [u32::MAX.to_be_bytes(), 196_608_u32.to_be_bytes()].concat(),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let ended = tokio::time::timeout(Duration::from_secs(20), read).await;
        assert!(ended.is_ok(), "{bytes:?}");
        assert!(answer.is_empty() || answer[0] == b'E', "{bytes:?}: {answer:?}");
    }
    // TLS and Kerberos are asked for, refused, and then it goes on in the clear; a newer protocol is talked down.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for code in [80_877_104_u32, 80_877_103] {
        stream.write_all(&[8_u32.to_be_bytes(), code.to_be_bytes()].concat()).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'N');
    }
    let newer = startup(196_610, &[("user", "test"), ("_pq_.more", "1")]);
    stream.write_all(&newer).await.unwrap();
    let greeting = Client(stream).until('Z').await;
    assert_eq!(greeting[0].0, 'v');
    assert!(String::from_utf8_lossy(&greeting[0].1).contains("_pq_.more"));
}

#[tokio::test]
async fn a_cancel_needs_the_secret_and_ends_the_statement_alone() {
    let server = start(QuerySettings::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&startup(196_608, &[("user", "test")])).await.unwrap();
    let mut client = Client(stream);
    let greeting = client.until('Z').await;
    let key = greeting.into_iter().find(|(kind, _)| *kind == 'K').unwrap().1;
    let cancel = async |secret: &[u8]| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let body = [&80_877_102_u32.to_be_bytes(), &key[..4], secret].concat();
        let length = (body.len() as u32 + 4).to_be_bytes();
        stream.write_all(&[length.as_slice(), &body].concat()).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
    };
    let endless = "SELECT count(*) FROM generate_series(1, 100000000000)";
    client.send(b'Q', &text(endless)).await;
    cancel(&[0, 0, 0, 0]).await;
    let early = tokio::time::timeout(Duration::from_millis(300), client.next()).await;
    assert!(early.is_err(), "{early:?}");
    cancel(&key[4..]).await;
    assert_eq!(told(&client.until('Z').await).1.as_deref(), Some("57014"));
    assert_eq!(client.query("SELECT 1").await.1, None);
    client.query("SET statement_timeout = 200").await;
    assert_eq!(client.query(endless).await.1.as_deref(), Some("57014"));
    assert_eq!(client.query("RESET statement_timeout; SELECT 1").await.1, None);
}

#[tokio::test]
async fn a_deep_statement_is_refused_before_it_is_read() {
    let server = start(QuerySettings::default()).await;
    let mut client = Client::open(&server).await;
    for deep in [
        format!("SELECT 1{}", " + 1".repeat(5000)),
        format!("SELECT {}1", "- ".repeat(5000)),
        format!("SELECT 1{}", "::int".repeat(5000)),
        format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000)),
        format!("SELECT 1{}", " OPERATOR(pg_catalog.+) 1".repeat(5000)),
    ] {
        assert!(client.query(&deep).await.1.is_some());
    }
    let long = format!("SELECT '{}'", "x".repeat(300 * 1024));
    client.send(b'Q', &text(&long)).await;
    assert_eq!(told(&client.until('\0').await).1.as_deref(), Some("08P01"));
}

#[tokio::test]
async fn settings_are_kept_but_for_those_that_would_change_an_answer() {
    let server = start(QuerySettings::default()).await;
    let mut client = Client::open(&server).await;
    for (sql, code) in [
        ("SET client_encoding = 'LATIN1'", "22023"),
        ("SET DateStyle = 'German'", "22023"),
        ("SET server_version = '17'", "55P02"),
        ("SET statment_timeout = 1", "42704"),
        ("SET statement_timeout = '5 weeks'", "22023"),
        ("SELECT set_config('statement_timeout', '1s', false)", "42000"),
        ("SHOW nothing", "42704"),
    ] {
        assert_eq!(client.query(sql).await.1.as_deref(), Some(code), "{sql}");
    }
    for (set, show, shown) in [
        ("SET client_encoding TO 'utf-8'", "SHOW client_encoding", "UTF8"),
        ("SET application_name = 'test'", "SHOW application_name", "test"),
        ("SET statement_timeout = '2min'", "SELECT current_setting('statement_timeout')", "2min"),
        ("RESET statement_timeout", "SHOW statement_timeout", "0"),
        ("SET search_path = a, b", "SHOW search_path", "a, b"),
        ("DISCARD ALL", "SHOW search_path", "public"),
    ] {
        assert_eq!(client.query(set).await.1, None, "{set}");
        client.send(b'Q', &text(show)).await;
        assert_eq!(value(&client.until('Z').await).as_deref(), Some(shown), "{set}");
    }
    // Times stay in UTC, and the client is told.
    assert_eq!(client.query("SET TIME ZONE 'Europe/Berlin'").await.0, "NCZ");
    assert_eq!(client.query("SET TIME ZONE 'UTC'").await.0, "CZ");
}

#[tokio::test]
async fn a_pattern_may_have_another_sign_than_the_backslash() {
    let server = start(QuerySettings::default()).await;
    let mut client = Client::open(&server).await;
    for (sql, matches) in [
        ("SELECT 'pg_x' LIKE 'pg/_%' ESCAPE '/'", "t"),
        ("SELECT 'pgax' LIKE 'pg/_%' ESCAPE '/'", "f"),
        ("SELECT 'a/b' LIKE 'a//b' ESCAPE '/'", "t"),
        (r"SELECT 'a\b' LIKE 'a\b' ESCAPE '!'", "t"),
        ("SELECT 'pg_x' LIKE 'pg/_' || '%' ESCAPE '/'", "t"),
        ("SELECT 'pgax' NOT LIKE 'pg/_' || '%' ESCAPE '/'", "t"),
        ("SELECT 'PG_X' ILIKE 'pg!_%' ESCAPE '!'", "t"),
    ] {
        client.send(b'Q', &text(sql)).await;
        let answer = client.until('Z').await;
        assert_eq!(value(&answer).as_deref(), Some(matches), "{sql}: {:?}", told(&answer));
    }
}

#[tokio::test]
async fn a_text_is_read_as_the_type_of_its_placeholder() {
    let server = start(QuerySettings::default()).await;
    let mut client = Client::open(&server).await;
    for (data_type, bound, expected) in [
        ("BIGINT", "5", Ok("5")),
        ("BOOLEAN", "t", Ok("t")),
        ("NUMERIC(10, 2)", "1.50", Ok("1.50")),
        ("DATE", "2026-11-28 +00", Ok("2026-11-28")),
        ("TEXT", "it's; -- $1", Ok("it's; -- $1")),
        ("BIGINT", "x", Err("22P02")),
        ("INT", "5.5", Err("22P02")),
    ] {
        let sql = format!("SELECT $1::{data_type}");
        let batch =
            [parse("", &sql), bind("", "", &[bound]), execute("", 0), message(b'S', &[])].concat();
        client.0.write_all(&batch).await.unwrap();
        let answer = client.until('Z').await;
        match expected {
            Ok(expected) => {
                assert_eq!(value(&answer).as_deref(), Some(expected), "{sql}: {:?}", told(&answer));
            }
            Err(code) => assert_eq!(told(&answer).1.as_deref(), Some(code), "{sql}"),
        }
    }
    let batch = [parse("", "SELECT 1"), bind("", "", &["1"]), message(b'S', &[])].concat();
    client.0.write_all(&batch).await.unwrap();
    assert_eq!(told(&client.until('Z').await).1.as_deref(), Some("08P01"));
}

#[tokio::test]
async fn an_error_tells_its_place_in_a_message_of_several_lines() {
    let server = start(QuerySettings::default()).await;
    let mut client = Client::open(&server).await;
    client.send(b'Q', &text("SELECT 'é',\n  nothing\nFROM events")).await;
    let answer = client.until('Z').await;
    let error = &answer.iter().find(|(kind, _)| *kind == 'E').unwrap().1;
    assert_eq!((field(error, b'C').as_str(), field(error, b'P').as_str()), ("42703", "15"));
}

/// The rewriter of questions of the catalog leaves out what it cannot plan; nothing else is given to it.
#[tokio::test]
async fn only_questions_of_the_catalog_are_rewritten() {
    let server = start(QuerySettings::default()).await;
    let mut client = Client::open(&server).await;
    for (sql, expected) in [
        (
            "WITH events AS (SELECT 7 AS k UNION ALL SELECT count(*) FROM events) \
             SELECT (SELECT count(*) FROM events AS x WHERE x.k = e.k) FROM events AS e \
             ORDER BY e.k DESC LIMIT 1",
            "1",
        ),
        (
            "SELECT (SELECT count(*) FROM generate_series(1, 9) AS x WHERE x.value = g.value) \
             FROM generate_series(3, 3) AS g",
            "1",
        ),
        ("SELECT (SELECT 5)", "5"),
        ("SELECT current_user", "test"),
        ("SELECT count(*) FROM pg_catalog.pg_class WHERE relname = 'events'", "1"),
    ] {
        client.send(b'Q', &text(sql)).await;
        let answer = client.until('Z').await;
        assert_eq!(value(&answer).as_deref(), Some(expected), "{sql}: {:?}", told(&answer));
    }
    // What DataFusion has no words for is an error, and no NULL.
    for sql in ["SELECT (named_struct('a', 7)).a", "SELECT ARRAY(SELECT 1)"] {
        assert!(client.query(sql).await.1.is_some(), "{sql}");
    }
    let batch = [
        parse("", "SELECT (SELECT $1::int)"),
        bind("", "", &["5"]),
        execute("", 0),
        message(b'S', &[]),
    ];
    client.0.write_all(&batch.concat()).await.unwrap();
    assert_eq!(value(&client.until('Z').await).as_deref(), Some("5"));
}

#[tokio::test]
async fn a_cursor_whose_time_is_over_gives_its_place_back_and_says_so() {
    let settings = QuerySettings {
        concurrency_max: 2,
        time_max: Duration::from_secs(1),
        process_bytes_max: Some(1 << 40),
        ..QuerySettings::default()
    };
    let server = start(settings).await;
    let (mut a, mut b) = (Client::open(&server).await, Client::open(&server).await);
    let open = "BEGIN; DECLARE c CURSOR FOR SELECT value FROM generate_series(1, 10000000); FETCH 1 FROM c";
    assert_eq!(a.query(open).await.1, None);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(b.query(open).await.1, None);
    assert!(a.query("FETCH 1000000 FROM c").await.1.is_some());
    assert_eq!(a.query("ROLLBACK").await.1, None);
    assert_eq!(a.query("SELECT 1").await.1, None);
}

#[tokio::test]
async fn what_is_set_for_a_transaction_ends_with_it() {
    let server = start(QuerySettings::default()).await;
    let mut client = Client::open(&server).await;
    client.query("BEGIN; SET LOCAL statement_timeout = 100").await;
    client.send(b'Q', &text("SHOW statement_timeout")).await;
    assert_eq!(value(&client.until('Z').await).as_deref(), Some("100"));
    client.query("COMMIT").await;
    client.send(b'Q', &text("SHOW statement_timeout")).await;
    assert_eq!(value(&client.until('Z').await).as_deref(), Some("0"));
    assert_eq!(client.query("SET LOCAL statement_timeout = 100").await.0, "NCZ");
    // The time that a statement has begins with it, also in the message that sets it.
    let endless =
        "SET statement_timeout = 200; SELECT count(*) FROM generate_series(1, 100000000000)";
    assert_eq!(client.query(endless).await.1.as_deref(), Some("57014"));
    client.query("DISCARD PLANS").await;
    client.send(b'Q', &text("SHOW statement_timeout")).await;
    assert_eq!(value(&client.until('Z').await).as_deref(), Some("200"));
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let parameters =
        [("user", "test"), ("options", "-c statement_timeout=300 --application-name=x")];
    stream.write_all(&startup(196_608, &parameters)).await.unwrap();
    let mut client = Client(stream);
    client.until('Z').await;
    client.send(b'Q', &text("SHOW statement_timeout")).await;
    assert_eq!(value(&client.until('Z').await).as_deref(), Some("300"));
}

#[tokio::test]
async fn copy_tells_an_empty_text_from_null() {
    let server = start(QuerySettings::default()).await;
    let mut client = Client::open(&server).await;
    let row = "SELECT '' AS a, NULL AS b, 'q\"x' AS c, 'y,z' AS d";
    for (options, expected) in [
        ("", "\t\\N\tq\"x\ty,z\n"),
        ("WITH (FORMAT csv)", "\"\",,\"q\"\"x\",\"y,z\"\n"),
        ("WITH (FORMAT csv, HEADER)", "a,b,c,d\n\"\",,\"q\"\"x\",\"y,z\"\n"),
        ("WITH (FORMAT csv, ESCAPE '!')", "\"\",,\"q!\"x\",\"y,z\"\n"),
        ("WITH (FORMAT csv, DELIMITER ';', NULL 'y,z')", ";y,z;\"q\"\"x\";\"y,z\"\n"),
    ] {
        client.send(b'Q', &text(&format!("COPY ({row}) TO STDOUT {options}"))).await;
        let answer = client.until('Z').await;
        let lines = answer.iter().filter(|(kind, _)| *kind == 'd');
        let lines: Vec<u8> = lines.flat_map(|(_, line)| line.clone()).collect();
        assert_eq!(String::from_utf8_lossy(&lines), expected, "{options}: {:?}", told(&answer));
    }
}
