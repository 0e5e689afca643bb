"""Reads what the oracle compares: the events with their conditions as bits, the derived tables, the
rules, the generator's truth. Files are found and decoded here; what they mean is left to
definitions.py.
"""

import datetime
import glob
import json
import os

import duckdb

from definitions import Event, Need, Rules

# Columns of `events` that a condition may name, with the type that stands in where a file lacks one.
EVENT_COLUMNS = {
    **dict.fromkeys(
        """event_id site visitor_id user_id session_id client_session_id event_name log page_view_id
        page_url page_path page_type page_title referrer section info_key target search_id
        search_term cart_id order_id currency coupon utm_source utm_medium utm_campaign utm_term
        utm_content click_id channel user_agent device_type browser os language country region ip
        error consent bot properties""".split(),
        "VARCHAR",
    ),
    **dict.fromkeys(
        "seq x y visible_ms search_results lcp_ms inp_ms ttfb_ms log_offset".split(), "BIGINT"
    ),
    **dict.fromkeys(
        "event_time client_time received_time appended_at".split(), "TIMESTAMP WITH TIME ZONE"
    ),
    **dict.fromkeys("late overflow".split(), "BOOLEAN"),
    "log_partition": "INTEGER",
    "items": """STRUCT(item_id VARCHAR, item_name VARCHAR, item_brand VARCHAR,
        item_category VARCHAR, item_variant VARCHAR, price DECIMAL(18,4), quantity DOUBLE)[]""",
    "value": "DECIMAL(18,4)",
    "cls": "DOUBLE",
    "event_date": "DATE",
}

# The tables' columns by the form in which they are compared; the first ones are a row's key.
TABLES = {
    "sessions": (
        1,
        """session_id:text site:text visitor_id:text user_id:text started_at:time ended_at:time
        duration_ms:whole event_count:whole overflow_count:whole page_view_count:whole engaged:flag
        landing_path:text exit_path:text exit_page_type:text exit_section:text furthest_step:text
        furthest_step_index:whole converted:flag conversion_count:whole value:money currency:text
        channel:text utm_source:text utm_medium:text utm_campaign:text utm_term:text
        utm_content:text device_type:text country:text needs_raised:texts needs_found:texts
        needs_not_found:texts reason:text reasons:texts progress_to_exit_ms:whole close_cause:text
        bot:text revision:whole session_date:date""",
    ),
    "needs": (
        2,
        """session_id:text need:text site:text visitor_id:text raised_at:time raised_path:text
        raised_page_type:text found_at:time info_ms:whole click_count:whole load_ms:whole
        outcome:text left_after_ms:whole left_before_deadline:flag converted:flag revision:whole
        session_date:date""",
    ),
    "page_views": (
        2,
        """session_id:text index_in_session:whole page_view_id:text site:text visitor_id:text
        page_path:text page_type:text started_at:time ended_at:time visible_ms:whole
        click_count:whole lcp_ms:whole is_landing:flag is_exit:flag revision:whole
        session_date:date""",
    ),
}


def table_columns(table):
    """[(name, form)] of a table, and how many of them are its key."""
    key_count, text = TABLES[table]
    return [tuple(column.split(":")) for column in text.split()], key_count


def connect():
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def find_files(paths):
    """Parquet files of files, globs, folders and Delta tables (those that their log names)."""
    files = []
    for path in paths:
        if os.path.isdir(os.path.join(path, "_delta_log")):
            from deltalake import DeltaTable

            files += [uri.removeprefix("file://") for uri in DeltaTable(path).file_uris()]
        elif os.path.isdir(path):
            files += sorted(glob.glob(os.path.join(path, "**", "*.parquet"), recursive=True))
        else:
            found = sorted(glob.glob(path, recursive=True))
            if not found:
                raise SystemExit(f"{path}: no such file")
            files += found
    return files


def make_view(connection, name, files, columns):
    """A view over the files with all of `columns` (name -> type); None where there is no file."""
    if files:
        listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
        source = f"read_parquet([{listed}], union_by_name = true, hive_partitioning = true)"
        present = {row[0] for row in connection.execute(f"DESCRIBE FROM {source}").fetchall()}
    else:
        source, present = "(SELECT 1 WHERE false)", set()
    selected = ", ".join(
        f'CAST("{c}" AS {t}) AS "{c}"' if c in present else f'CAST(NULL AS {t}) AS "{c}"'
        for c, t in columns.items()
    )
    connection.execute(f"CREATE OR REPLACE VIEW {name} AS SELECT {selected} FROM {source}")
    return present


