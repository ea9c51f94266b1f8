"""A scheduler with settings of its own on a running laptop stack, and what runs on it costs."""

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psutil
from pydantic import BaseModel

from course.api import FINISHED
from course.config import BIN
from course.processes import component_of
from course.sandbox import Sandbox
from course.supervision import Supervisor

from .groups import end

MANY, ONE = "bench_many", "bench_one"
PATIENCE = 180
"""Seconds after which something is broken rather than slow."""


@contextmanager
def without_scheduler(stack: Sandbox) -> Iterator[dict[str, str]]:
    """The environment of the stack's scheduler, which is stopped until the block ends."""
    environment = psutil.Process(stack.main_pid("scheduler")).environ()
    supervisor = Supervisor(stack.state)
    supervisor.stop_component("scheduler")
    try:
        yield environment
    finally:
        begin = datetime.now(UTC)
        supervisor.start_component("scheduler")
        stack.wait_healthy(begin)


@contextmanager
def scheduler(stack: Sandbox, environment: Mapping[str, str]) -> Iterator[int]:
    """A scheduler with this environment, as the supervisor would run it; yields its process id."""
    begin = datetime.now(UTC)
    with (stack.config.logs / "scheduler.log").open("a") as log:
        process = subprocess.Popen(
            [BIN / "airflow", "scheduler", "--skip-serve-logs"],
            env=environment,
            cwd=stack.home,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while datetime.fromisoformat(heartbeat(stack)) < begin:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the scheduler did not start: {stack.config.logs}")
            time.sleep(0.5)
        # The first task takes longer than all others.
        run(stack, ONE)
        yield process.pid
    finally:
        end(process)


def heartbeat(stack: Sandbox) -> str:
    """When a scheduler of the stack last showed that it works."""
    return str(stack.api.health()["scheduler"]["latest_scheduler_heartbeat"])


def run(stack: Any, dag_id: str, conf: dict[str, Any] | None = None) -> dict[str, Any]:
    """A run to its end, which must be a good one."""
    run_id = stack.api.trigger(dag_id, conf)
    while (found := stack.api.run(dag_id, run_id))["state"] not in FINISHED:
        # Seldom asked: the API server takes the same two cores as the tasks.
        time.sleep(1)
    assert found["state"] == "success"
    return dict(found)


class Throughput(BaseModel):
    """What one run of mapped tasks showed."""

    rate: float
    """Tasks ÷ seconds from the first start to the last end."""
    start_to_end: float
    """Mean seconds from the start of a task to its end, as Airflow tells."""
    cpu: dict[str, float]
    """Seconds of processor time for each task, by who spent it."""


def throughput(stack: Any, tasks: int, seconds: float, main: int | None) -> Throughput:
    """Run mapped tasks that sleep; every one of them must have ended well.

    ``main`` is the process of the scheduler, by which it is told from its tasks.
    """
    before = cpu(stack, main) if main else {}
    ended = run(stack, MANY, {"tasks": tasks, "seconds": seconds})
    after = cpu(stack, main) if main else {}
    done = [
        task
        for task in stack.api.task_instances(MANY, ended["dag_run_id"])
        if task["task_id"] == "nothing"
    ]
    assert [task["state"] for task in done] == ["success"] * tasks
    starts = [datetime.fromisoformat(task["start_date"]) for task in done]
    ends = [datetime.fromisoformat(task["end_date"]) for task in done]
    taken = [(e - s).total_seconds() for s, e in zip(starts, ends, strict=True)]
    return Throughput(
        rate=tasks / (max(ends) - min(starts)).total_seconds(),
        start_to_end=sum(taken) / tasks,
        cpu={name: (after[name] - before[name]) / tasks for name in after},
    )


def cpu(stack: Sandbox, main: int) -> dict[str, float]:
    """Seconds of processor time so far, children that ended included."""
    used = dict.fromkeys(("scheduler", "task", "api_server", "database", "other"), 0.0)
    names = {"api-server": "api_server", "postgres": "database", "scheduler": "task"}
    for process in stack.processes():
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            # A task that has ended: its worker has its time.
            continue
        who = "scheduler" if process.pid == main else names.get(component_of(process), "other")
        used[who] += times.user + times.system + times.children_user + times.children_system
    return used
