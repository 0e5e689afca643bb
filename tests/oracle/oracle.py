#!/usr/bin/env python3
"""Computes `sessions`, `needs` and `page_views` from `events` by brute force and compares them.

    oracle.py --events EVENTS… --rules rules.json
              [--sessions S…] [--needs N…] [--page-views P…] [--truth truth.jsonl]
              [--watermark MICROS | --watermark PARTITION=MICROS …] [--closed-only]
              [--include-late] [--check-events]

Each table is a list of Parquet files, globs, folders or Delta tables. Prints the counts and the
first differences; ends with 0 where all is equal, with 1 where anything differs.
"""

import argparse
import sys

import definitions
import reading

DIFFERENCES_SHOWN = 20


class Report:
    """Counts differences and prints the first of them."""

    def __init__(self):
        self.count = 0

    def difference(self, text):
        self.count += 1
        if self.count <= DIFFERENCES_SHOWN:
            print(f"  {text}")


class Watermarks:
    """Up to where each partition's log was read; without any, all sessions are closed."""

    def __init__(self, texts):
        self.of_all, self.of_partition = None, {}
        for text in texts or []:
            partition, equals, micros = text.rpartition("=")
            if equals:
                self.of_partition[int(partition)] = int(micros)
            else:
                self.of_all = int(micros)

    def of(self, partition):
        """Microseconds, or None without limit."""
        if not self.of_partition:
            return self.of_all
        watermark = self.of_partition.get(partition, self.of_all)
        if watermark is None:
            raise SystemExit(f"no --watermark for partition {partition}, which has events")
        return watermark

    def lowest(self):
        """Where a visitor without any event must have been read up to, wherever they belong."""
        return min(self.of_partition.values(), default=self.of_all)


class Expected:
    """The three tables as the definitions give them, keyed like the rows compared with them."""

    def __init__(self):
        self.tables = {table: {} for table in reading.TABLES}
        self.open_sessions = set()
        self.partition_of = {}
        self.event_count = 0

    def add(self, table, row):
        columns, key_count = reading.table_columns(table)
        values = tuple(row[name] for name, _ in columns)
        self.tables[table][values[:key_count]] = values


def compute(visitors, rules, watermarks, report, check_events):
    expected = Expected()
    for events in visitors:
        visitor = (events[0].site, events[0].visitor_id)
        expected.partition_of[visitor] = events[0].log_partition
        watermark = watermarks.of(events[0].log_partition)
        if watermark is not None:
            events = [event for event in events if event.time < watermark]
        expected.event_count += len(events)
        if check_events:
            check_none_refused(events, report)
        for session, close_cause in definitions.split_sessions(events, rules):
            if close_cause is None and watermark is None:
                close_cause = "end_of_load"
            elif close_cause is None and session[-1].time + rules.gap_us < watermark:
                close_cause = "timeout"
            add_session(expected, session, close_cause, rules)
            if check_events:
                check_session_ids(session, rules, report)
    return expected


def add_session(expected, events, close_cause, rules):
    session, needs, views = definitions.fold_session(events, close_cause, rules)
    if session is None:
        first = events[0]
        expected.open_sessions.add(
            definitions.session_id(first.site, first.visitor_id, first.event_id)
        )
    else:
        expected.add("sessions", session)
    for row in needs:
        expected.add("needs", row)
    for row in views:
        expected.add("page_views", row)


def check_none_refused(events, report):
    """How many sessions were open is not recounted here: a lake that refuses none is expected."""
    for event in events:
        if event.refused:
            report.difference(f"event {event.event_id} of {event.visitor_id} found no room")


def check_session_ids(events, rules, report):
    first = events[0]
    session_id = definitions.session_id(first.site, first.visitor_id, first.event_id)
    for index, event in enumerate(events):
        found = (event.session_id, event.overflow is True)
        wanted = (session_id, index >= rules.events_max)
        if found != wanted:
            report.difference(
                f"event {event.event_id} of {event.visitor_id}: (session_id, overflow) is {found},"
                f" expected {wanted}"
            )


