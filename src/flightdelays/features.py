"""Features as tables of events: what became known about an entity, and when.

Each view has one row per entity and moment. ``event_timestamp`` is the moment at which
the fact became known (an arrival's delay is known when it lands, not when it was
scheduled), so a point-in-time join can never look into the future.

A month of a view depends on that month and the one before it (the longest window is
14 days), so months are built, replaced and backfilled one by one.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from flightdelays import duck
from flightdelays.errors import DataError
from flightdelays.lake import Lake, open_lake, previous_month
from flightdelays.settings import FEATURE_VIEWS, Settings, get_settings

ENTITY = {
    "origin_weather": "origin",
    "origin_delays": "origin",
    "carrier_delays": "carrier",
    "tailnum_delays": "tailnum",
}


def table(view: str) -> str:
    """Name of a view's table in the lake."""
    return f"features/{view}"


def build(view: str, month: str, settings: Settings | None = None) -> int:
    """Compute one month of one view and replace it in the lake; returns its number of rows.

    A month holds the events that became known in it by New York's clock. Raises DataError
    if the view or the month is unknown.
    """
    if view not in FEATURE_VIEWS:
        raise DataError(
            f"there is no feature view '{view}': choose from {', '.join(FEATURE_VIEWS)}"
        )
    settings = settings or get_settings()
    lake = open_lake(settings)
    landed = lake.months("raw")
    if month not in landed:
        raise DataError(f"{month} has not landed; landed so far: {', '.join(landed) or 'none'}")
    sources = [m for m in (previous_month(month), month) if m in landed]
    fingerprint = _fingerprint(lake, view, sources, settings)
    with duck.connect(lake, settings) as connection:
        duck.view_raw(connection, lake, sources, settings)
        events = duck.query(connection, duck.sql(view), settings)
        rows = events.filter(
            f"strftime(timezone('America/New_York', event_timestamp), '%Y-%m') = '{month}'"
        ).order(f"{ENTITY[view]}, event_timestamp")
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


def stale_months(
    settings: Settings | None = None, views: Sequence[str] = FEATURE_VIEWS
) -> list[str]:
    """Landed months of which some view is absent or was built from other data or other SQL."""
    settings = settings or get_settings()
    lake = open_lake(settings)
    landed = lake.months("raw")
    stale = []
    for month in landed:
        sources = [m for m in (previous_month(month), month) if m in landed]
        if any(
            _built_from(lake, view, month) != _fingerprint(lake, view, sources, settings)
            for view in views
        ):
            stale.append(month)
    return stale


def _built_from(lake: Lake, view: str, month: str) -> str | None:
    path = lake.manifest(table(view), month)
    return lake.read_json(path)["inputs"] if lake.exists(path) else None


def _fingerprint(lake: Lake, view: str, sources: Sequence[str], settings: Settings) -> str:
    """Digest of all that a month of a view depends on: data, SQL and settings."""
    digest = hashlib.sha256()
    parts: list[Any] = [
        duck.sql("flights"),
        duck.sql("ticks"),
        duck.sql(view),
        duck.parameters(settings),
    ]
    for month in sources:
        parts.append(lake.read_json(lake.manifest("raw", month))["tables"])
    digest.update(repr(parts).encode())
    return digest.hexdigest()