def read_rules(path):
    """(Rules, SQL for `Event.bits`, SQL for `hidden`)."""
    with open(path, encoding="utf-8") as file:
        raw = json.load(file)
    conditions = []

    def bit(sql):
        conditions.append(sql)
        return 1 << (len(conditions) - 1)

    named = raw["conditions"]
    rules = Rules(
        gap_us=raw["session_gap_us"],
        cap_us=raw["session_cap_us"],
        events_max=raw["events_per_session_max"],
        slow_page_ms=raw["slow_page_ms"],
        conversion=bit(named["conversion"]),
        page_view=bit(named["page_view"]),
        error=bit(named["error"]),
        zero_search=bit(named["zero_search"]),
        rage_target=bit(named["rage_target"]),
        steps=[(step["name"], bit(step["when"])) for step in raw["steps"]],
        needs=[
            Need(
                need["name"],
                bit(need["raised_by"]),
                bit(need["found_by"]),
                need["within_us"],
                need["max_clicks"],
            )
            for need in raw["needs"]
        ],
    )
    if len(conditions) > 62:
        raise SystemExit(f"{path}: {len(conditions)} conditions, at most 62 fit")
    bits = " + ".join(
        f"CASE WHEN ({sql}) THEN {1 << index} ELSE 0 END" for index, sql in enumerate(conditions)
    )
    return rules, f"CAST({bits} AS BIGINT)", f"coalesce(({named['hidden']}), false)"


def read_visitors(connection, bits, hidden, include_late):
    """Yields the events of one visitor after another, each a list of Event in order.

    DuckDB compares texts by their UTF-8 bytes, as the order of event ids is defined.
    """
    late = "" if include_late else "AND late IS NOT TRUE"
    fields = {
        "time": "epoch_us(event_time)",
        "name": "event_name",
        "bits": bits,
        "late": "late IS TRUE",
        "value": 'CAST("value" * 10000 AS BIGINT)',
    }
    selected = ", ".join(f"{fields.get(f, chr(34) + f + chr(34))} AS e_{f}" for f in Event._fields)
    cursor = connection.execute(
        f"""SELECT {selected} FROM events
        WHERE visitor_id IS NOT NULL AND NOT {hidden} {late}
        ORDER BY site, visitor_id, event_time, coalesce(seq, 0), event_id"""
    )
    visitor, events = None, []
    while rows := cursor.fetchmany(50_000):
        for event in map(Event._make, rows):
            if (event.site, event.visitor_id) != visitor:
                if events:
                    yield events
                visitor, events = (event.site, event.visitor_id), []
            events.append(event)
    if events:
        yield events


NORMAL_FORMS = {
    "text": ("VARCHAR", '"{}"'),
    "texts": ("VARCHAR[]", '"{}"'),
    "flag": ("BOOLEAN", '"{}"'),
    "whole": ("BIGINT", '"{}"'),
    "time": ("TIMESTAMP WITH TIME ZONE", 'epoch_us("{}")'),
    "date": ("DATE", 'CAST("{}" AS VARCHAR)'),
    "money": ("DECIMAL(34,4)", 'CAST("{}" * 10000 AS HUGEINT)'),
}


def read_table(connection, table, paths):
    """(rows of a derived table in the form of their definitions, names of columns it lacks)."""
    columns, _ = table_columns(table)
    types = {name: NORMAL_FORMS[form][0] for name, form in columns}
    files = find_files(paths)
    present = make_view(connection, table, files, types)
    missing = [name for name, _ in columns if name not in present] if files else []
    selected = ", ".join(NORMAL_FORMS[form][1].format(name) for name, form in columns)
    rows = connection.execute(f"SELECT {selected} FROM {table}").fetchall()
    return rows, missing


def read_truth(path):
    """The generator's rows, their times as microseconds."""
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    for row in rows:
        for field in ("raised_at", "found_at", "session_started_at", "session_ended_at"):
            if row.get(field) is not None:
                row[field] = micros(row[field])
    return rows


def micros(text):
    moment = datetime.datetime.fromisoformat(text)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return (moment - epoch) // datetime.timedelta(microseconds=1)
