#!/usr/bin/env python3
"""Holds a lake against the client's list: acknowledged.py LIST LAKE [POISON]

Each event that was acknowledged stands once in `events` with what was sent, or once in `rejected`, if it is
of no fit type; one that was not acknowledged at most once; nothing that was not sent. POISON records that
were written to the log by hand are in `rejected` too, each once. Read with Delta's own library.
"""

import collections
import datetime
import decimal
import json
import os
import sys

import deltalake

DIFFERENCES_SHOWN = 20


def sent_and_acknowledged(path):
    sent, acknowledged = {}, set()
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            told = json.loads(line)
            if "sent" in told:
                event = told["sent"]
                earlier = sent.setdefault(event["event_id"], event)
                assert earlier == event, f"the client sent two events as {event['event_id']}"
            else:
                acknowledged.add(told["acknowledged"])
    return sent, acknowledged


def is_bad(event):
    return isinstance(event.get("x"), str)


def equal(sent, stored):
    if isinstance(stored, decimal.Decimal):
        return decimal.Decimal(str(sent)) == stored
    if isinstance(sent, dict):
        return stored is not None and sent == json.loads(stored)
    return sent == stored


def moment(text):
    return datetime.datetime.fromisoformat(text)


def differences(event, row):
    # Without `sent_at` the client's clock is believed, but not beyond the arrival.
    when = min(moment(event["timestamp"]), row["received_time"])
    if row["event_time"] != when:
        yield f"{event['event_id']}: happened at {row['event_time']}, and not at {when}"
    items, stored = event.get("items") or [], row["items"] or []
    if len(items) != len(stored) or not all(
        equal(value, there[name])
        for item, there in zip(items, stored)
        for name, value in item.items()
        if name in there
    ):
        yield f"{event['event_id']}: {stored!r}, sent were {items!r}"
    for name, value in event.items():
        if name in row and name != "items" and not equal(value, row[name]):
            yield f"{event['event_id']}: {name} is {row[name]!r}, sent was {value!r}"


def main(list_path, lake, poison):
    sent, acknowledged = sent_and_acknowledged(list_path)
    rows = deltalake.DeltaTable(f"{lake}/events").to_pyarrow_table().to_pylist()
    refused = deltalake.DeltaTable(f"{lake}/rejected").to_pyarrow_table().to_pylist()
    found = []
    times = collections.Counter(row["event_id"] for row in rows)
    by_hand = sum(row["reason"] == "bad_record" for row in refused)
    others = [row for row in refused if row["reason"] != "bad_record"]
    payloads = [json.loads(row["payload"]) for row in others]
    bad_times = collections.Counter(payload["event_id"] for payload in payloads)
    for row, payload in zip(others, payloads):
        if row["reason"] != "bad_type" or payload != sent.get(payload["event_id"]):
            found.append(f"{payload['event_id']}: refused as {row['reason']}, with {payload}")
    repeated = deltalake.DeltaTable(f"{lake}/duplicates").to_pyarrow_table().to_pylist()
    places = collections.Counter(
        (row["log_partition"], row["log_offset"]) for row in rows + refused + repeated
    )
    found += [f"record {place}: stands {n} times" for place, n in places.items() if n > 1]
    for event_id, event in sent.items():
        there, other = (bad_times, times) if is_bad(event) else (times, bad_times)
        least = 1 if event_id in acknowledged else 0
        if not least <= there[event_id] <= 1:
            found.append(f"{event_id}: {there[event_id]} times, acknowledged {least}")
        if other[event_id]:
            found.append(f"{event_id}: stands in the other table")
    found += [f"{event_id}: was never sent" for event_id in (times + bad_times) if event_id not in sent]
    for row in rows:
        if row["event_id"] in sent:
            found += differences(sent[row["event_id"]], row)
    if by_hand != poison:
        found.append(f"{poison} records were written by hand, {by_hand} are in `rejected`")
    bad = sum(is_bad(event) for event in sent.values())
    print(f"{len(sent)} sent, {bad} of no fit type, {len(acknowledged)} acknowledged, {len(rows)} rows")
    for text in found[:DIFFERENCES_SHOWN]:
        print(f"  {text}")
    print(f"{len(found)} differences")
    sys.stdout.flush()
    # Threads of pyarrow may abort an interpreter that takes itself apart (apache/arrow#34314).
    os._exit(1 if found else 0)


main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 0)
