"""What leakage is worth: one model on the same flights, honest and with well-meant mistakes.

The protocol is the course's own: `hist_gradient` with its fixed seed trains on January to August
and is judged on September, on all flights that arrived. `leak_honest` has the features of
`train_delay_model`, each as Feast knew it one hour before departure. Each of the others changes
one thing. The AUC of a leaking model is not wrong for its rows: it is one that no flight of
tomorrow can have, for what it was given will not be known yet.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from flightdelays import duck, evaluation, features, models, source, store, training_set
from flightdelays.dataset import LABEL, feature_columns, split
from flightdelays.lake import months_between, open_lake
from flightdelays.runs import Window
from flightdelays.settings import Settings

WINDOW = Window("2013-01", "2013-08", "2013-09")
MONTHS = months_between(WINDOW.train_from, WINDOW.validation)
KIND = "hist_gradient"
NEW_YORK = "America/New_York"
PUBLISHED = {"carrier_delays": "carrier", "origin_delays": "origin"}
"""The views of delays that are published each hour, with what they are looked up by."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("leakage")
    return Settings(
        lake=str(root / "lake"),
        site=str(root / "site"),
        feast_registry=str(root / "feast" / "registry.db"),
        feast_online=str(root / "feast" / "online.db"),
    )


@pytest.fixture(scope="module")
def rows(settings: Settings) -> pd.DataFrame:
    """The training set of nine months, as `train_delay_model` builds it."""
    for month in MONTHS:
        source.land(month, settings)
    for month in MONTHS:
        for view in features.views(settings):
            features.build(view, month, settings)
    store.apply(settings)
    return training_set.build(WINDOW, settings)


def auc(training: pd.DataFrame, validation: pd.DataFrame, settings: Settings) -> float:
    """Fit as `train` does, judge as the gate does."""
    columns = feature_columns(list(training.columns))
    pipeline = models.make(KIND, settings)
    with threadpool_limits(settings.threads):
        pipeline.fit(training[columns], training[LABEL])
    return evaluation.measure(validation[LABEL], evaluation.predict(pipeline, validation)).auc


def local_day(moments: pd.Series) -> pd.Series:
    """The day of each moment by New York's clock."""
    return moments.dt.tz_convert(NEW_YORK).dt.date


def honest(rows: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Nothing is changed."""
    return rows


def same_day(rows: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """One more feature: the share of the carrier's flights from this airport that were late today.

    A group-by over the whole day, as one writes it without a thought: flights that leave later are
    in it, and so is the flight itself.
    """
    day = local_day(rows["scheduled_departure"])
    rate = rows[LABEL].groupby([day, rows["carrier"], rows["origin"]]).transform("mean")
    return rows.assign(carrier_origin_late_rate_day=rate)


def naive_join(
    rows: pd.DataFrame, settings: Settings, views: Mapping[str, str] = PUBLISHED
) -> pd.DataFrame:
    """The same features of carrier and airport, joined by entity and day: the day's last row wins.

    The tables are those that Feast reads; only the condition "known at the prediction time" is
    gone. A flight at seven in the morning gets the late rates of that evening.
    """
    day = local_day(rows["scheduled_departure"]).rename("day")
    lake = open_lake(settings)
    for view, entity in views.items():
        parts = [
            lake.read_table(lake.partition(features.table(view), month)).to_pandas()
            for month in MONTHS
        ]
        table = pd.concat(parts).sort_values("event_timestamp")
        table = table.assign(day=local_day(table["event_timestamp"]))
        last = table.drop(columns="event_timestamp").groupby([entity, "day"]).last()
        found = last.reindex(pd.MultiIndex.from_arrays([rows[entity], day]))
        values = {name: found[name].to_numpy(dtype="float64") for name in found}
        if "tailnum_last_arrival" in values:
            rows = training_set.add_derived(rows.assign(**values))
        else:
            rows = rows.assign(**values)
    return rows


def naive_join_of_the_aircraft(rows: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """The same with the aircraft's table too: its last arrival of the day is often this flight's.

    Most aircraft leave New York once a day, so `tailnum_last_delay` mostly is the answer.
    """
    return naive_join(rows, settings, PUBLISHED | {"tailnum_delays": "tailnum"})


def dep_delay(rows: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """One more feature: by how much this very flight left late, known an hour too late."""
    keys = ["scheduled_departure", "carrier", "flight", "origin"]
    lake = open_lake(settings)
    with duck.connect(lake, settings) as connection:
        duck.view_raw(connection, lake, MONTHS, settings)
        left = connection.view("flights").df()[[*keys, "dep_delay"]]
    for table in (rows, left):
        assert not table.duplicated(keys).any()
    joined = rows.merge(left, on=keys, how="left", validate="one_to_one")
    assert joined["dep_delay"].notna().all()
    return joined


def by_time(rows: pd.DataFrame, settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    return split(rows, WINDOW)


def at_random(rows: pd.DataFrame, settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """As many rows to judge by as in September, drawn from all nine months.

    A judged flight has flights of its own hour among the training rows. Nor is it tomorrow any
    more: of what this gains, `leak_random_days` says which part would be there without neighbours.
    """
    drawn = np.random.default_rng(settings.seed).permutation(len(rows))
    judged = np.isin(np.arange(len(rows)), drawn[: len(split(rows, WINDOW)[1])])
    return rows[~judged], rows[judged]


def whole_days_at_random(
    rows: pd.DataFrame, settings: Settings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """As many days to judge by as September has, drawn from all nine months."""
    day = local_day(rows["scheduled_departure"])
    count = local_day(split(rows, WINDOW)[1]["scheduled_departure"]).nunique()
    judged = day.isin(np.random.default_rng(settings.seed).permutation(day.unique())[:count])
    return rows[~judged], rows[judged]


@pytest.mark.parametrize(
    ("name", "change", "parts"),
    [
        ("honest", honest, by_time),
        ("same_day", same_day, by_time),
        ("naive_join", naive_join, by_time),
        ("naive_join_aircraft", naive_join_of_the_aircraft, by_time),
        ("dep_delay", dep_delay, by_time),
        ("random_split", honest, at_random),
        ("random_days", honest, whole_days_at_random),
    ],
)
def test_auc(
    figure: Any,
    rows: pd.DataFrame,
    settings: Settings,
    name: str,
    change: Callable[[pd.DataFrame, Settings], pd.DataFrame],
    parts: Callable[[pd.DataFrame, Settings], tuple[pd.DataFrame, pd.DataFrame]],
) -> None:
    training, judged = parts(change(rows, settings), settings)
    figure(f"leak_{name}", auc(training, judged, settings), "AUC", "-")
