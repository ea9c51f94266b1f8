"""How long a room waits for each demonstration, in the order of the instructor guide."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from course.config import BIN, REPOSITORY
from course.ports import any_free
from course.recipes import RECIPES

PORTS = ("AIRFLOW", "MLFLOW", "SITE", "KAFKA", "STATSD")
ORDER = (
    "model_tournament",
    "ingest_flights",
    "backfill_feature",
    "retrain_on_event",
    "retrain_on_file",
    "await_training_request",
    "tune_hyperparameters",
    "train_on_gpu_pod",
    "distributed_training",
    "build_features",
    "promote_model",
    "monitored_training",
    "market_models",
)


@pytest.fixture(scope="module")
def course() -> Iterator[Any]:
    """Runs the command line on a stack of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-demos-") as folder:
        own = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("COURSE_", "FLIGHTDELAYS_", "AIRFLOW"))
        }
        own["COURSE_HOME"] = str(Path(folder) / "home")
        own |= {f"{name}_PORT": str(any_free()) for name in PORTS}

        def run(*words: str) -> float:
            begin = time.perf_counter()
            done = subprocess.run(
                [BIN / "course", *words],
                cwd=REPOSITORY,
                env=own,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
            return time.perf_counter() - begin

        yield run
        run("stop")


def test_reset_demo(figure: Any, course: Any) -> None:
    course("start")
    figure("reset_demo", course("reset-demo", "--yes"), "s", "-")


@pytest.mark.parametrize("dag", ORDER)
def test_demo(figure: Any, course: Any, dag: str) -> None:
    answer = ("--answer", "yes") if dag == "promote_model" else ()
    figure(f"demo_{dag}", course("demo", dag, *answer), "s", "-")


def test_drift_from_an_empty_stack(figure: Any, course: Any) -> None:
    """The champion of January and February is trained first; the whole year is played."""
    figure("demo_monitor_drift", course("reset-demo", "monitor_drift", "--yes"), "s", "-")


def test_every_demo_is_measured() -> None:
    assert {*ORDER, "monitor_drift", "train_delay_model"} == set(RECIPES)
