"""Faults from outside the pipelines: a task that is killed, everything triggered twice."""

import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from course.api import AirflowError
from course.config import BIN
from flightdelays import features, registry, source, store
from flightdelays.settings import Settings
from flightdelays.source import landed_months

from .test_pipelines import finish, tasks, wait

pytestmark = pytest.mark.live

TRAIN = "train_delay_model"
PROBE = "live_probe"
MONTHS = ("2013-01", "2013-02", "2013-03")
QUICK = {"model": "logistic", "validation_month": "2013-03"}


@pytest.fixture(scope="module")
def settings(stack: Any) -> Settings:
    """The settings of the tasks; three months are landed and their features built."""
    found: Settings = stack.settings
    for month in MONTHS:
        if month not in landed_months(found):
            source.land(month, found)
    for view, months in features.stale(found).items():
        for month in months:
            features.build(view, month, found)
    store.apply(found)
    return found


@pytest.fixture
def second_scheduler(stack: Any) -> Iterator[int]:
    """Another scheduler beside the stack's own, as on a platform that must not have only one."""
    with (stack.config.logs / "second-scheduler.log").open("w") as log:
        process = subprocess.Popen(
            [str(BIN / "airflow"), "scheduler", "--skip-serve-log"],
            env=stack.env,
            cwd=stack.home,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process.pid
        finally:
            family = [process, *psutil.Process(process.pid).children(recursive=True)]
            for member in family:
                member.terminate()
            process.wait(30)


def test_a_task_killed_in_mid_training_is_tried_again_and_logs_one_model(
    stack: Any, settings: Settings
) -> None:
    wait("the DAG is parsed", lambda: stack.api.dag(TRAIN))
    stack.api.pause(TRAIN, paused=False)
    run_id = stack.api.trigger(TRAIN, QUICK)

    def process_of(task_id: str) -> psutil.Process | None:
        entry = tasks(stack, TRAIN, run_id).get(task_id)
        if not entry or entry["state"] != "running":
            return None
        title = f"airflow worker -- {entry['id']}"
        found = (p for p in stack.processes() if (p.cmdline() or [""])[0] == title)
        return next(found, None)

    wait("the training runs", lambda: process_of("train")).send_signal(signal.SIGKILL)
    assert finish(stack, TRAIN, run_id) == "success"
    train = tasks(stack, TRAIN, run_id)["train"]
    assert (train["state"], train["try_number"]) == ("success", 2)
    client = registry.client(settings)
    experiment = client.get_experiment_by_name(settings.experiment)
    runs = client.search_runs([experiment.experiment_id], f"tags.`course.run` = '{run_id}'")
    assert len(runs) == 1
    assert list((Path(settings.lake) / "runs").iterdir()) == []


def test_a_run_triggered_twenty_times_at_once_runs_once_with_two_schedulers(
    stack: Any, second_scheduler: int
) -> None:
    wait("the probe is parsed", lambda: stack.api.dag(PROBE))
    stack.api.pause(PROBE, paused=False)
    run_id = "request__twice-as-fast"
    body = {"logical_date": None, "dag_run_id": run_id, "conf": {"seconds": 1}}

    def trigger(_: int) -> int:
        try:
            stack.api.request("POST", f"/api/v2/dags/{PROBE}/dagRuns", json=body)
        except AirflowError as error:
            return error.status
        return 200

    with ThreadPoolExecutor(10) as pool:
        answers = Counter(pool.map(trigger, range(20)))
    assert answers == {200: 1, 409: 19}
    assert finish(stack, PROBE, run_id) == "success"
    assert tasks(stack, PROBE, run_id)["speak"]["try_number"] == 1


def test_twenty_runs_with_two_schedulers_run_once_each(stack: Any, second_scheduler: int) -> None:
    wait("the probe is parsed", lambda: stack.api.dag(PROBE))
    stack.api.pause(PROBE, paused=False)

    def schedulers() -> int:
        # The total of this answer counts the dead as well.
        jobs = stack.api.request(
            "GET", "/api/v2/jobs", params={"job_type": "SchedulerJob", "is_alive": True}
        )
        return len(jobs["jobs"])

    wait("both schedulers are at work", lambda: schedulers() == 2)
    runs = [stack.api.trigger(PROBE) for _ in range(20)]
    assert {finish(stack, PROBE, run_id) for run_id in runs} == {"success"}
    tries = Counter(tasks(stack, PROBE, run_id)["speak"]["try_number"] for run_id in runs)
    assert tries == {1: 20}
    for run_id in runs:
        words = stack.api.log(tasks(stack, PROBE, run_id)["speak"])
        assert sum("the probe has spoken" in line for line in words) == 1
