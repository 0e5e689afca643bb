"""ClickHouse's windowFunnel over a lake's events: for each visitor without two steps at one time,
`site,visitor_id,level` as CSV, ordered.

Usage: window_funnel.py LAKE WINDOW_US STEP…, each step the name of an event.
"""

import sys

import chdb

lake, window_us, *steps = sys.argv[1:]
names = ", ".join(f"'{step}'" for step in steps)
conditions = ", ".join(f"event_name = '{step}'" for step in steps)
query = f"""
    SELECT site, visitor_id,
        windowFunnel({int(window_us)})(toUInt64(toUnixTimestamp64Micro(assumeNotNull(event_time))),
            {conditions}) AS level
    FROM file('{lake}/events/**/*.parquet', Parquet)
    WHERE visitor_id IS NOT NULL AND event_name IN ({names})
    GROUP BY site, visitor_id
    HAVING count() = uniqExact(event_time)
    ORDER BY site, visitor_id
"""
print(chdb.query(query, "CSV"), end="")
