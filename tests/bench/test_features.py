"""How long a service waits for the features of one flight: Feast's SQLite online store."""

import time
from typing import Any

import numpy as np
import pytest

from flightdelays import features, source, store
from flightdelays.runs import Window
from flightdelays.settings import Settings
from flightdelays.training_set import prediction_rows

MONTHS = ("2013-08", "2013-09")
WARM_UP, READS = 50, 1_000


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two months of features, materialised as they were known at the end of the second."""
    root = tmp_path_factory.mktemp("online")
    made = Settings(
        lake=str(root / "lake"),
        site=str(root / "site"),
        feast_registry=str(root / "feast" / "registry.db"),
        feast_online=str(root / "feast" / "online.db"),
    )
    for month in MONTHS:
        source.land(month, made)
    for month in MONTHS:
        for view in features.views(made):
            features.build(view, month, made)
    store.apply(made)
    store.materialize(store.end_of_month(MONTHS[-1]), made)
    return made


def test_reads_of_one_entity(figure: Any, settings: Settings) -> None:
    """Each read asks for all that the model needs for one flight: its airport, carrier, aircraft.

    The flights are drawn from September. The store stays open, in one process, without a server.
    """
    opened = store.open_store(settings)
    service = opened.get_feature_service(store.SERVICE)
    keys = store.join_keys(opened)
    flights = prediction_rows(Window(MONTHS[0], MONTHS[0], MONTHS[1]), settings)
    flights = flights[flights["month"] == MONTHS[1]].dropna(subset=keys)
    asked = flights.sample(WARM_UP + READS, random_state=settings.seed)[keys].to_dict("records")
    taken, found = [], 0
    for entity in asked:
        begin = time.perf_counter()
        answer = opened.get_online_features(features=service, entity_rows=[entity]).to_dict()
        taken.append(time.perf_counter() - begin)
        found += answer["carrier_late_rate_14d"][0] is not None
    assert found == len(asked)
    p50, p99 = np.percentile(np.array(taken[WARM_UP:]) * 1_000, [50, 99])
    figure("feature_read_p50", p50, "ms", "-")
    figure("feature_read_p99", p99, "ms", "-")
