"""How many tasks the stack in containers runs in a second, by the processes of its workers."""

import os
from collections.abc import Iterator
from unittest import mock

import pytest

from course.containers.sandbox import Sandbox, sandbox, wait

from ..conftest import Record, Table
from .measured import PARALLELISM, ROUNDS, costs, summary
from .schedulers import MANY, ONE, Throughput, run, throughput

WORKERS = {1: (1, 1), 2: (1, 2), 4: (2, 2), 8: (2, 4), 16: (2, 8)}
"""Containers and processes in each, by tasks at a time; four is what the course sets."""
SPENT = "cat /sys/fs/cgroup/cpu.stat 2>/dev/null || cat /sys/fs/cgroup/cpuacct/cpuacct.usage"
"""A container's processor time so far, as one of the two versions of cgroups tells it."""
ROWS: list[dict[str, object]] = []
"""One for each parallelism and length of a task, as they come."""
OWNERS = {
    "scheduler": "scheduler",
    "worker": "task",
    "api-server": "api_server",
    "postgres": "database",
}


@pytest.fixture(scope="module")
def containers(engine: None) -> Iterator[Sandbox]:
    """Airflow with what it rests on, and nothing else."""
    with sandbox("tests/stack/compose.yaml", profiles="core") as running:
        for dag_id in (MANY, ONE):
            wait(lambda dag_id=dag_id: running.api.dag(dag_id), dag_id)  # type: ignore[misc]
            running.api.pause(dag_id, paused=False)
        yield running


def used(containers: Sandbox) -> dict[str, float]:
    """Seconds of processor time of all containers so far, by who spent it."""
    seconds = dict.fromkeys((*OWNERS.values(), "other"), 0.0)
    for container in containers.compose.containers():
        if container["State"] != "running":
            continue
        told = containers.docker("exec", container["Name"], "sh", "-c", SPENT)
        who = OWNERS.get(container["Service"], "other")
        seconds[who] += processor_seconds(told)
    return seconds


def processor_seconds(told: str) -> float:
    """Seconds of processor time: version 2 of cgroups tells named microseconds, 1 nanoseconds."""
    words = told.split()
    if "usage_usec" in words:
        return int(words[words.index("usage_usec") + 1]) / 1e6
    return int(words[0]) / 1e9


def measured(containers: Sandbox, tasks: int, seconds: float) -> Throughput:
    """One run, with the processor time of all containers."""
    before = used(containers)
    found = throughput(containers, tasks, seconds, None)
    after = used(containers)
    found.cpu = {name: (after[name] - before[name]) / tasks for name in after}
    return found


@pytest.mark.parametrize("parallelism", PARALLELISM)
def test_celery(figure: Record, table: Table, containers: Sandbox, parallelism: int) -> None:
    workers, processes = WORKERS[parallelism]
    with mock.patch.dict(os.environ, {"WORKER_CONCURRENCY": str(processes)}):
        containers.compose.ask(
            *("up", "--detach", "--wait", "--no-deps", "--scale", f"worker={workers}", "worker")
        )
    run(containers, ONE)
    for seconds, number in ((0, PARALLELISM[parallelism]), (1, 8 * parallelism)):
        rounds = [measured(containers, number, seconds) for _ in range(ROUNDS)]
        ROWS.append(
            {
                "executor": "CeleryExecutor",
                "settings": "course",
                "task_seconds": seconds,
                "parallelism": parallelism,
                "tasks": number,
                **summary(rounds),
                **costs(rounds),
            }
        )
        if not seconds:
            figure(f"celery_{parallelism}", [each.rate for each in rounds], "tasks/s", "-")
    table("throughput_celery", ROWS)
