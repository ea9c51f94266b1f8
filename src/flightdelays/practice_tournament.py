"""The models of exercise 2: a small set of real flights, and candidates that fit in a second.

Each function reads a file, writes a file, and returns small values: paths, names and scores.
The flights come straight from the source, so nothing has to be landed first.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
from sklearn.metrics import accuracy_score, f1_score
from threadpoolctl import threadpool_limits

from flightdelays import source
from flightdelays.dataset import CATEGORICAL, LABEL
from flightdelays.errors import CourseError
from flightdelays.lake import open_lake
from flightdelays.settings import Settings, get_settings

FOLDER = "practice_tournament"
TRAINING_MONTHS, JUDGING_MONTH = range(1, 6), 6
TRAINING_ROWS, JUDGING_ROWS = 12_000, 4_000
WEATHER = ("temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib")
FEATURES = (*CATEGORICAL, "hour", "weekday", "distance", *WEATHER)


def prepare(settings: Settings | None = None) -> str:
    """Draw 12,000 flights of January to May 2013 to train on and 4,000 of June to judge by.

    Returns the path of one Parquet file in the lake: the same flights each time, so a file that
    is there already stays. Its columns: the features (calendar, route, weather an hour before),
    ``late`` (0 or 1) and ``part`` (``train`` or ``test``).
    """
    settings = settings or get_settings()
    lake = open_lake(settings)
    path = lake.path(FOLDER, "flights.parquet")
    if lake.exists(path):
        return path
    rows = _flights(settings)
    train = rows[rows["month"].isin(TRAINING_MONTHS)].sample(
        TRAINING_ROWS, random_state=settings.seed
    )
    test = rows[rows["month"] == JUDGING_MONTH].sample(JUDGING_ROWS, random_state=settings.seed)
    drawn = pd.concat([train.assign(part="train"), test.assign(part="test")])
    table = pa.Table.from_pandas(drawn[[*FEATURES, LABEL, "part"]], preserve_index=False)
    lake.write_table(path, table)
    return path


def compete(flights: str, model: str, settings: Settings | None = None) -> dict[str, Any]:
    """Fit one candidate on the rows ``train`` and judge it by the rows ``test``.

    Returns ``model``, ``f1`` and ``accuracy`` (0 to 1), and ``predictions``: the path of a file
    that holds its answer for each row of ``test``. CourseError if there is no such model;
    ``nearest`` cannot take gaps in the weather, and fails with a ValueError.
    """
    settings = settings or get_settings()
    pipeline = _make(model, settings)
    lake = open_lake(settings)
    rows = lake.read_table(flights).to_pandas()
    train, test = (rows[rows["part"] == part] for part in ("train", "test"))
    with threadpool_limits(settings.threads):
        pipeline.fit(train[list(FEATURES)], train[LABEL])
        answers = pipeline.predict(test[list(FEATURES)])
    path = lake.path(FOLDER, "predictions", f"{model}.parquet")
    lake.write_table(path, pa.table({LABEL: answers}))
    return {
        "model": model,
        "f1": round(float(f1_score(test[LABEL], answers, zero_division=0)), 4),
        "accuracy": round(float(accuracy_score(test[LABEL], answers)), 4),
        "predictions": path,
    }


def write_table(standings: Sequence[Mapping[str, Any]], settings: Settings | None = None) -> str:
    """Write the standings, in the order given, as a CSV file; returns its path.

    Columns: ``place`` (from 1), ``model``, ``f1`` and ``accuracy``. CourseError if a result
    lacks one of these.
    """
    columns = ["model", "f1", "accuracy"]
    for result in standings:
        if lacking := [name for name in columns if name not in result]:
            raise CourseError(f"the result {dict(result)} has no {', '.join(lacking)}")
    table = pd.DataFrame(list(standings), columns=columns)
    table.insert(0, "place", range(1, len(table) + 1))
    lake = open_lake(settings)
    path = lake.path(FOLDER, "comparison.csv")
    text = io.StringIO()
    table.to_csv(text, index=False)
    lake.write_text(path, text.getvalue())
    return path


def _flights(settings: Settings) -> pd.DataFrame:
    """Flights of the first half of 2013 that arrived, with the weather an hour before."""
    columns = ["month", "time_hour", "arr_delay", *CATEGORICAL, "hour", "distance"]
    flights = source.read_source("flights", settings).select(columns).to_pandas()
    flights = flights[flights["arr_delay"].notna() & (flights["month"] <= JUDGING_MONTH)]
    weather = source.read_source("weather", settings).to_pandas()
    # What was measured in the hour before the one of departure is known when one asks.
    weather["time_hour"] += pd.Timedelta(hours=1)
    rows = flights.merge(
        weather[["origin", "time_hour", *WEATHER]], on=["origin", "time_hour"], how="left"
    )
    return rows.assign(
        weekday=rows["time_hour"].dt.dayofweek,
        late=(rows["arr_delay"] > settings.late_minutes).astype(int),
    )


def _make(name: str, settings: Settings) -> Any:
    """An unfitted pipeline; CourseError with the known names if there is no such model."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    models = _models(settings.seed)
    if not isinstance(name, str) or name not in models:
        raise CourseError(f"there is no model {name!r}: choose from {', '.join(models)}")
    fill = [] if name == "nearest" else [SimpleImputer(strategy="median")]
    categories = OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=50, sparse_output=False
    )
    numbers = [feature for feature in FEATURES if feature not in CATEGORICAL]
    prepared = make_column_transformer(
        (categories, list(CATEGORICAL)), (make_pipeline(*fill, StandardScaler()), numbers)
    )
    return make_pipeline(prepared, models[name])


def _models(seed: int) -> dict[str, Any]:
    """The candidates. ``balanced`` ones weigh the rarer late flights up."""
    from sklearn.dummy import DummyClassifier
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.tree import DecisionTreeClassifier

    forest = {"n_estimators": 40, "min_samples_leaf": 10, "random_state": seed}
    return {
        "never_late": DummyClassifier(strategy="most_frequent"),
        "bayes": GaussianNB(),
        "logistic": LogisticRegression(max_iter=300),
        "balanced_logistic": LogisticRegression(max_iter=300, class_weight="balanced"),
        "tree": DecisionTreeClassifier(max_depth=8, random_state=seed),
        "balanced_tree": DecisionTreeClassifier(
            max_depth=6, class_weight="balanced", random_state=seed
        ),
        "forest": RandomForestClassifier(**forest),
        "balanced_forest": RandomForestClassifier(class_weight="balanced", **forest),
        "nearest": KNeighborsClassifier(n_neighbors=15),
    }
