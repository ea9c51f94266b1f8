"""The small problem of exercise 5: will a flight from LaGuardia be late, by its carrier's record?

The record is the feature view ``carrier_delays`` of the feature repository. Here is what the
exercise does not ask for: the flights, a file to keep a training set in, and a model.
"""

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

from flightdelays import duck, features
from flightdelays.dataset import LABEL
from flightdelays.errors import DataError
from flightdelays.lake import open_lake
from flightdelays.settings import get_settings

VIEW = "carrier_delays"
COLUMNS = (
    "carrier_late_rate_3h",
    "carrier_delay_3h",
    "carrier_late_rate_24h",
    "carrier_late_rate_14d",
)
"""The features of the view, by the names of their columns."""
REFERENCES = [f"{VIEW}:{column}" for column in COLUMNS]
"""The same as Feast wants them named."""
KNOWN = ("weekday", "departure_minute", "distance")
"""Columns of ``departures`` that are known when the prediction is made."""
TRAINING_DAYS = 21

_DEPARTURES = """
    SELECT
        prediction_time AS event_timestamp,
        carrier,
        flight,
        isodow(timezone('America/New_York', scheduled_departure))::INT AS weekday,
        ((sched_dep_time // 100) * 60 + sched_dep_time % 100)::INT AS departure_minute,
        distance,
        arr_delay,
        late
    FROM flights
    WHERE origin = 'LGA' AND late IS NOT NULL
    ORDER BY event_timestamp, carrier, flight, dest
"""


def is_built(month: str) -> bool:
    """Whether the lake holds the facts of a month, made from the flights as they are now."""
    built = open_lake().months(features.table(VIEW))
    return month in built and month not in features.stale()[VIEW]


def departures(month: str) -> pd.DataFrame:
    """The flights of a month from LaGuardia that arrived, one row each, in order of the asking.

    ``event_timestamp`` is the moment of the prediction (UTC, an hour before the scheduled
    departure), ``carrier`` the entity, ``late`` (0 or 1) the label and ``arr_delay`` (minutes)
    what it was made of. DataError if the month has not landed.
    """
    settings = get_settings()
    lake = open_lake(settings)
    landed = lake.months("raw")
    if month not in landed:
        raise DataError(f"{month} has not landed; landed so far: {', '.join(landed) or 'none'}")
    with duck.connect(lake, settings) as connection:
        duck.view_raw(connection, lake, [month], settings)
        rows: pd.DataFrame = connection.sql(_DEPARTURES).df()
    return rows


def save(rows: pd.DataFrame, month: str) -> str:
    """Write a month's training set to its place in the lake; returns the path.

    In the order of the asking, the features last: a join gives rows and columns in any order, and
    the same table shall give the same file.
    """
    lake = open_lake()
    path = lake.partition("practice/training_set", month)
    given = list(rows.columns)
    order = [name for name in ("event_timestamp", "carrier", "flight", "distance") if name in given]
    last = [name for name in COLUMNS if name in given]
    table = rows.sort_values(order)[[*(name for name in given if name not in last), *last]]
    lake.write_table(path, pa.Table.from_pandas(table, preserve_index=False))
    return path


def missing(path: str) -> float:
    """Share of the rows of a training set, 0 to 1, for which the store knew no feature."""
    return float(_read(path, COLUMNS)[list(COLUMNS)].isna().all(axis=1).mean())


def fit(path: str, columns: Sequence[str]) -> float:
    """Fit a logistic regression on the first three weeks; its ROC AUC on the rest of the month.

    ``columns`` are what the model may see, all of them numbers. DataError names one that is
    absent or not a number.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(
        SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(max_iter=300)
    )
    training, validation = split(path, columns)
    model.fit(training[list(columns)], training[LABEL])
    late = model.predict_proba(validation[list(columns)])[:, 1]
    return float(roc_auc_score(validation[LABEL], late))


def split(path: str, columns: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The first three weeks of a training set, and the rest: ``columns`` as float64, and ``late``.

    DataError names a column that is absent or not a number.
    """
    rows = _read(path, [*columns, LABEL, "event_timestamp"])
    for column in columns:
        if not pd.api.types.is_numeric_dtype(rows[column]):
            raise DataError(f"{path}: column '{column}' is no number: leave it out")
    asked = rows["event_timestamp"]
    early = asked < asked.min() + pd.Timedelta(days=TRAINING_DAYS)
    kept = rows[[*columns, LABEL]].astype(dict.fromkeys(columns, "float64"))
    return kept[early], kept[~early]


def _read(path: str, columns: Sequence[str]) -> pd.DataFrame:
    rows: pd.DataFrame = open_lake().read_table(path).to_pandas()
    for column in columns:
        if column not in rows.columns:
            raise DataError(f"{path} has no column '{column}'; it has {', '.join(rows.columns)}")
    return rows
