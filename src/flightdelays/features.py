"""Features as tables of events: what became known about an entity, and when.

A feature view is a query, ``<view>.sql`` in the feature repository beside its definition for
Feast. Its result begins with the entity and ``event_timestamp``, and has one row per entity
and moment: that at which the fact became known (an arrival's delay is known when it lands,
not when it was scheduled), so a point-in-time join can never look into the future.

A month of a view depends on that month and the one before it (the longest window is
14 days), so months are built, replaced and backfilled one by one and in any order.
"""

import hashlib
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from flightdelays import duck
from flightdelays.errors import CourseError, DataError
from flightdelays.lake import Lake, open_lake, previous_month
from flightdelays.settings import Settings, get_settings


def table(view: str) -> str:
    """Name of a view's table in the lake."""
    return f"features/{view}"


def views(settings: Settings | None = None) -> list[str]:
    """Names of the feature views, in order: those that have a query in the feature repository.

    CourseError if there is none, for then the setting names another folder.
    """
    folder = Path((settings or get_settings()).feature_repo)
    found = sorted(path.stem for path in folder.glob("*.sql"))
    if not found:
        raise CourseError(
            f"{folder} holds no query of a feature view: set FLIGHTDELAYS_FEATURE_REPO"
        )
    return found


def check(view: str, settings: Settings | None = None) -> str:
    """The view's name, or DataError with the known ones."""
    known = views(settings)
    if view not in known:
        raise DataError(f"there is no feature view '{view}': choose from {', '.join(known)}")
    return view


def build(view: str, month: str, settings: Settings | None = None) -> int:
    """Compute one month of one view and replace it in the lake; returns its number of rows.

    A month holds the events that became known in it by New York's clock. Raises DataError
    if the view or the month is unknown, CourseError with the file if DuckDB refuses the query
    or its result does not begin with an entity and ``event_timestamp``.
    """
    settings = settings or get_settings()
    check(view, settings)
    lake = open_lake(settings)
    landed = lake.months("raw")
    if month not in landed:
        raise DataError(f"{month} has not landed; landed so far: {', '.join(landed) or 'none'}")
    sources = _sources(month, landed)
    raw = {source: _raw(lake, source) for source in sources}
    path = _query(view, settings)
    text = path.read_text("utf-8")
    fingerprint = _fingerprint(text, raw, sources, settings)
    with duck.connect(lake, settings) as connection:
        duck.view_raw(connection, lake, sources, settings)
        try:
            events = duck.query(connection, text, settings)
        except duckdb.ProgrammingError as error:
            raise CourseError(f"{path} is no query that DuckDB can run: {error}") from error
        if events.columns[1:2] != ["event_timestamp"]:
            raise CourseError(
                f"{path}: the result begins with {', '.join(events.columns[:2])}; "
                "put the entity first and event_timestamp second"
            )
        rows = events.filter(
            f"strftime(timezone('America/New_York', event_timestamp), '%Y-%m') = '{month}'"
        ).order(f'"{events.columns[0]}", event_timestamp')
        arrow = rows.to_arrow_table()
    lake.write_table(lake.partition(table(view), month), arrow)
    lake.write_json(
        lake.manifest(table(view), month),
        {
            "month": month,
            "rows": arrow.num_rows,
            "inputs": fingerprint,
            "built_at": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )
    return arrow.num_rows


def stale(settings: Settings | None = None) -> dict[str, list[str]]:
    """For each view the landed months that are absent or were built from other data or SQL."""
    settings = settings or get_settings()
    lake = open_lake(settings)
    landed = lake.months("raw")
    raw = {month: _raw(lake, month) for month in landed}
    found: dict[str, list[str]] = {}
    for view in views(settings):
        text = _query(view, settings).read_text("utf-8")
        found[view] = [
            month
            for month in landed
            if _built_from(lake, view, month)
            != _fingerprint(text, raw, _sources(month, landed), settings)
        ]
    return found


def stale_months(settings: Settings | None = None, of: Collection[str] | None = None) -> list[str]:
    """Months, in order, that are stale in some view, or in some of the views ``of``."""
    found = stale(settings)
    return sorted({month for view in found if of is None or view in of for month in found[view]})


def _query(view: str, settings: Settings) -> Path:
    return Path(settings.feature_repo) / f"{view}.sql"


def _sources(month: str, landed: Sequence[str]) -> list[str]:
    """Months that a month of features is computed from."""
    return [m for m in (previous_month(month), month) if m in landed]


def _raw(lake: Lake, month: str) -> Any:
    """Rows and digests of a month's raw tables."""
    return lake.read_json(lake.manifest("raw", month))["tables"]


def _built_from(lake: Lake, view: str, month: str) -> str | None:
    path = lake.manifest(table(view), month)
    return lake.read_json(path)["inputs"] if lake.exists(path) else None


def _fingerprint(text: str, raw: dict[str, Any], sources: Sequence[str], settings: Settings) -> str:
    """Digest of all that a month of a view depends on: data, SQL and settings."""
    parts = [duck.sql("flights"), duck.sql("ticks"), text, duck.parameters(settings)]
    parts += [raw[month] for month in sources]
    return hashlib.sha256(repr(parts).encode()).hexdigest()
