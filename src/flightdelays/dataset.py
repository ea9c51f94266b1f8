"""A training set as data: its columns, its months, its file in the lake.

Light on purpose: tasks that only read a training set need not import the feature store.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from flightdelays.errors import DataError
from flightdelays.lake import open_lake
from flightdelays.runs import Window, run_folder
from flightdelays.settings import Settings

CATEGORICAL = ("carrier", "origin", "dest")
# Identify a row, are joined on, or are the answer: never an input of a model.
NOT_FEATURES = ("month", "event_timestamp", "scheduled_departure", "flight", "tailnum", "late")
LABEL = "late"


def feature_columns(columns: Sequence[str]) -> list[str]:
    """Those of ``columns`` that a model may see, in order."""
    return [column for column in columns if column not in NOT_FEATURES]


def split(rows: pd.DataFrame, window: Window) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training rows and the later validation rows; DataError if either is empty or they overlap."""
    training = rows[(rows["month"] >= window.train_from) & (rows["month"] <= window.train_to)]
    validation = rows[rows["month"] == window.validation]
    for name, part in (("training", training), ("validation", validation)):
        if part.empty:
            raise DataError(f"there are no {name} rows for {window}")
    # A delayed flight of the last evening is decided after midnight; predictions are not.
    if training["event_timestamp"].max() >= validation["event_timestamp"].max():
        raise DataError(f"training rows reach past the validation rows for {window}")
    return training, validation


def save(rows: pd.DataFrame, run: str, settings: Settings | None = None) -> str:
    """Write a run's training set; returns its path. Equal rows give an equal file."""
    lake = open_lake(settings)
    target = lake.path(*run_folder(run), "training_set.parquet")
    lake.write_table(target, pa.Table.from_pandas(rows, preserve_index=False))
    return target


def load(source: str, settings: Settings | None = None) -> pd.DataFrame:
    """Read a training set back."""
    frame: pd.DataFrame = open_lake(settings).read_table(source).to_pandas()
    return frame


def describe(rows: pd.DataFrame) -> dict[str, Any]:
    """Number of rows, share of late flights, first and last prediction time."""
    return {
        "rows": len(rows),
        "late_rate": round(float(rows[LABEL].mean()), 4),
        "first": str(rows["event_timestamp"].min()),
        "last": str(rows["event_timestamp"].max()),
    }
