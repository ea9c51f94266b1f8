"""The small training of exercise 6: delays of one month, learned, and judged on the month after.

It stores no model: what is watched is how long it takes, on how many flights, and how good it is.
"""

import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.compute as pc

from flightdelays.errors import DataError
from flightdelays.lake import file_name, next_month, open_lake
from flightdelays.settings import Settings, get_settings
from flightdelays.source import read_source

MODELS = ("logistic", "tree")
ROWS = 4_000
"""Flights that are drawn from each of the two months."""
KEY = ["origin", "time_hour"]
TEXT = ["carrier", "origin", "dest", "weekday"]
NUMBERS = ["hour", "distance", "precip", "visib", "wind_speed"]


def sample(month: str, run: str, settings: Settings | None = None) -> str:
    """Draw flights of ``month`` (``YYYY-MM``) and of the month after it, with their weather.

    Returns the path of a Parquet file that belongs to the run named ``run``. DataError if the
    source has nothing for one of the two months.
    """
    settings = settings or get_settings()
    flights = read_source("flights", settings)
    parts = []
    for wanted in (month, next_month(month)):
        year, number = (int(part) for part in wanted.split("-"))
        there = (pc.field("year") == year) & (pc.field("month") == number)
        found = flights.filter(there & pc.field("arr_delay").is_valid()).to_pandas()
        if found.empty:
            raise DataError(
                f"there are no flights of {wanted}: a training on {month} is judged on the month "
                "after it, so choose one from 2013-01 to 2013-11"
            )
        drawn = found.sample(min(ROWS, len(found)), random_state=settings.seed)
        parts.append(drawn.assign(judge=wanted != month))
    weather = read_source("weather", settings).select([*KEY, "precip", "visib", "wind_speed"])
    rows = pd.concat(parts).merge(weather.to_pandas(), on=KEY, how="left")
    rows["weekday"] = rows["time_hour"].dt.day_name()
    rows["late"] = rows["arr_delay"] > settings.late_minutes
    lake = open_lake(settings)
    path = Path(lake.path("practice", file_name(run), "sample.parquet"))
    lake.write_bytes(str(path), rows[[*TEXT, *NUMBERS, "judge", "late"]].to_parquet(index=False))
    return str(path)


def train(rows: str, model: str, settings: Settings | None = None) -> dict[str, float]:
    """Fit ``model`` on the first month of a sample and judge it on the second.

    Returns ``rows`` (number of flights it was fitted on), ``seconds`` (duration of the fit) and
    ``auc`` (ROC AUC on the second month, 0 to 1).
    """
    from sklearn.metrics import roc_auc_score

    table = open_lake(settings).read_table(rows).to_pandas()
    training, judging = table[~table["judge"]], table[table["judge"]]
    pipeline = _pipeline(model)
    start = time.perf_counter()
    pipeline.fit(training[TEXT + NUMBERS], training["late"])
    seconds = time.perf_counter() - start
    scores = pipeline.predict_proba(judging[TEXT + NUMBERS])[:, 1]
    auc = roc_auc_score(judging["late"], scores)
    return {"rows": len(training), "seconds": round(seconds, 3), "auc": round(float(auc), 4)}


def _pipeline(model: str) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    estimators = {
        "logistic": LogisticRegression(max_iter=300),
        "tree": DecisionTreeClassifier(max_depth=5, min_samples_leaf=50),
    }
    if model not in estimators:
        raise DataError(
            f"{model!r} is no model of this exercise: choose one of {', '.join(MODELS)}"
        )
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), TEXT),
        (make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
    )
    return make_pipeline(columns, estimators[model])
