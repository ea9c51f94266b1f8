"""One point-in-time join in a process of its own: ``join_process.py METHOD ENTITIES``.

METHOD is a name of ``METHODS``, ENTITIES a Parquet file of entity rows: the moment that is asked
about, the join keys and ``row``. On standard output one line of JSON: seconds from the entity rows
in memory to the joined rows in memory, in the order in which they were asked for; the memory
before; and a digest of the values of each feature. What is read of the views is part of the join.
"""

import hashlib
import json
import sys
import time
from collections.abc import Callable

import duckdb
import numpy as np
import pandas as pd
import psutil
from feast import FeatureStore, FeatureView

from flightdelays import features, store
from flightdelays.lake import open_lake

MOMENT = "event_timestamp"
WARM_UP = 1_000
"""Rows of a first join that is not measured: it pays for imports and for opening files."""


def feast(entities: pd.DataFrame, opened: FeatureStore) -> pd.DataFrame:
    """Feast with its DuckDB offline store, as ``training_set.join_features`` calls it."""
    job = opened.get_historical_features(
        entity_df=entities, features=opened.get_feature_service(store.SERVICE)
    )
    joined: pd.DataFrame = job.to_df()
    return joined.sort_values("row", ignore_index=True)


def asof(entities: pd.DataFrame, opened: FeatureStore) -> pd.DataFrame:
    """One DuckDB query with an ASOF join for each view; a fact past its TTL becomes NULL."""
    columns, joins = [], []
    for view in opened.list_feature_views():
        key, ttl = view.join_keys[0], int(view.ttl.total_seconds())
        fresh = f"asked.{MOMENT} <= {view.name}.{MOMENT} + INTERVAL {ttl} SECONDS"
        columns += [f"CASE WHEN {fresh} THEN {view.name}.{c} END AS {c}" for c in names(view)]
        joins.append(
            f"ASOF LEFT JOIN (FROM read_parquet('{files(view)}', hive_partitioning = false)) "
            f"AS {view.name} ON asked.{key} = {view.name}.{key} "
            f"AND asked.{MOMENT} >= {view.name}.{MOMENT}"
        )
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("asked", entities)
    joined: pd.DataFrame = connection.execute(
        f"SELECT {', '.join(columns)} FROM asked {' '.join(joins)} ORDER BY asked.row"  # noqa: S608
    ).df()
    return joined


def merge_asof(entities: pd.DataFrame, opened: FeatureStore) -> pd.DataFrame:
    """``pandas.merge_asof``, one view after the other: both sides sorted by time, then the join."""
    joined = entities.sort_values(MOMENT, ignore_index=True)
    for view in opened.list_feature_views():
        key = view.join_keys[0]
        facts = duckdb.read_parquet(files(view), hive_partitioning=False).df()
        facts = facts[[key, MOMENT, *names(view)]].sort_values(MOMENT)
        facts[MOMENT] = facts[MOMENT].astype(joined[MOMENT].dtype)
        joined = pd.merge_asof(joined, facts, on=MOMENT, by=key, tolerance=view.ttl)
    return joined.sort_values("row", ignore_index=True)


Method = Callable[[pd.DataFrame, FeatureStore], pd.DataFrame]
METHODS: dict[str, Method] = {
    "Feast (DuckDB)": feast,
    "DuckDB ASOF join": asof,
    "pandas merge_asof": merge_asof,
}


def names(view: FeatureView) -> list[str]:
    return [field.name for field in view.features]


def files(view: FeatureView) -> str:
    """All months of a view in the lake."""
    return open_lake().partitions(features.table(view.name))


def digests(joined: pd.DataFrame, columns: list[str]) -> dict[str, str]:
    """SHA-256 of each column as float64, missing values in one form, after their number."""
    found = {}
    for column in columns:
        # Adding 0.0 makes one zero of the two that floating point has.
        values = joined[column].to_numpy("float64", na_value=np.nan) + 0.0
        missing = np.isnan(values)
        values[missing] = np.nan
        found[column] = f"{missing.sum()} {hashlib.sha256(values.tobytes()).hexdigest()}"
    return found


def main() -> None:
    method, path = METHODS[sys.argv[1]], sys.argv[2]
    opened = store.open_store()
    entities = pd.read_parquet(path)
    method(entities.head(WARM_UP).copy(), opened)
    before = psutil.Process().memory_info().rss
    begin = time.perf_counter()
    joined = method(entities, opened)
    seconds = time.perf_counter() - begin
    columns = [name for view in opened.list_feature_views() for name in names(view)]
    found = {
        "rows": len(joined),
        "seconds": seconds,
        "start_mb": before / 2**20,
        "digests": digests(joined, columns),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
