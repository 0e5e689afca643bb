"""Fixtures of the oracle's tests: compute tables from a log, compare them through the command."""

import pytest

import oracle
import reading
from minilog import write_events, write_rules, write_table


@pytest.fixture
def run(tmp_path):
    """events -> {"sessions": [dict], "needs": [dict], "page_views": [dict]} in key order."""

    def compute(*events, watermark=None, include_late=False, **rule_changes):
        write_events(tmp_path / "events.parquet", events)
        write_rules(tmp_path / "rules.json", **rule_changes)
        connection = reading.connect()
        rules, bits, hidden = reading.read_rules(tmp_path / "rules.json")
        files = [str(tmp_path / "events.parquet")]
        reading.make_view(connection, "events", files, reading.EVENT_COLUMNS)
        visitors = reading.read_visitors(connection, bits, hidden, include_late)
        watermarks = oracle.Watermarks(watermark)
        expected = oracle.compute(visitors, rules, watermarks, oracle.Report(), False)
        tables = {}
        for table, rows in expected.tables.items():
            names = [name for name, _ in reading.table_columns(table)[0]]
            tables[table] = [dict(zip(names, row)) for row in rows.values()]
        return tables

    return compute


@pytest.fixture
def compare(run, tmp_path, capsys):
    """Writes the expected tables after `change`, compares, gives (exit code, output)."""

    def call(events, change=lambda tables: None, *options):
        tables = run(*events)
        change(tables)
        command = ["--events", str(tmp_path / "events.parquet"),
                   "--rules", str(tmp_path / "rules.json"), *options]
        for table, rows in tables.items():
            write_table(tmp_path / f"{table}.parquet", table, rows)
            command += [f"--{table.replace('_', '-')}", str(tmp_path / f"{table}.parquet")]
        return oracle.main(command), capsys.readouterr().out

    return call
