"""Runs and tasks that wait, and what they wait for.

Airflow knows two waits of a task. One that is ``scheduled`` could run, but a limit of Airflow's own
is in the way: its pool, its DAG, the places of the executor. One that is ``queued`` has passed
these limits, and nobody has begun to work on it.
"""

import shlex
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from course.api import Airflow
from course.config import Config
from course.environment import client_environment
from course.finding import Finding
from course.state import State

Json = dict[str, Any]

# What does not pass by itself is a fault soon; what passes, only once it lasts.
NEVER_PASSES = timedelta(seconds=15)
STARTS_AT_ONCE = timedelta(minutes=1)
MAY_PASS = timedelta(minutes=5)

LOOK = "make logs C=scheduler, which says what it does with it"


@dataclass(frozen=True)
class Cause:
    """Why something waits, what ends that, and how long it may last before it is worth a word."""

    text: str
    fix: str
    patience: timedelta


def check(config: Config, state: State, airflow: Airflow) -> Iterator[Finding]:
    """One finding for each cause, with the runs or tasks that wait for it."""
    waiting: dict[Cause, list[tuple[datetime, str]]] = defaultdict(list)
    for run in airflow.runs("~", state="queued"):
        # The runs of a backfill wait for each other, as it was told.
        if run["run_type"] != "backfill" and (cause := _cause_of_run(airflow, run)):
            name = f"the run {run['dag_run_id']} of {run['dag_id']}"
            waiting[cause].append((_moment(run["queued_at"]), name))
    limits = Limits(config, state, airflow)
    for task in limits.tasks:
        name = f"{task['dag_id']}.{task['task_id']}"
        if task["state"] == "scheduled":
            waiting[limits.cause(task)].append((_moment(task["scheduled_when"]), name))
        elif task["state"] == "queued":
            cause = Cause("it is queued, and nobody has begun with it", LOOK, STARTS_AT_ONCE)
            waiting[cause].append((_moment(task["queued_when"]), name))
    now = datetime.now(UTC)
    for cause, found in waiting.items():
        since, name = min(found)
        if now - since > cause.patience:
            others = f" and {len(found) - 1} more" if len(found) > 1 else ""
            verb = "wait" if others else "waits"
            seconds = (now - since).total_seconds()
            yield Finding(
                text=f"{name}{others} {verb} for {seconds:.0f} s: {cause.text}", fix=cause.fix
            )


def _moment(text: str | None) -> datetime:
    """A time of Airflow's; now for one that is not written yet."""
    return datetime.fromisoformat(text) if text else datetime.now(UTC)


def _paused(dag_id: str) -> Cause:
    return Cause(
        f"the DAG {dag_id} is paused",
        f'make airflow ARGS="dags unpause {dag_id}"',
        NEVER_PASSES,
    )


def _cause_of_run(airflow: Airflow, run: Json) -> Cause | None:
    """Why a queued run does not start; None if its DAG has gone meanwhile."""
    dag = airflow.dag(run["dag_id"])
    if dag is None:
        return None
    if dag["is_paused"]:
        return _paused(run["dag_id"])
    active = airflow.runs(run["dag_id"], state="running")
    if len(active) >= dag["max_active_runs"]:
        return Cause(
            f"{len(active)} runs of the DAG are active, as many as its max_active_runs allows",
            f"wait for {active[0]['dag_run_id']}, or mark it failed in the UI",
            MAY_PASS,
        )
    return Cause("the scheduler has not started it", LOOK, STARTS_AT_ONCE)


class Limits:
    """The limits of a running Airflow, read once: pools, places, what is at work."""

    def __init__(self, config: Config, state: State, airflow: Airflow) -> None:
        self._airflow = airflow
        environment = client_environment(config, state)
        self._places = int(environment["AIRFLOW__CORE__PARALLELISM"])
        found = airflow.request("GET", "/api/v2/pools", params={"limit": 100})["pools"]
        self._pools: dict[str, Json] = {pool["name"]: pool for pool in found}
        # The first hundred: more of the same say nothing new.
        self.tasks: list[Json] = airflow.request(
            "GET",
            "/api/v2/dags/~/dagRuns/~/taskInstances",
            params={"state": ["scheduled", "queued", "running"], "limit": 100},
        )["task_instances"]
        self._at_work = [task for task in self.tasks if task["state"] != "scheduled"]
        self._paused: dict[str, bool] = {}

    def cause(self, task: Json) -> Cause:
        """Why a scheduled task is not queued; asked in the order in which the scheduler does."""
        dag_id, pool = task["dag_id"], task["pool"]
        if self._is_paused(dag_id):
            return _paused(dag_id)
        found = self._pools.get(pool)
        if found is None:
            return Cause(f"the pool {pool} does not exist", _set_pool(pool, 1), NEVER_PASSES)
        # -1 stands for no limit.
        if 0 <= found["slots"] < task["pool_slots"]:
            has = f"{found['slots']} slots" if found["slots"] else "no slots"
            return Cause(
                f"the pool {pool} has {has}, and it needs {task['pool_slots']}",
                _set_pool(pool, task["pool_slots"], found["description"]),
                NEVER_PASSES,
            )
        if found["slots"] > 0 and found["open_slots"] < task["pool_slots"]:
            holders = self._names("pool", pool)
            return Cause(
                f"the pool {pool} is full, held by {holders}",
                f"wait for it, end it, or: "
                f"{_set_pool(pool, found['slots'] + 1, found['description'])}",
                MAY_PASS,
            )
        if len(self._at_work) >= self._places:
            return Cause(
                f"all {self._places} places of the executor are taken",
                "wait, or give it more: make stop, then "
                f"AIRFLOW__CORE__PARALLELISM={self._places + 1} make start",
                MAY_PASS,
            )
        return Cause(
            "neither its pool nor the executor is in the way, so a limit of its DAG may be",
            LOOK,
            MAY_PASS,
        )

    def _is_paused(self, dag_id: str) -> bool:
        if dag_id not in self._paused:
            dag = self._airflow.dag(dag_id)
            self._paused[dag_id] = dag is not None and dag["is_paused"]
        return self._paused[dag_id]

    def _names(self, key: str, value: str) -> str:
        names = {
            f"{task['dag_id']}.{task['task_id']}" for task in self._at_work if task[key] == value
        }
        return ", ".join(sorted(names)) or "tasks that wait in the triggerer"


def _set_pool(name: str, slots: int, description: str | None = None) -> str:
    words = shlex.quote(description or name)
    return f'make airflow ARGS="pools set {name} {slots} {words}"'
