"""How long a service waits for the features of one flight: Feast's SQLite online store."""

import time
from typing import Any

import numpy as np
import pytest

from flightdelays import store
from flightdelays.settings import Settings

from . import online
from .conftest import Record

WARM_UP, READS, ROUNDS = 50, 1_000, 5


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = online.settings_in(tmp_path_factory.mktemp("online"))
    online.build(made)
    online.fill(made)
    return made


def test_reads_of_one_entity(figure: Record, settings: Settings) -> None:
    """Each read asks for all that the model needs for one flight: its airport, carrier, aircraft.

    The flights are drawn from September. The store stays open, in one process, without a server;
    no other client reads. What 50 of them see is measured in ``scale/test_feature_reads.py``.
    """
    opened = store.open_store(settings)
    service = opened.get_feature_service(store.SERVICE)

    def read(entity: dict[str, Any]) -> float:
        """Milliseconds of one read, which must have found the carrier."""
        begin = time.perf_counter()
        answer = opened.get_online_features(features=service, entity_rows=[entity]).to_dict()
        taken = time.perf_counter() - begin
        assert answer["carrier_late_rate_14d"][0] is not None
        return taken * 1_000

    asked = online.asked(WARM_UP + READS, settings)
    for entity in asked[:WARM_UP]:
        read(entity)
    rounds = [[read(entity) for entity in asked[WARM_UP:]] for _ in range(ROUNDS)]
    figure("feature_read_p50", [float(np.percentile(taken, 50)) for taken in rounds], "ms", "-")
    figure("feature_read_p99", [float(np.percentile(taken, 99)) for taken in rounds], "ms", "-")
