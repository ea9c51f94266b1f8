"""A laptop stack whose scheduler the benchmarks of the throughput replace by their own."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .schedulers import MANY, ONE, PATIENCE, run, without_scheduler

FILE = Path(__file__).parents[1] / "dags" / "bench_tasks.py"


@pytest.fixture(scope="module")
def tasks(stack: Any) -> Any:
    """The stack, which knows the DAGs and has run one."""
    shutil.copy(FILE, stack.config.labs)
    deadline = time.monotonic() + PATIENCE
    for dag_id in (MANY, ONE):
        while not stack.api.dag(dag_id):
            assert time.monotonic() < deadline
            time.sleep(0.5)
        stack.api.pause(dag_id, paused=False)
    run(stack, ONE)
    return stack


@pytest.fixture(scope="module")
def environment(tasks: Any) -> Iterator[dict[str, str]]:
    """What the stack's scheduler has for an environment; until the end it has no scheduler."""
    with without_scheduler(tasks) as found:
        yield found
