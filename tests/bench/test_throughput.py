"""How many tasks the stack runs in a second, by parallelism, and how soon an idle one runs one.

A laptop stack with the LocalExecutor; the tasks do nothing, so it is all Airflow's own work.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytest

from course.api import FINISHED
from course.config import BIN
from course.supervision import Supervisor

FILE = Path(__file__).with_name("dags") / "bench_tasks.py"
MANY, ONE = "bench_many", "bench_one"
TASKS = 200
TIMES = 5
PATIENCE = 120
"""Seconds after which something is broken rather than slow."""


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


def run(stack: Any, dag_id: str) -> dict[str, Any]:
    """A run to its end."""
    run_id = stack.api.trigger(dag_id)
    while (found := stack.api.run(dag_id, run_id))["state"] not in FINISHED:
        # Seldom asked: the API server takes the same two cores as the tasks.
        time.sleep(1)
    assert found["state"] == "success"
    return dict(found)


def moment(entry: dict[str, Any], key: str) -> datetime:
    return datetime.fromisoformat(entry[key])


def test_an_idle_stack(figure: Any, tasks: Any) -> None:
    """From the run being queued to its only task running; with the stack's own parallelism."""
    taken = []
    for _ in range(TIMES):
        time.sleep(3)
        ended = run(tasks, ONE)
        (task,) = tasks.api.task_instances(ONE, ended["dag_run_id"])
        taken.append((moment(task, "start_date") - moment(ended, "queued_at")).total_seconds())
    figure("task_start_idle", median(taken), "s", "-")


@pytest.fixture(scope="module")
def environment(tasks: Any) -> Iterator[dict[str, str]]:
    """What the stack's scheduler has for an environment; until the end it has no scheduler."""
    found = psutil.Process(tasks.main_pid("scheduler")).environ()
    supervisor = Supervisor(tasks.state)
    supervisor.stop_component("scheduler")
    yield found
    begin = datetime.now(UTC)
    supervisor.start_component("scheduler")
    tasks.wait_healthy(begin)


@contextmanager
def scheduler(stack: Any, environment: dict[str, str], parallelism: int) -> Iterator[None]:
    """A scheduler with a parallelism of its own; all else is as the supervisor has it."""
    begin = datetime.now(UTC)
    with (stack.config.logs / "scheduler.log").open("a") as log:
        process = subprocess.Popen(
            [BIN / "airflow", "scheduler", "--skip-serve-logs"],
            env=environment | {"AIRFLOW__CORE__PARALLELISM": str(parallelism)},
            cwd=stack.home,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while datetime.fromisoformat(heartbeat(stack)) < begin:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.5)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def heartbeat(stack: Any) -> str:
    """When a scheduler of the stack last showed that it works."""
    return str(stack.api.health()["scheduler"]["latest_scheduler_heartbeat"])


@pytest.mark.parametrize("parallelism", [2, 4, 8, 16])
def test_throughput(figure: Any, tasks: Any, environment: dict[str, str], parallelism: int) -> None:
    """Mapped tasks in a single run: their number ÷ seconds from the first start to the last end."""
    with scheduler(tasks, environment, parallelism):
        # The first one takes longer than all others.
        run(tasks, ONE)
        ended = run(tasks, MANY)
    done = tasks.api.task_instances(MANY, ended["dag_run_id"])
    assert len(done) == TASKS
    begin = min(moment(task, "start_date") for task in done)
    end = max(moment(task, "end_date") for task in done)
    figure(f"throughput_{parallelism}", TASKS / (end - begin).total_seconds(), "tasks/s", "-")
