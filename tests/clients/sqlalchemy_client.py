"""SQLAlchemy against Footfall: inspection of schemas, tables and views, and a query with bound values.

usage: sqlalchemy_client.py URL"""

import sys

import sqlalchemy
from sqlalchemy import column, create_engine, func, inspect, select, table

engine = create_engine(sys.argv[1])
inspector = inspect(engine)
assert "public" in inspector.get_schema_names(), inspector.get_schema_names()
tables = inspector.get_table_names(schema="public")
assert {"events", "sessions", "needs"} <= set(tables), tables
views = inspector.get_view_names(schema="public")
assert {"abandonment", "page_speed"} <= set(views), views

sessions = table("sessions", column("site"), column("converted"), column("event_count"), schema="public")
with engine.connect() as connection:
    query = (
        select(sessions.c.site, func.count().label("sessions"))
        .where(sessions.c.converted.is_(False), sessions.c.event_count >= 2)
        .group_by(sessions.c.site)
        .order_by(sessions.c.site)
    )
    rows = connection.execute(query).all()
    assert rows and rows[0].sessions > 0, rows
print("SQLAlchemy", sqlalchemy.__version__)
