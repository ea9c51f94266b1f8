"""The reference pipelines in a scheduler that is really running, and through its accidents."""

import json
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from course.api import FINISHED
from course.health import Health
from course.supervision import Supervisor
from flightdelays import registry
from flightdelays.features import stale_months
from flightdelays.settings import Settings
from flightdelays.source import landed_months

pytestmark = pytest.mark.live

INGEST, BUILD, TRAIN = DAGS = ("ingest_flights", "build_features", "train_delay_model")
MONTHS = ["2013-01", "2013-02", "2013-03"]
# The quickest of the models: here it matters that a run survives, not what it finds.
MODEL = {"model": "logistic"}
MINUTES = 60


def wait(what: str, condition: Callable[[], Any], seconds: float = 3 * MINUTES) -> Any:
    """The first true value of ``condition``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.5)
    return value


def finish(stack: Any, dag_id: str, run_id: str) -> str:
    """Wait for a run to end; its state."""
    return str(
        wait(
            f"{dag_id} {run_id} ends",
            lambda: (state := stack.api.run(dag_id, run_id)["state"]) in FINISHED and state,
            5 * MINUTES,
        )
    )


def tasks(stack: Any, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
    """Task instances of a run by task id."""
    return {entry["task_id"]: entry for entry in stack.api.task_instances(dag_id, run_id)}


def started(stack: Any, run_id: str, task_id: str) -> None:
    """Wait until a task of the training pipeline runs."""
    wait(
        f"{task_id} runs",
        lambda: tasks(stack, TRAIN, run_id).get(task_id, {}).get("state") == "running",
    )


def candidates(settings: Settings, run_id: str) -> int:
    """Number of MLflow runs that a training run has left."""
    client = registry.client(settings)
    experiment = client.get_experiment_by_name(settings.experiment)
    assert experiment is not None
    return len(client.search_runs([experiment.experiment_id], f"tags.`course.run` = '{run_id}'"))


@pytest.fixture(scope="module")
def settings(stack: Any) -> Settings:
    """The settings that the tasks of the stack have."""
    own = {
        name.removeprefix("FLIGHTDELAYS_").lower(): value
        for name, value in stack.env.items()
        if name.startswith("FLIGHTDELAYS_")
    }
    return Settings(**own)


@pytest.fixture(scope="module")
def first_run(stack: Any, settings: Settings) -> str:
    """Three months landed by a backfill and built; the training run that this started."""
    for dag_id in DAGS:
        wait(f"{dag_id} is parsed", lambda dag_id=dag_id: stack.api.dag(dag_id))
    stack.api.pause(INGEST, paused=False)
    stack.api.backfill(INGEST, "2013-01-01T00:00:00Z", "2013-03-01T00:00:00Z", max_active_runs=2)
    wait("the months land", lambda: landed_months(settings) == MONTHS)
    wait(
        "the backfill ends",
        lambda: (
            Counter(run["state"] for run in stack.api.runs(INGEST, run_type="backfill"))
            == {"success": 3}
        ),
    )
    stack.api.pause(TRAIN, paused=False)
    stack.api.pause(BUILD, paused=False)
    built = stack.api.trigger(BUILD)
    assert finish(stack, BUILD, built) == "success"
    (run,) = wait("the asset starts a training", lambda: stack.api.started_by(BUILD, built))
    assert run["dag_id"] == TRAIN
    return str(run["run_id"])


def test_new_features_start_a_training_that_ends_in_a_verdict(
    stack: Any, settings: Settings, first_run: str
) -> None:
    assert stale_months(settings) == []
    assert finish(stack, TRAIN, first_run) == "success"
    assert stack.api.run(TRAIN, first_run)["run_type"] == "asset_triggered"
    verdict = json.loads(Path(stack.api.xcom(TRAIN, first_run, "report")).read_text("utf-8"))
    assert verdict["validation_month"] == "2013-03"
    assert verdict["model"] == "hist_gradient"
    chosen = "deploy" if verdict["deployed"] else "alert"
    states = {name: entry["state"] for name, entry in tasks(stack, TRAIN, first_run).items()}
    assert states.pop({"deploy": "alert", "alert": "deploy"}[chosen]) == "skipped"
    assert set(states.values()) == {"success"}
    assert candidates(settings, first_run) == 1


def test_a_schedule_that_has_outrun_the_data_skips_and_says_so(stack: Any, first_run: str) -> None:
    runs = wait("the scheduled run ends", lambda: stack.api.runs(INGEST, run_type="scheduled"))
    run_id = runs[0]["dag_run_id"]
    assert finish(stack, INGEST, run_id) == "success"
    land = tasks(stack, INGEST, run_id)["land"]
    assert land["state"] == "skipped"
    assert any("it covers 2013-01 to 2013-12" in line for line in stack.api.log(land))


def test_the_scheduler_killed_in_mid_run_the_run_still_finishes_once(
    stack: Any, settings: Settings, first_run: str
) -> None:
    finish(stack, TRAIN, first_run)
    run_id = stack.api.trigger(TRAIN, MODEL)
    started(stack, run_id, "build_training_set")
    # The scheduler, its workers, and the processes of the task, whose group is their own.
    before = stack.pids("scheduler")
    assert len(before) > 2
    moment = stack.kill("scheduler", signal.SIGKILL)
    stack.wait_healthy(moment)
    assert not before & stack.pids("scheduler")
    assert finish(stack, TRAIN, run_id) == "success"
    assert candidates(settings, run_id) == 1
    ended = tasks(stack, TRAIN, run_id)
    assert {entry["state"] for entry in ended.values()} == {"success", "skipped"}
    assert list((Path(settings.lake) / "runs").iterdir()) == []


def test_postgresql_killed_and_restarted_in_mid_run_the_run_still_finishes_once(
    stack: Any, settings: Settings, first_run: str
) -> None:
    finish(stack, TRAIN, first_run)
    run_id = stack.api.trigger(TRAIN, MODEL)
    started(stack, run_id, "build_training_set")
    stack.wait_healthy(stack.kill("postgres", signal.SIGKILL))
    assert finish(stack, TRAIN, run_id) == "success"
    assert candidates(settings, run_id) == 1
    assert set(Health(stack.state).check().values()) == {""}


def test_mlflow_down_is_named_and_the_run_goes_on_when_it_is_back(
    stack: Any, settings: Settings, first_run: str
) -> None:
    finish(stack, TRAIN, first_run)
    before = registry.alias_version("champion", settings)
    supervisor = Supervisor(stack.state)
    supervisor.stop_component("mlflow")
    try:
        run_id = stack.api.trigger(TRAIN, MODEL)
        check = wait(
            "the first check fails",
            lambda: (
                (entry := tasks(stack, TRAIN, run_id).get("check_availability"))
                and entry["state"] == "up_for_retry"
                and entry
            ),
        )
        assert any(
            f"MLflow at {settings.mlflow_tracking_uri} does not answer" in line
            for line in stack.api.log(check)
        )
    finally:
        supervisor.start_component("mlflow")
        stack.wait_healthy()
    assert finish(stack, TRAIN, run_id) == "success"
    assert registry.alias_version("champion", settings) == before
