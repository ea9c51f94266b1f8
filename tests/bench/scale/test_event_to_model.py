"""From drift to a deployed model: how long each stage takes of the whole event-driven way.

Each round puts the same aged model back as champion, under a version of its own, because a drift
is one event for each version and month. Then the month is monitored: drift is found, a message
goes to the broker, a run takes it, orders a training, and that deploys to staging.
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow.entities.model_registry import ModelVersion

from course.sandbox import Sandbox
from flightdelays import ledger, registry
from flightdelays.registry import CHAMPION, STAGING
from flightdelays.settings import Settings

from ..conftest import Record, Table
from ..runs import BUILD, EVENT, MONITOR, TRAIN, finished, moment, tasks, year

ROUNDS = int(os.environ.get("BENCH_EVENT_ROUNDS", "10"))
AGED = {"train_from": "2013-01", "validation_month": "2013-03"}
MONTH = "2013-07"
"""By then a model of January and February has drifted."""
LOOKS = {"seconds": 600.0, "every": 1.0}
"""Patience, and the time between two looks: the API server takes the same cores as the tasks."""

STAGES = {
    "drift found and sent": ("find_champion", "build_rows", "measure", "has_drifted", "publish"),
    "message to first task": (),
    "training ordered": ("accept",),
    "training set": ("check_availability", "build_training_set"),
    "quality gate": ("quality_gate",),
    "train": ("train",),
    "evaluate": ("evaluate",),
    "gate and deploy": ("deployment_gate", "deploy"),
}
"""Stages in order, each with the tasks that do its work."""


@dataclass(frozen=True)
class Round:
    """One way from drift to deployment: ``limits`` are the moments between which stages lie."""

    limits: list[datetime]
    work: dict[str, tuple[datetime, datetime]]

    def seconds(self) -> list[float]:
        """Seconds of each stage; their sum is the whole."""
        return [(end - begin).total_seconds() for begin, end in pairwise(self.limits)]

    def working(self) -> list[float]:
        """Seconds of each stage in which a task of it ran; the rest is waiting and start-up."""
        return [
            sum(
                max((min(ended, end) - max(started, begin)).total_seconds(), 0)
                for started, ended in (self.work[name] for name in names)
            )
            for names, (begin, end) in zip(STAGES.values(), pairwise(self.limits), strict=True)
        ]


@pytest.fixture(scope="module")
def settings(stack: Sandbox) -> Settings:
    """The settings of the tasks; a whole year is built, and nothing runs that nobody asked for."""
    found = year(stack)
    # New features would train a champion of the whole year.
    stack.api.pause(BUILD)
    for dag_id in (TRAIN, EVENT, MONITOR):
        stack.api.pause(dag_id, paused=False)
    return found


@pytest.fixture(scope="module")
def aged(stack: Sandbox, settings: Settings) -> ModelVersion:
    """A model of January and February, judged by March, trained and deployed by the pipeline."""
    client = registry.client(settings)
    if client.search_registered_models(f"name = '{settings.model_name}'"):
        client.delete_registered_model(settings.model_name)
    begin = datetime.now(UTC)
    stack.api.trigger(TRAIN, AGED)
    assert finished(stack, TRAIN, begin, **LOOKS)["state"] == "success"
    return client.get_model_version_by_alias(settings.model_name, CHAMPION)


def restore(aged: ModelVersion, settings: Settings) -> int:
    """Register the aged model once more and let both aliases name that version."""
    client = registry.client(settings)
    again = mlflow.register_model(aged.source, settings.model_name)
    for alias in (CHAMPION, STAGING):
        client.set_registered_model_alias(settings.model_name, alias, again.version)
    return int(again.version)


def span(task: dict[str, Any]) -> tuple[datetime, datetime]:
    """When a task ran; it must have succeeded."""
    assert task["state"] == "success", f"{task['task_id']} of {task['dag_run_id']}: {task['state']}"
    return moment(task, "start_date"), moment(task, "end_date")


def play(stack: Sandbox, settings: Settings, champion: int) -> Round:
    """Monitor the month and follow what it causes, until all three runs have ended."""
    begin = datetime.now(UTC)
    run_id = stack.api.trigger(MONITOR, {"month": MONTH})
    monitored = finished(stack, MONITOR, begin, **LOOKS)
    event_id = stack.api.xcom(MONITOR, run_id, "publish")["event_id"]
    assert event_id == f"drift-v{champion}-{MONTH}"
    taken = finished(stack, EVENT, begin, **LOOKS)
    assert taken["state"] == monitored["state"] == "success"
    entry = ledger.entry(event_id, settings)
    assert entry.run == f"{EVENT}/{taken['dag_run_id']}"
    assert entry.training is not None
    assert entry.sent_at is not None
    found = tasks(stack, MONITOR, run_id)
    accept = tasks(stack, EVENT, taken["dag_run_id"])["accept"]
    training = tasks(stack, TRAIN, entry.training)
    steps = found | training | {"accept": accept}
    work = {name: span(steps[name]) for names in STAGES.values() for name in names}
    firsts = ("accept", "check_availability", "quality_gate", "train", "evaluate")
    limits = [
        moment(monitored, "queued_at"),
        # The time that the message has in the broker.
        entry.sent_at,
        *(work[name][0] for name in firsts),
        work["deployment_gate"][0],
        work["deploy"][1],
    ]
    assert limits == sorted(limits)
    staged = registry.alias_version(STAGING, settings)
    assert staged == stack.api.xcom(TRAIN, entry.training, "deploy")["version"]
    assert staged is not None
    assert staged > champion
    assert registry.alias_version(CHAMPION, settings) == champion
    return Round(limits, work)


def p95(values: list[float]) -> float:
    """The 95th percentile, interpolated."""
    return float(np.percentile(values, 95))


def test_event_to_model(
    figure: Record, table: Table, stack: Sandbox, settings: Settings, aged: ModelVersion
) -> None:
    """From the monitoring run being queued to the deployment's end, by stages that add up to it.

    A stage begins when its first task starts, so the wait for the next task belongs to the stage
    before; ``work_p50_s`` is the part in which a task of the stage ran. The first round does not
    count: the watcher of a DAG that was unpaused begins to listen when its file is parsed again.
    """
    rounds = [play(stack, settings, restore(aged, settings)) for _ in range(ROUNDS + 1)][1:]
    seconds = [list(stage) for stage in zip(*(one.seconds() for one in rounds), strict=True)]
    working = [list(stage) for stage in zip(*(one.working() for one in rounds), strict=True)]
    table(
        "event_to_model",
        [
            {
                "stage": name,
                "p50_s": round(median(took), 3),
                "p95_s": round(p95(took), 3),
                "low_s": round(min(took), 3),
                "high_s": round(max(took), 3),
                "work_p50_s": round(median(worked), 3),
                "rounds": len(took),
            }
            for name, took, worked in zip(STAGES, seconds, working, strict=True)
        ],
    )
    whole = [sum(one.seconds()) for one in rounds]
    figure("event_to_model_p50", whole, "s", "≤ 4 h")
    figure("event_to_model_p95", p95(whole), "s", "≤ 4 h")
    # From the message to the deployment's end.
    figure("drift_to_staging", [sum(one.seconds()[1:]) for one in rounds], "s", "≤ 90")
