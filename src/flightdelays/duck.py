"""DuckDB over the lake: connections that see raw tables, and the SQL files beside this one."""

from collections.abc import Sequence
from importlib import resources
from string import Template
from typing import Any

import duckdb

from flightdelays.lake import Lake, next_month
from flightdelays.settings import Settings


def sql(name: str) -> str:
    """Text of ``sql/<name>.sql``."""
    return resources.files("flightdelays").joinpath("sql", f"{name}.sql").read_text("utf-8")


def connect(lake: Lake, settings: Settings) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB in UTC, for the views of ``view_raw``."""
    connection = duckdb.connect(config={"threads": max(settings.threads, 2)})
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def view_raw(
    connection: duckdb.DuckDBPyConnection, lake: Lake, months: Sequence[str], settings: Settings
) -> None:
    """Create the views ``raw_*``, ``flights`` (moments in UTC) and ``ticks`` over the given months.

    Reference tables (planes, airports) are snapshots: the one of the last month counts.
    """
    for table in ("flights", "weather"):
        _view(connection, lake, table, months)
    for table in ("planes", "airports"):
        _view(connection, lake, table, months[-1:])
    # A view cannot hold prepared parameters; these are checked integers and months.
    values = parameters(settings) | {
        "from": f"{months[0]}-01",
        "until": f"{next_month(months[-1])}-01",
    }
    for name in ("flights", "ticks"):
        connection.execute(Template(sql(name)).safe_substitute(values))


def parameters(settings: Settings) -> dict[str, int]:
    """The values that the SQL files name as ``$horizon`` and ``$late_minutes``."""
    return {"horizon": settings.horizon_minutes, "late_minutes": settings.late_minutes}


def query(
    connection: duckdb.DuckDBPyConnection, text: str, settings: Settings
) -> duckdb.DuckDBPyRelation:
    """Run one SELECT with the settings' values in place of ``$horizon`` and ``$late_minutes``."""
    used: dict[str, Any] = {k: v for k, v in parameters(settings).items() if f"${k}" in text}
    return connection.sql(text, params=used or None)


def _view(
    connection: duckdb.DuckDBPyConnection, lake: Lake, table: str, months: Sequence[str]
) -> None:
    paths = [lake.partition(f"raw/{table}", month) for month in months]
    if not lake.is_local:
        # DuckDB's own S3 client is an extension that it would download at run time, and through
        # fsspec it reads in many small pieces; a month is small enough to be read whole.
        connection.register(f"raw_{table}", lake.read_partitions(paths))
        return
    files = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
    connection.execute(f"CREATE OR REPLACE TEMP VIEW raw_{table} AS FROM read_parquet([{files}])")
