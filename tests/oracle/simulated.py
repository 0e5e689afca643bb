#!/usr/bin/env python3
"""Holds the tables of simulated runs against the definitions: a run is a line of JSON on standard input,
its differences are a line of JSON, a list of texts, on standard output.

A run has `rules` by their ids (bounds, and each condition as [column, value that it equals]), and the rows
of `events`, `sessions`, `needs` and `page_views`, their times as RFC 3339. Late events count: they were
repaired. A session is held against the rules that its row names.
"""

import decimal
import io
import json
import sys
from contextlib import redirect_stdout

import definitions
import oracle
import reading

MONEY = 10_000


def rules_of(told):
    """(Rules, the conditions in the order of their bits)."""
    conditions = []

    def bit(condition):
        conditions.append(condition)
        return 1 << (len(conditions) - 1)

    names = ("conversion", "page_view", "error", "zero_search", "rage_target")
    bounds = ("gap_us", "cap_us", "events_max", "slow_page_ms")
    rules = definitions.Rules(
        **{name: told[name] for name in bounds},
        **{name: bit(told[name]) for name in names},
        steps=[(name, bit(condition)) for name, condition in told["steps"]],
        needs=[
            definitions.Need(name, bit(raised), bit(found), within_us, max_clicks)
            for name, raised, found, within_us, max_clicks in told["needs"]
        ],
    )
    return rules, conditions


def money(value):
    return None if value is None else int(decimal.Decimal(str(value)) * MONEY)


def event_of(row, conditions):
    given = {
        "time": reading.micros(row["event_time"]),
        "name": row.get("event_name"),
        "bits": sum(1 << i for i, (name, is_) in enumerate(conditions) if row.get(name) == is_),
        "late": row.get("late") is True,
        "value": money(row.get("value")),
    }
    fields = definitions.Event._fields
    return definitions.Event(*(given.get(f, row.get(f)) for f in fields)), row.get("seq") or 0


FORMS = {"time": lambda text: text and reading.micros(text), "money": money}


def row_of(row, columns):
    return tuple(FORMS.get(form, lambda value: value)(row.get(name)) for name, form in columns)


def differences(run):
    editions = {id: rules_of(told) for id, told in run["rules"].items()}
    named = {row["session_id"]: editions[row["config_id"]] for row in run["sessions"]}
    default = next(iter(editions.values()))
    visitors = {}
    for row in run["events"]:
        _, conditions = named.get(row.get("session_id"), default)
        event, seq = event_of(row, conditions)
        order = (event.time, seq, event.event_id.encode())
        visitors.setdefault((event.site, event.visitor_id), []).append((order, event))
    visitors = [[event for _, event in sorted(events)] for events in visitors.values()]
    report, told = oracle.Report(), io.StringIO()
    with redirect_stdout(told):
        expected = oracle.Expected()
        for events in visitors:
            for session, close_cause in definitions.split_sessions(events, default[0]):
                rules, _ = named.get(session[0].session_id, default)
                oracle.add_session(expected, session, close_cause or "timeout", rules)
                oracle.check_session_ids(session, rules, report)
        for table in reading.TABLES:
            columns, _ = reading.table_columns(table)
            rows = [row_of(row, columns) for row in run[table]]
            oracle.compare_table(table, rows, [], expected, False, report)
    lines = told.getvalue().splitlines()
    return [line.strip() for line in lines if line.startswith("  ")] if report.count else []


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(differences(json.loads(line))), flush=True)