def compare_table(table, rows, missing, expected, closed_only, report):
    columns, key_count = reading.table_columns(table)
    names = [name for name, _ in columns]
    for name in missing:
        report.difference(f"{table}: no column {name}")
    skipped = expected.open_sessions if closed_only else set()
    wanted = {
        key: row for key, row in expected.tables[table].items() if key[0] not in skipped
    }
    seen, equal, before = set(), 0, report.count
    for row in rows:
        key = row[:key_count]
        if key[0] in skipped:
            continue
        if key in seen:
            report.difference(f"{table} {key}: a second row with this key")
            continue
        seen.add(key)
        if key not in wanted:
            report.difference(f"{table} {key}: not expected: {dict(zip(names, row))}")
        elif row == wanted[key]:
            equal += 1
        else:
            fields = [
                f"{name} is {is_!r}, expected {should!r}"
                for name, is_, should in zip(names, row, wanted[key])
                if is_ != should
            ]
            report.difference(f"{table} {key}: {'; '.join(fields)}")
    for key in wanted.keys() - seen:
        report.difference(f"{table} {key}: missing: {dict(zip(names, wanted[key]))}")
    print(
        f"{table}: {len(rows)} rows, {len(wanted)} expected, {equal} equal,"
        f" {report.count - before} differences"
    )


# What a row of truth says beside its key, and the column of `needs` that must agree.
TRUTH_FIELDS = (
    "outcome found_at click_count converted info_ms left_after_ms left_before_deadline"
    " raised_path raised_page_type"
).split()


def compare_truth(truth, need_rows, expected, rules, watermarks, report):
    """`need_rows` against what the generator meant, sessions still open left out."""
    names = [name for name, _ in reading.table_columns("needs")[0]]
    found = {}
    for row in need_rows:
        row = dict(zip(names, row))
        found[row["site"], row["visitor_id"], row["need"], row["raised_at"]] = row
    equal, before, count, outcomes = 0, report.count, 0, {}
    for meant in truth:
        visitor = (meant["site"], meant["visitor_id"])
        if visitor in expected.partition_of:
            watermark = watermarks.of(expected.partition_of[visitor])
        else:
            watermark = watermarks.lowest()
        if watermark is not None and meant["session_ended_at"] + rules.gap_us >= watermark:
            found.pop((*visitor, meant["need"], meant["raised_at"]), None)
            continue
        count += 1
        outcomes[meant["outcome"]] = outcomes.get(meant["outcome"], 0) + 1
        key = (*visitor, meant["need"], meant["raised_at"])
        row = found.pop(key, None)
        if row is None:
            report.difference(f"truth {key}: no row; meant {meant}")
            continue
        meant["session_id"] = definitions.session_id(*visitor, meant["session_first_event_id"])
        wrong = [
            f"{field} is {row[field]!r}, meant {meant[field]!r}"
            for field in ("session_id", *TRUTH_FIELDS)
            if row[field] != meant[field]
        ]
        if wrong:
            report.difference(f"truth {key}: {'; '.join(wrong)}")
        else:
            equal += 1
    for key, row in found.items():
        report.difference(f"truth {key}: a row that was not meant: {row}")
    print(
        f"truth: {len(need_rows)} rows, {count} meant, {equal} equal,"
        f" {report.count - before} differences; meant {dict(sorted(outcomes.items()))}"
    )


def arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", nargs="+", required=True)
    parser.add_argument("--rules", required=True)
    for table in reading.TABLES:
        parser.add_argument(f"--{table.replace('_', '-')}", nargs="+")
    parser.add_argument("--truth", help="JSON lines written by `footfall sample --truth`")
    parser.add_argument("--watermark", action="append", metavar="[PARTITION=]MICROS")
    parser.add_argument("--closed-only", action="store_true")
    parser.add_argument("--include-late", action="store_true")
    parser.add_argument("--check-events", action="store_true")
    return parser.parse_args(argv)


def main(argv=None):
    args = arguments(argv)
    report, watermarks = Report(), Watermarks(args.watermark)
    connection = reading.connect()
    rules, bits, hidden = reading.read_rules(args.rules)
    reading.make_view(
        connection, "events", reading.find_files(args.events), reading.EVENT_COLUMNS
    )
    visitors = reading.read_visitors(connection, bits, hidden, args.include_late)
    expected = compute(visitors, rules, watermarks, report, args.check_events)
    print(f"events: {expected.event_count} in sessions, {report.count} differences")
    counts = ", ".join(f"{len(rows)} {table}" for table, rows in expected.tables.items())
    print(f"expected: {counts}; {len(expected.open_sessions)} sessions open")
    need_rows = list(expected.tables["needs"].values())
    for table in reading.TABLES:
        paths = getattr(args, table)
        if not paths:
            continue
        rows, missing = reading.read_table(connection, table, paths)
        if table == "needs":
            need_rows = rows
        compare_table(table, rows, missing, expected, args.closed_only, report)
    if args.truth:
        truth = reading.read_truth(args.truth)
        compare_truth(truth, need_rows, expected, rules, watermarks, report)
    if report.count > DIFFERENCES_SHOWN:
        print(f"  … and {report.count - DIFFERENCES_SHOWN} more differences")
    print("equal" if report.count == 0 else f"{report.count} differences")
    return 0 if report.count == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
