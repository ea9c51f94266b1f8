"""Wall time of the distributed fit by workers and rows: where it pays and where it does not."""

from typing import Any

import pandas as pd
import pytest

from flightdelays import distributed, features, source, store, training_set
from flightdelays.lake import open_lake
from flightdelays.runs import Window
from flightdelays.settings import Settings

WINDOW = Window("2013-01", "2013-11", "2013-12")
MONTHS = [f"2013-{number:02d}" for number in range(1, 13)]
ROUNDS = 200


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("distributed")
    return Settings(
        lake=str(root / "lake"),
        site=str(root / "site"),
        feast_registry=str(root / "feast" / "registry.db"),
        feast_online=str(root / "feast" / "online.db"),
    )


@pytest.fixture(scope="module")
def rows(settings: Settings) -> pd.DataFrame:
    """The training set of the whole year."""
    for month in MONTHS:
        source.land(month, settings)
    for month in MONTHS:
        for view in features.views(settings):
            features.build(view, month, settings)
    store.apply(settings)
    return training_set.build(WINDOW, settings)


@pytest.mark.parametrize("thousands", [50, 200, None], ids=["50k", "200k", "all"])
def test_wall_time_by_workers(
    figure: Any, rows: pd.DataFrame, settings: Settings, thousands: int | None
) -> None:
    training = rows[rows["month"] < WINDOW.validation]
    if thousands:
        training = training.tail(thousands * 1_000)
    chosen = pd.concat([training, rows[rows["month"] == WINDOW.validation]])
    name = f"{thousands}k" if thousands else "all"
    folder = distributed.write_parts(chosen, WINDOW, name, settings)
    parts = open_lake(settings).read_json(f"{folder}/{distributed.MANIFEST}")
    for workers in (1, 2):
        with distributed.cluster(workers) as client:
            _, took = distributed.fit(client, parts, workers, ROUNDS, settings)
        assert took["rows"] == len(training)
        unit = "worker" if workers == 1 else "workers"
        figure(f"distributed_{workers}_{unit}_{name}", took["seconds"], "s", "-")
        figure(f"distributed_{workers}_{unit}_{name}_reading", took["reading"], "s", "-")
