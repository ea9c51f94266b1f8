"""XGBoost on Dask as a DAG run: as good on two workers as on one, and nothing left behind."""

import json
import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from .conftest import states
from .test_pipelines import xcom

Run = Callable[..., Any]
SMALL = {"train_from": "2013-08", "validation_month": "2013-09", "rounds": 40}


def children() -> set[int]:
    """Processes below this one, without the one in which Python itself counts shared memory."""
    return {
        child.pid
        for child in psutil.Process().children(recursive=True)
        if not any("resource_tracker" in word for word in child.cmdline())
    }


def listening() -> set[tuple[str, int]]:
    """Addresses at which this process and those below it listen."""
    return {
        tuple(connection.laddr)
        for process in (psutil.Process(), *psutil.Process().children(recursive=True))
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }


@pytest.fixture
def daemonic() -> Iterator[None]:
    """As Celery runs tasks: in a process that Python forbids to start others."""
    multiprocessing.current_process().daemon = True
    yield
    multiprocessing.current_process().daemon = False


def test_two_workers_train_as_good_a_model_as_one_and_leave_nothing(
    lake_of_nine_months: Any, run: Run, workplace: Path, daemonic: None
) -> None:
    from flightdelays import registry
    from flightdelays.distributed import SAME_QUALITY

    before = children(), listening()
    done = run("distributed_training", **SMALL, workers=2)
    assert done.state == "success", states(done)
    assert (children(), listening()) == before
    assert list((workplace / "lake/runs").rglob("*")) == []

    one, two = xcom(done, "evaluate")
    assert (one["workers"], two["workers"]) == (1, 2)
    assert one["rows"] == two["rows"] == 28_756
    assert min(one["auc"], two["auc"]) > 0.7
    assert abs(one["auc"] - two["auc"]) <= SAME_QUALITY
    verdict = json.loads(Path(xcom(done, "report")).read_text("utf-8"))
    assert verdict["headline"].startswith("2 workers train as good a model as one: AUC 0.7")
    assert [row[:2] for row in verdict["tables"]["Workers"]["rows"]] == [[1, 28_756], [2, 28_756]]

    logged = registry.client().get_run(two["run_id"]).data
    assert logged.params["workers"] == "2"
    assert logged.metrics["auc"] == two["auc"]
    assert [name for name, _ in registry.load_model(two["address"]).steps] == ["prepare", "model"]
