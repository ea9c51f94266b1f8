"""Lakes for practice: prepared in a second, with planted facts, and the truth to compare with.

The checks of the exercises use it. Everything here works on the lake and the feature store that
the settings name, and on the feature view ``carrier_delays`` alone.
"""

import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from feast.errors import FeatureViewNotFoundException

from flightdelays import features, source, store
from flightdelays.errors import DataError
from flightdelays.lake import open_lake
from flightdelays.practice_features import COLUMNS, REFERENCES, VIEW
from flightdelays.settings import Settings

FACTS = features.table(VIEW)
TTL = timedelta(hours=3)
"""How long a fact of the view counts, as its definition says."""


def land(folder: Path, months: Sequence[str]) -> None:
    """Land some months in the lake ``folder``, and build their facts."""
    settings = Settings(lake=str(folder))
    for month in months:
        source.land(month, settings)
        features.build(VIEW, month, settings)


def copy(landed: Path, *, facts: bool = False) -> Path:
    """Copy what ``land`` made into the lake of the settings, with its facts if asked."""
    lake = Path(open_lake().root)
    for part in ["raw", FACTS] if facts else ["raw"]:
        shutil.copytree(landed / part, lake / part)
    return lake


def publish(month: str) -> None:
    """Make the facts of the lake known to Feast, online up to the end of a month."""
    store.apply(view=VIEW)
    store.materialize(store.end_of_month(month), view=VIEW)


def plant(month: str, carrier: str, moment: datetime, value: float) -> None:
    """Add a fact about a carrier that becomes known at ``moment``, all numbers ``value``."""
    facts = _facts(month)
    row = {"carrier": carrier, "event_timestamp": moment} | dict.fromkeys(COLUMNS, value)
    _replace(month, pd.concat([facts, pd.DataFrame([row])], ignore_index=True))


def forget(month: str, since: datetime) -> None:
    """Drop the facts of a month that became known after ``since``, as if a feed had stopped."""
    facts = _facts(month)
    _replace(month, facts[facts["event_timestamp"] <= since])


def latest(month: str, carrier: str) -> dict[str, float]:
    """The last fact of a month about a carrier; empty if the lake has none."""
    facts = _facts(month)
    if carrier not in set(facts["carrier"]):
        return {}
    last = facts[facts["carrier"] == carrier].sort_values("event_timestamp").iloc[-1]
    return {name: float(last[name]) for name in COLUMNS}


def online(carrier: str) -> dict[str, Any]:
    """What the online store says about a carrier; empty if Feast does not know the view."""
    try:
        found = store.open_store().get_online_features(
            features=REFERENCES, entity_rows=[{"carrier": carrier}]
        )
    except FeatureViewNotFoundException:
        return {}
    values = found.to_dict()
    return {name: values[name][0] for name in COLUMNS}


def intervals() -> list[tuple[datetime, datetime]]:
    """The spans of time that were brought online, in that order; none without the view."""
    try:
        view = store.open_store().get_feature_view(VIEW)
    except FeatureViewNotFoundException:
        return []
    return list(view.materialization_intervals)


def read_training_set(path: object) -> pd.DataFrame:
    """A training set that somebody else has written, ready for ``as_of``.

    DataError says what it is instead: no path, no file, no Parquet, or a table in which a column
    is missing or has other things than moments or numbers.
    """
    if not isinstance(path, str) or not Path(path).is_file():
        raise DataError(f"{path!r:.200} is no path of a file")
    try:
        rows: pd.DataFrame = pd.read_parquet(path).reset_index(drop=True)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no Parquet file: {error}") from error
    for column in ("carrier", "event_timestamp", *COLUMNS):
        if column not in rows.columns:
            raise DataError(f"{path} has no column '{column}'; it has {', '.join(rows.columns)}")
    try:
        rows["event_timestamp"] = pd.to_datetime(rows["event_timestamp"], utc=True)
        rows = rows.astype(dict.fromkeys(COLUMNS, "float64"))
    except (TypeError, ValueError) as error:
        raise DataError(f"{path} has other things than moments and numbers: {error}") from error
    if rows[["carrier", "event_timestamp"]].isna().any(axis=None):
        raise DataError(f"{path} has rows without a carrier or without a moment")
    return rows


def as_of(rows: pd.DataFrame, months: Sequence[str]) -> pd.DataFrame:
    """What was known about ``carrier`` at ``event_timestamp``, row by row, without Feast.

    The latest fact at or before the moment, at most as old as ``TTL``; nothing where a month has no
    facts. The result has the order and the index of ``rows``.
    """
    facts = pd.concat([_facts(month) for month in months]).sort_values("event_timestamp")
    facts["event_timestamp"] = facts["event_timestamp"].astype("datetime64[us, UTC]")
    asked = rows[["carrier", "event_timestamp"]].reset_index(names="row")
    asked["event_timestamp"] = asked["event_timestamp"].astype("datetime64[us, UTC]")
    known = pd.merge_asof(
        asked.sort_values("event_timestamp"),
        facts[["carrier", "event_timestamp", *COLUMNS]],
        on="event_timestamp",
        by="carrier",
        tolerance=TTL,
    )
    return known.set_index("row").loc[rows.index, list(COLUMNS)]


def _facts(month: str) -> pd.DataFrame:
    lake = open_lake()
    path = lake.partition(FACTS, month)
    if not lake.exists(path):
        return pd.DataFrame(columns=["carrier", "event_timestamp", *COLUMNS])
    facts: pd.DataFrame = lake.read_table(path).to_pandas()
    return facts


def _replace(month: str, facts: pd.DataFrame) -> None:
    lake = open_lake()
    path = lake.partition(FACTS, month)
    schema = lake.read_table(path).schema
    lake.write_table(path, pa.Table.from_pandas(facts, schema=schema, preserve_index=False))
