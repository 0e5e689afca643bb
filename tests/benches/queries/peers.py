"""The same questions put to DuckDB and to ClickHouse (chDB), over the same Parquet files.

`peers.py TABLE THREADS RUNS`: for each question a line of JSON with its name, the peer, the CPU seconds of
each run and the answer, rows sorted."""

import json
import resource
import sys

import chdb
import duckdb
from deltalake import DeltaTable

TABLE, THREADS, RUNS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
FILES = [uri.removeprefix("file://") for uri in DeltaTable(TABLE).file_uris()]
STEPS = ["view_item", "add_to_cart", "begin_checkout", "add_shipping_info", "purchase"]
NAMED = ", ".join(f"'{step}'" for step in STEPS)


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(name, peer, ask):
    ask()
    took = []
    for _ in range(RUNS):
        began = cpu()
        answer = ask()
        took.append(round(cpu() - began, 3))
    rows = sorted([[str(value) for value in row] for row in answer])
    print(json.dumps({"name": name, "peer": peer, "cpu": took, "answer": rows}), flush=True)


duck = duckdb.connect()
duck.execute(f"SET threads={THREADS}")
duck.execute("SET enable_progress_bar=false")
duck.execute("SET preserve_insertion_order=false")
parquet = f"read_parquet({FILES}, hive_partitioning=true)"
measure("counts", "DuckDB", lambda: duck.execute(
    f"SELECT event_date, utm_medium, count(*) FROM {parquet} GROUP BY ALL").fetchall())
measure("count", "DuckDB", lambda: duck.execute(f"SELECT count(*) FROM {parquet}").fetchall())

folder = TABLE.rstrip("/")
names = ",".join(file.removeprefix(f"{folder}/") for file in FILES)
# What does not begin with a slash is looked for elsewhere.
source = f"file('{folder}/{{{names}}}', Parquet)"
micros = "toUnixTimestamp64Micro(assumeNotNull(event_time))"
levels = ", ".join(f"countIf(level >= {step})" for step in range(1, len(STEPS) + 1))
conditions = ", ".join(f"event_name = '{step}'" for step in STEPS)
funnel = f"""SELECT {levels} FROM (
    SELECT visitor_id, windowFunnel(3600000000)(toUInt64({micros}), {conditions}) AS level
    FROM {source} WHERE event_name IN ({NAMED}) GROUP BY visitor_id)
    SETTINGS max_threads = {THREADS}, session_timezone = 'UTC'"""
unmet = f"""SELECT count(), countIf(seen > 0), countIf(level = 2),
    countIf(level = 1 AND ended - seen <= 30000000) FROM (
    SELECT session_id, max({micros}) AS ended, maxIf({micros}, event_name = 'view_item') AS seen,
        windowFunnel(3000000)(toUInt64({micros}), event_name = 'view_item', event_name = 'view_delivery_info') AS level
    FROM {source} GROUP BY session_id)
    SETTINGS max_threads = {THREADS}, session_timezone = 'UTC'"""
for name, question in [("funnel", funnel), ("unmet", unmet)]:
    measure(name, "chDB", lambda: [
        line.split("\t") for line in str(chdb.query(question, "TSV")).strip().split("\n")])
