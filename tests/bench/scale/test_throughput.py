"""How many tasks a laptop stack runs in a second: by parallelism, by settings, with a person.

LocalExecutor, embedded PostgreSQL; the tasks do nothing or sleep, so it is Airflow's own work. The
settings of the course and stock ones are measured in turn, pair by pair. Stock is the scheduler
with its tasks as Airflow's defaults make them; database and API server are the same for both.
"""

import time
from datetime import datetime
from typing import Any

import pytest

from course.components import WARM_IMPORTS

from ..conftest import Record, Table
from .measured import COMPARED, PARALLELISM, ROUNDS, STOCK, WARM, costs, settings, summary
from .schedulers import MANY, ONE, run, scheduler, throughput
from .ui import person

TIMES = 5
LONGER = 3
"""Times as many tasks where somebody looks: of a few requests there is no 99th percentile."""
AIRFLOW_ALONE = ",".join(name for name in WARM_IMPORTS.split(",") if name.startswith("airflow."))
CHANGED: dict[str, dict[str, str]] = {
    "nothing imported before the fork": {WARM: ""},
    "only Airflow's own modules imported before the fork": {WARM: AIRFLOW_ALONE},
    "`min_heartbeat_interval = 5`, as in stock": {"AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "5"},
}
"""Single settings that are compared with those of the course."""


def test_an_idle_stack(figure: Record, tasks: Any) -> None:
    """From the run being queued to its only task running; with the stack's own parallelism."""
    taken = []
    for _ in range(TIMES):
        time.sleep(3)
        ended = run(tasks, ONE)
        (task,) = tasks.api.task_instances(ONE, ended["dag_run_id"])
        queued, started = task["queued_when"], task["start_date"]
        assert queued
        begun = datetime.fromisoformat(ended["queued_at"])
        taken.append((datetime.fromisoformat(started) - begun).total_seconds())
    figure("task_start_idle", taken, "s", "-")


def test_by_parallelism(
    figure: Record, table: Table, tasks: Any, environment: dict[str, str]
) -> None:
    """Pairs: the course's settings, then stock ones, at the same parallelism."""
    rows = []
    for parallelism, number in PARALLELISM.items():
        for name, without in (("course", ()), ("stock", STOCK)):
            with scheduler(tasks, settings(environment, parallelism, without=without)) as main:
                rounds = [throughput(tasks, number, 0, main) for _ in range(ROUNDS)]
                measured = [(0, number, rounds)]
                if name == "course":
                    second = [throughput(tasks, 8 * parallelism, 1, main) for _ in range(ROUNDS)]
                    measured.append((1, 8 * parallelism, second))
            for seconds, count, each in measured:
                rows.append(
                    {
                        "executor": "LocalExecutor",
                        "settings": name,
                        "task_seconds": seconds,
                        "parallelism": parallelism,
                        "tasks": count,
                        **summary(each),
                        **costs(each),
                    }
                )
            if name == "course":
                figure(f"throughput_{parallelism}", [e.rate for e in rounds], "tasks/s", "-")
            else:
                figure(f"throughput_stock_{parallelism}", [e.rate for e in rounds], "tasks/s", "-")
    table("throughput", rows)


def test_what_a_setting_buys(
    figure: Record, table: Table, tasks: Any, environment: dict[str, str]
) -> None:
    """One setting changed, each time beside the course's settings as they are."""
    rows = []
    for name, changed in CHANGED.items():
        row: dict[str, Any] = {"changed": name, "parallelism": COMPARED}
        for key, own in (("course", {}), ("changed", changed)):
            with scheduler(tasks, settings(environment, COMPARED) | own) as main:
                rounds = [throughput(tasks, PARALLELISM[COMPARED], 0, main) for _ in range(ROUNDS)]
            found = summary(rounds) | costs(rounds)
            row |= {f"{column}_{key}": value for column, value in found.items()}
            if changed.get(WARM) == AIRFLOW_ALONE and key == "changed":
                figure("throughput_light", [each.rate for each in rounds], "tasks/s", "≥ 10")
        rows.append(row)
    table("throughput_settings", rows)


@pytest.mark.parametrize("parallelism", [4, 8, 16])
def test_with_a_person(
    figure: Record,
    tasks: Any,
    environment: dict[str, str],
    parallelism: int,
) -> None:
    """The same while somebody looks at the pages, a request a second."""
    rates, answered = [], []
    secret = tasks.state.password.get_secret_value()
    with scheduler(tasks, settings(environment, parallelism)) as main:
        for _ in range(ROUNDS):
            with person(tasks.state.url("airflow"), secret, MANY) as answers:
                done = throughput(tasks, LONGER * PARALLELISM[parallelism], 0, main)
            assert answers.failures == 0
            rates.append(done.rate)
            answered.append(answers)
    figure(f"throughput_person_{parallelism}", rates, "tasks/s", "≥ 10")
    figure(f"ui_p50_{parallelism}", [each.p50 for each in answered], "ms", "-")
    figure(f"ui_p99_{parallelism}", [each.p99 for each in answered], "ms", "≤ 1000")
