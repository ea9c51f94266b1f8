"""The training set: one row per flight, with what was known one hour before departure.

The features come out of Feast's point-in-time join: for each row the latest fact at or
before its prediction time, and none that is older than the view's TTL.
"""

from collections.abc import Sequence

import pandas as pd

from flightdelays import duck
from flightdelays.dataset import CATEGORICAL, feature_columns
from flightdelays.errors import CourseError
from flightdelays.lake import open_lake
from flightdelays.runs import Window
from flightdelays.settings import Settings, get_settings
from flightdelays.store import SERVICE, answering, join_keys, open_store


def build(
    window: Window,
    settings: Settings | None = None,
    *,
    origin: str | None = None,
    carriers: Sequence[str] | None = None,
) -> pd.DataFrame:
    """All rows of a window with their features, in the order of their prediction times.

    With ``origin`` or ``carriers`` only the flights from that airport, or of those carriers.
    Columns: identifiers, the features of ``feature_columns`` and the label ``late`` (0 or 1).
    """
    settings = settings or get_settings()
    rows = prediction_rows(window, settings, origin=origin, carriers=carriers)
    return join_features(rows, settings)


def join_features(rows: pd.DataFrame, settings: Settings | None = None) -> pd.DataFrame:
    """Prediction rows (all, or a sample) with what Feast knew at each one's prediction time."""
    store = open_store(settings)
    with answering(settings):
        keys = ["event_timestamp", *join_keys(store)]
    if unknown := sorted(set(keys) - set(rows.columns)):
        raise CourseError(
            f"the feature service {SERVICE} looks features up by {', '.join(unknown)}, which "
            "prediction_rows.sql does not have: add the column there, or leave the view out"
        )
    # Feast carries every column of the entity table through each join: pass only the keys.
    entities = rows[keys].assign(row=range(len(rows)))
    with answering(settings):
        job = store.get_historical_features(
            entity_df=entities, features=store.get_feature_service(SERVICE)
        )
    features = job.to_df().sort_values("row", ignore_index=True)
    if len(features) != len(rows):
        raise CourseError(
            f"the feature store returned {len(features)} rows for {len(rows)} flights: "
            "a feature view has two facts for one entity and moment"
        )
    joined = pd.concat([rows, features.drop(columns=[*keys, "row"])], axis=1)
    return add_derived(joined)


def prediction_rows(
    window: Window,
    settings: Settings | None = None,
    *,
    origin: str | None = None,
    carriers: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The flights of a window that arrived: identifiers, calendar, plane and label.

    With ``origin`` or ``carriers`` only those from that airport, or of those carriers.
    """
    settings = settings or get_settings()
    lake = open_lake(settings)
    months = [m for m in lake.months("raw") if window.train_from <= m <= window.validation]
    with duck.connect(lake, settings) as connection:
        duck.view_raw(connection, lake, months, settings)
        wanted = {"origin": origin, "carriers": None if carriers is None else list(carriers)}
        rows: pd.DataFrame = connection.sql(duck.sql("prediction_rows"), params=wanted).df()
    return rows


def add_derived(rows: pd.DataFrame) -> pd.DataFrame:
    """Features that depend on the moment of asking, and every number as float64.

    ``tailnum_idle_minutes`` is the time from the aircraft's last known arrival to the
    prediction. Whole numbers with gaps have no common type in pandas, Arrow and MLflow;
    float64 with NaN has.
    """
    asked = rows["event_timestamp"].astype("datetime64[s, UTC]").astype("int64")
    idle = (asked - rows["tailnum_last_arrival"]) / 60
    rows = rows.drop(columns="tailnum_last_arrival").assign(tailnum_idle_minutes=idle)
    numbers = [c for c in feature_columns(list(rows.columns)) if c not in CATEGORICAL]
    return rows.astype(dict.fromkeys(numbers, "float64"))
