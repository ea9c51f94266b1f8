"""What it costs to hand a value on: through XCom by its size, and as a file with its path.

Each figure is the sum of two times that the tasks take themselves, in a real stack: in the one
that has the value, the push, until the API server has answered that it is in the database; in the
next, the pull, until the value is there. What the scheduler needs between the two is not in it.

A worker waits 5 s for an answer of the API server (`execution_api_timeout`), then asks again, five
times in all: on a slow or a busy machine that is where large values fail. Here it may wait longer.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from course.api import FINISHED
from course.sandbox import sandbox

FILE = Path(__file__).with_name("dags") / "bench_xcom.py"
SIZES = {"1kb": 1_000, "1mb": 1_000_000, "10mb": 10_000_000, "60mb": 60_000_000}
"""Bytes of each value."""
TIMES = 3
"""How often each goes through; the median counts."""

Pass = Callable[[str, int], float]


@pytest.fixture(scope="module")
def hand_on() -> Iterator[Pass]:
    """Run a DAG with a value of a length; the seconds of push and pull."""
    with sandbox(AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT="300") as stack:
        shutil.copy(FILE, stack.config.labs)
        deadline = time.monotonic() + 120
        for dag_id in ("bench_xcom", "bench_xcom_path"):
            while not stack.api.dag(dag_id):
                assert time.monotonic() < deadline
                time.sleep(0.5)
            stack.api.pause(dag_id, paused=False)

        def run(dag_id: str, length: int) -> float:
            run_id = stack.api.trigger(dag_id, {"length": length})
            while (ended := stack.api.run(dag_id, run_id))["state"] not in FINISHED:
                time.sleep(0.5)
            assert ended["state"] == "success"
            return sum(stack.api.xcom(dag_id, run_id, task) for task in ("push", "pull"))

        run("bench_xcom", 1_000)
        yield run


@pytest.mark.parametrize("size", SIZES)
def test_through_xcom(figure: Any, hand_on: Pass, size: str) -> None:
    seconds = [hand_on("bench_xcom", SIZES[size]) for _ in range(TIMES)]
    figure(f"xcom_{size}", seconds, "s", "-")


def test_a_path_through_xcom(figure: Any, hand_on: Pass) -> None:
    """The same text as a table: written to the lake as Parquet, and read back."""
    seconds = [hand_on("bench_xcom_path", SIZES["60mb"]) for _ in range(TIMES)]
    figure("xcom_path_60mb", seconds, "s", "-")
