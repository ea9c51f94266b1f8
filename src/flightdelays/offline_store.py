"""Feast's DuckDB offline store for a lake in an object store.

Feast's own leaves reading to DuckDB, whose S3 client is an extension that it downloads at run time.
This one reads the partitions with the lake's client; all that follows, the point-in-time join
above all, is Feast's. ``feature_store.stack.yaml`` names it.
"""

from functools import partial
from typing import Any

import ibis
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore, DuckDBOfflineStoreConfig
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.ibis import (
    get_historical_features_ibis,
    pull_all_from_table_or_query_ibis,
    pull_latest_from_table_or_query_ibis,
)

from flightdelays.errors import LakeError
from flightdelays.lake import Lake


class LakeOfflineStoreConfig(DuckDBOfflineStoreConfig):
    """Feast looks for a class of this name; there is nothing to set."""

    type: str = "flightdelays.offline_store.LakeOfflineStore"


def _read(source: FileSource, _: str) -> ibis.Table:
    lake = Lake(source.path)
    paths = lake.files(source.path)
    if not paths:
        raise LakeError(f"{source.path} matches no file: build the features of {source.name}")
    return ibis.memtable(lake.read_partitions(paths))


def _write(*_: Any) -> None:
    raise NotImplementedError("features are written by flightdelays.features, not by Feast")


_SOURCES: Any = {"data_source_reader": _read, "data_source_writer": _write}


class LakeOfflineStore(DuckDBOfflineStore):
    """DuckDB over partitions that the lake has read. Feast passes every argument by its name."""

    get_historical_features = staticmethod(partial(get_historical_features_ibis, **_SOURCES))
    pull_latest_from_table_or_query = staticmethod(
        partial(pull_latest_from_table_or_query_ibis, **_SOURCES)
    )
    pull_all_from_table_or_query = staticmethod(
        partial(pull_all_from_table_or_query_ibis, **_SOURCES)
    )
