"""psycopg 3 against Footfall: log-in, every column of events, bound values, a million rows, cancel, time-out.

usage: psycopg_client.py DSN"""

import datetime
import decimal
import resource
import sys
import threading
import uuid

import psycopg

dsn = sys.argv[1]

with psycopg.connect(dsn, autocommit=True) as connection:
    columns = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'events' ORDER BY ordinal_position"
    ).fetchall()
    names = [name for (name,) in columns]
    assert len(names) > 50, names
    # Types as Postgres calls them, and only views among the views.
    types = dict(connection.execute(
        "SELECT c.column_name, c.data_type || ' ' || c.udt_name FROM information_schema.columns c"
        " WHERE table_schema = 'public' AND table_name = 'events'"
    ).fetchall())
    wanted = {"event_id": "text text", "event_time": "timestamp with time zone timestamptz",
              "x": "bigint int8", "late": "boolean bool", "items": "ARRAY _record",
              "event_date": "date date", "cls": "double precision float8"}
    assert wanted.items() <= types.items(), types
    ((precision, scale),) = connection.execute(
        "SELECT numeric_precision, numeric_scale FROM information_schema.columns"
        " WHERE columns.table_name = 'events' AND columns.column_name = 'value'"
    ).fetchall()
    assert (precision, scale) == (18, 4)
    views = {name for (name,) in connection.execute("SELECT table_name FROM information_schema.views")}
    assert "abandonment" in views and "events" not in views, views
    kinds = dict(connection.execute("SELECT table_name, table_type FROM information_schema.tables").fetchall())
    assert kinds["events"] == "BASE TABLE" and kinds["page_speed"] == "VIEW", kinds
    # Names of needs and steps are bound as any value.
    ((raised,),) = connection.execute("SELECT count(*) FROM needs(%s)", ["delivery"]).fetchall()
    assert raised > 0
    levels = connection.execute(
        "SELECT entered FROM funnel('view_item', %s, exclude(%s, after => 1, before => 2))",
        ["purchase", "add_to_cart"],
    ).fetchall()
    assert len(levels) == 2 and levels[0][0] > 0, levels
    # Every column, in text and in binary: values, and where a column has none, NULL.
    for binary in (False, True):
        with connection.cursor(binary=binary) as cursor:
            cursor.execute("SELECT * FROM events ORDER BY event_time, event_id LIMIT 50")
            assert [column.name for column in cursor.description] == names
            rows = cursor.fetchall()
            assert len(rows) == 50
            assert any(value is None for row in rows for value in row)
            kinds = {type(value) for row in rows for value in row}
            wanted = {str, int, float, datetime.datetime, datetime.date, bool}
            assert wanted <= kinds, kinds
        if binary:
            # A record is of texts alone where it comes as one.
            flat = [name for name in names if name not in ("items", "properties")]
            assert len(flat) >= len(names) - 2
            plain = lambda row: [value for name, value in zip(names, row) if name in flat]
            assert [plain(row) for row in rows] == [plain(row) for row in before]
        before = rows

    # Bound values of all kinds, NULL among them.
    number = decimal.Decimal("12345678901234567890.123456789")
    for binary in (False, True):
        with connection.cursor(binary=binary) as cursor:
            for value in (5, 2**20, 2**40, 1.5, number, uuid.UUID("68656c6c-6f20-776f-726c-642121212121")):
                ((answer,),) = cursor.execute("SELECT %s", [value]).fetchall()
                assert str(answer) == str(value), (binary, value, answer)
    ((same,),) = connection.execute(
        "SELECT '68656c6c-6f20-776f-726c-642121212121' = %s", [uuid.UUID("68656c6c-6f20-776f-726c-642121212121")]
    ).fetchall()
    assert same
    now = datetime.datetime(2026, 11, 1, 12, tzinfo=datetime.timezone.utc)
    for value in (1, 2**40, 1.5, True, "it's", now, now.date(), decimal.Decimal("12.50"), None):
        ((answer,),) = connection.execute("SELECT %s", [value]).fetchall()
        assert answer == value or str(answer) == str(value), (value, answer)
    ((count,),) = connection.execute(
        "SELECT count(*) FROM events WHERE event_name = %s AND event_time >= %s AND site = %s",
        ["view_item", "2020-01-01", "default"],
    ).fetchall()
    assert count > 0
    ((steps,),) = connection.execute(
        "SELECT count(*) FROM funnel('view_item', event_name = %s, within => %s)",
        ["purchase", "1 hour"],
    ).fetchall()
    assert steps == 2, steps

    # Prepared by the server after some uses.
    for number in range(8):
        ((answer,),) = connection.execute("SELECT %s::BIGINT + 1", [number]).fetchall()
        assert answer == number + 1

    # A million rows pass through; the client's memory shows that they come in pieces.
    with psycopg.connect(dsn) as reading, reading.cursor(name="rows") as cursor:
        cursor.itersize = 10_000
        cursor.execute("SELECT value FROM generate_series(1, 1000000)")
        total = sum(value for (value,) in cursor)
        assert total == 500_000_500_000, total

    # A cursor with values, in text and in binary.
    for binary in (False, True):
        with psycopg.connect(dsn) as reading, reading.cursor(name="some", binary=binary) as cursor:
            cursor.itersize = 2
            cursor.execute("SELECT value FROM generate_series(1, 5) WHERE value > %s", [2])
            assert [value for (value,) in cursor] == [3, 4, 5]

    # A gigabyte in a million rows: what the server would gather of it shows in its memory, which the test reads.
    with connection.cursor() as cursor:
        count = sum(1 for _ in cursor.stream("SELECT repeat('x', 1000) FROM generate_series(1, 1000000)", size=1000))
    assert count == 1_000_000, count

    lines = 0
    with connection.cursor() as cursor:
        with cursor.copy("COPY (SELECT value, NULL AS n FROM generate_series(1, 1000000)) TO STDOUT") as copy:
            for piece in copy:
                lines += bytes(piece).count(b"\n")
    assert lines == 1_000_000, lines
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 400_000

    # Cancel, and a time-out; the connection goes on.
    endless = "SELECT count(*) FROM generate_series(1, 100000000000)"
    timer = threading.Timer(0.5, connection.cancel)
    timer.start()
    try:
        connection.execute(endless)
        raise SystemExit("it was not cancelled")
    except psycopg.errors.QueryCanceled as error:
        assert "user request" in str(error), error
    connection.execute("SET statement_timeout = '300ms'")
    try:
        connection.execute(endless)
        raise SystemExit("it had no time-out")
    except psycopg.errors.QueryCanceled as error:
        assert "statement timeout" in str(error), error
    connection.execute("RESET statement_timeout")

    # A transaction with a savepoint and a mistake in it.
    with connection.transaction():
        try:
            with connection.transaction():
                connection.execute("SELECT no_such_column FROM events")
        except psycopg.errors.UndefinedColumn as error:
            assert error.diag.message_hint and error.diag.statement_position == "8", error
        assert connection.execute("SELECT 1").fetchone() == (1,)
    try:
        connection.execute("CREATE TABLE t (a int)")
        raise SystemExit("it wrote")
    except psycopg.errors.ReadOnlySqlTransaction:
        pass

print("psycopg", psycopg.__version__)
