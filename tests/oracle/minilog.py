"""Hand-made logs for the oracle's tests: events in a few words, written as Parquet files."""

import datetime
import decimal
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq

import reading

HERE = os.path.dirname(os.path.abspath(__file__))
S = 1_000_000
GAP = 1800 * S
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
TYPES = {
    "seq x y visible_ms search_results lcp_ms": pa.int64(),
    "event_time": pa.timestamp("us", tz="UTC"),
    "late overflow": pa.bool_(),
    "log_partition": pa.int32(),
    "value": pa.decimal128(18, 4),
}
TYPE_OF = {name: type_ for names, type_ in TYPES.items() for name in names.split()}


def ev(name, time, **columns):
    """An event of visitor v at `time` microseconds; ids ascend as events are written."""
    ev.count += 1
    return {"event_id": f"e{ev.count:06}", "site": "s", "visitor_id": "v", "event_name": name,
            "event_time": time, "seq": 0, "late": False, "log_partition": 0, **columns}


ev.count = 0


def page(time, page_type="product", **columns):
    return ev("page_view", time, page_type=page_type, page_path=f"/{page_type}", **columns)


def found(time, key="delivery_price", visible_ms=150, **columns):
    return ev("info_exposed", time, info_key=key, visible_ms=visible_ms, **columns)


def order(time, order_id=None, value=None, currency=None, name="purchase"):
    return ev(name, time, order_id=order_id, value=value, currency=currency)


def write_events(path, events):
    names = sorted({name for event in events for name in event})
    arrays = {}
    for name in names:
        values = [event.get(name) for event in events]
        if name == "event_time":
            values = [EPOCH + datetime.timedelta(microseconds=value) for value in values]
        if name == "value":
            values = [None if v is None else decimal.Decimal(v) for v in values]
        arrays[name] = pa.array(values, TYPE_OF.get(name, pa.string()))
    pq.write_table(pa.table(arrays), path)


def write_rules(path, **changes):
    with open(os.path.join(HERE, "default_rules.json"), encoding="utf-8") as file:
        rules = json.load(file)
    rules.update(changes)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(rules, file)


def only(rows):
    assert len(rows) == 1, rows
    return rows[0]


def check(row, **wanted):
    assert {name: row[name] for name in wanted} == wanted


ARROW_OF = {"text": pa.string(), "whole": pa.int64(), "flag": pa.bool_(), "date": pa.date32(),
            "texts": pa.list_(pa.string()), "time": pa.timestamp("us", tz="UTC"),
            "money": pa.decimal128(28, 4)}


def write_table(path, table, rows):
    """Rows in the oracle's form -> Parquet in the lake's form."""
    turn = {
        "date": datetime.date.fromisoformat,
        "time": lambda us: EPOCH + datetime.timedelta(microseconds=us),
        "money": lambda scaled: decimal.Decimal(scaled).scaleb(-4),
    }
    arrays = {}
    for name, form in reading.table_columns(table)[0]:
        values = [row[name] for row in rows]
        values = [v if v is None or form not in turn else turn[form](v) for v in values]
        arrays[name] = pa.array(values, ARROW_OF[form])
    pq.write_table(pa.table(arrays), path)
