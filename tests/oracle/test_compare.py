"""The oracle's command: watermarks, differences, truth, Delta tables."""

import datetime
import json

import pyarrow as pa
import pytest

import definitions
import reading
from minilog import GAP, S, check, ev, found, only, order, page


def test_a_session_is_closed_strictly_after_its_gap(run):
    log = [page(0), page(S, "home")]
    tables = run(*log, watermark=[str(S + GAP)])
    assert (tables["sessions"], len(tables["page_views"])) == ([], 1)
    check(only(tables["page_views"]), is_exit=False, ended_at=S)
    tables = run(*log, watermark=[str(S + GAP + 1)])
    check(only(tables["sessions"]), close_cause="timeout")


def test_events_not_released_do_not_count(run):
    tables = run(page(0), page(S, "home"), watermark=[str(S)])
    assert tables["page_views"] == []


def test_a_capped_session_is_closed_by_the_next_one(run):
    day = 86_400 * S
    log = [ev("scroll", time) for time in [*range(0, day + 1, GAP), day + 1]]
    tables = run(*log, watermark=[f"0={day + 2}"])
    check(only(tables["sessions"]), close_cause="cap", ended_at=day)


LOG = [page(0), found(S), order(2 * S, "a", "9.99", "EUR"), page(GAP * 2, "cart")]


def test_equal_tables_are_equal(compare):
    assert compare(LOG) == (0, compare(LOG)[1])
    assert "equal\n" in compare(LOG)[1]


@pytest.mark.parametrize("change, said", [
    (lambda t: t["sessions"][0].update(value=1), "value is 1, expected 99900"),
    (lambda t: t["sessions"][1].update(needs_raised=None), "needs_raised is None"),
    (lambda t: t["needs"][0].update(found_at=S + 1), "found_at is 1000001, expected 1000000"),
    (lambda t: t["needs"].pop(), "missing"),
    (lambda t: t["page_views"].append(t["page_views"][0]), "a second row"),
    (lambda t: t["page_views"][0].update(session_id="x"), "not expected"),
])
def test_each_difference_is_found(compare, change, said):
    code, output = compare(LOG, change)
    assert code == 1 and said in output, output


def test_closed_only_leaves_the_open_sessions_rows_out(compare):
    def live(tables):
        tables["sessions"].pop()
        tables["needs"] = tables["needs"][:1]
        tables["sessions"][0]["close_cause"] = "timeout"

    options = ["--watermark", f"0={GAP * 2 + 1}"]
    assert compare(LOG, live, *options)[0] == 1, "the open session's page view is too early"
    assert compare(LOG, live, *options, "--closed-only")[0] == 0


def test_truth(compare, tmp_path):
    meant = {
        "site": "s", "visitor_id": "v", "need": "delivery", "outcome": "found_in_time",
        "raised_at": "1970-01-01T00:00:00.000000Z", "found_at": "1970-01-01T00:00:01.000000Z",
        "click_count": 0, "converted": True, "info_ms": 1000, "left_after_ms": 2000,
        "left_before_deadline": False, "raised_path": "/product", "raised_page_type": "product",
        "session_first_event_id": LOG[0]["event_id"],
        "session_started_at": "1970-01-01T00:00:00.000000Z",
        "session_ended_at": "1970-01-01T00:00:02.000000Z",
    }
    path = tmp_path / "truth.jsonl"
    path.write_text(json.dumps(meant))
    keep = ["--truth", str(path)]
    code, output = compare(LOG[:3], lambda tables: None, *keep)
    assert code == 0, output
    code, output = compare(LOG, lambda tables: None, *keep)
    assert code == 1 and "not meant" in output
    path.write_text(json.dumps({**meant, "outcome": "found_late"}))
    code, output = compare(LOG[:3], lambda tables: None, *keep)
    assert code == 1 and "meant 'found_late'" in output


def test_session_ids_of_events_are_checked(compare):
    log = [page(0, event_id="e", session_id=definitions.session_id("s", "v", "e"))]
    assert compare(log, lambda tables: None, "--check-events")[0] == 0
    log[0]["session_id"] = None
    assert compare(log, lambda tables: None, "--check-events")[0] == 1
    log[0]["overflow"] = True
    code, output = compare(log, lambda tables: None, "--check-events")
    assert code == 1 and "found no room" in output


def test_a_delta_table_is_read_by_its_log(tmp_path):
    deltalake = pytest.importorskip("deltalake")
    path = str(tmp_path / "table")
    data = pa.table({"session_id": ["a"], "session_date": [datetime.date(2026, 3, 2)]})
    deltalake.write_deltalake(path, data, partition_by=["session_date"])
    deltalake.write_deltalake(path, data, mode="overwrite", partition_by=["session_date"])
    rows, missing = reading.read_table(reading.connect(), "sessions", [path])
    assert len(rows) == 1 and rows[0][0] == "a" and rows[0][-1] == "2026-03-02"
    assert "visitor_id" in missing and "session_date" not in missing
