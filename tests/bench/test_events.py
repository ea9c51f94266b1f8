"""How soon something happens: after a message, after an asset update, after a drift."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from typing import Any

import pytest

from course.api import FINISHED
from course.kafka import send
from flightdelays import features, registry, source, store
from flightdelays.requests import TOPIC
from flightdelays.settings import Settings

EVENT, TRAIN, MONITOR, BUILD = (
    "retrain_on_event",
    "train_delay_model",
    "monitor_drift",
    "build_features",
)
TIMES = 10
YEAR = [f"2013-{number:02d}" for number in range(1, 13)]


def wait(condition: Callable[[], Any], seconds: float = 300) -> Any:
    """The first true value of ``condition``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return value


def seconds(begin: datetime, end: str) -> float:
    return (datetime.fromisoformat(end) - begin).total_seconds()


def newest(stack: Any, dag_id: str, since: datetime) -> dict[str, Any] | None:
    """The run of a DAG that was queued after a moment, once its first task has started."""
    runs = stack.api.runs(dag_id, order_by="-run_after")
    for run in runs[:1]:
        if datetime.fromisoformat(run["queued_at"]) > since:
            return dict(run)
    return None


def tasks(stack: Any, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
    return {entry["task_id"]: entry for entry in stack.api.task_instances(dag_id, run_id)}


def first_start(stack: Any, dag_id: str, task_id: str, since: datetime) -> float:
    """Seconds from a moment until the first task of the run that it caused was running."""

    def started() -> str | None:
        run = newest(stack, dag_id, since)
        if run is None:
            return None
        task = tasks(stack, dag_id, run["dag_run_id"]).get(task_id)
        return task and task["start_date"]

    result = seconds(since, wait(started))
    finished(stack, dag_id, since)
    return result


def finished(stack: Any, dag_id: str, since: datetime) -> dict[str, Any]:
    """The run that followed a moment, once it has ended."""
    return dict(
        wait(lambda: (run := newest(stack, dag_id, since)) and run["state"] in FINISHED and run)
    )


@pytest.fixture(scope="module")
def settings(stack: Any) -> Settings:
    """The settings of the tasks; the whole year is landed and built, Feast knows it."""
    found: Settings = stack.settings
    for month in YEAR:
        source.land(month, found)
    for view, months in features.stale(found).items():
        for month in months:
            features.build(view, month, found)
    store.apply(found)
    for dag_id in (EVENT, TRAIN, MONITOR, BUILD):
        wait(lambda dag_id=dag_id: stack.api.dag(dag_id))
    return found


def message(event_id: str, **values: Any) -> str:
    content = {
        "event_id": event_id,
        "event_type": "training.requested",
        "month": "2013-03",
        "model": "logistic",
        "reason": "measured",
    }
    return json.dumps(content | values)


def test_message_to_task(figure: Any, stack: Any, settings: Settings) -> None:
    """From the broker's confirmation to the first task running; the same event each time.

    The first one trains, the others are found to be duplicates: that is known only in the task.
    """
    for dag_id in (TRAIN, EVENT):
        stack.api.pause(dag_id, paused=False)
    servers = stack.state.bootstrap_servers
    moment = datetime.now(UTC)
    send(servers, TOPIC, message("measured"))
    finished(stack, EVENT, moment)
    taken = []
    for _ in range(TIMES):
        time.sleep(3)
        send(servers, TOPIC, message("measured"))
        taken.append(first_start(stack, EVENT, "accept", datetime.now(UTC)))
    figure("message_to_task", median(taken), "s", "≤ 4")
    figure("message_to_task_slowest", max(taken), "s", "-")


def test_asset_to_task(figure: Any, stack: Any, settings: Settings) -> None:
    """From an update of the asset `flights` to the first task of its consumer running."""
    stack.api.pause(BUILD, paused=False)
    assets = stack.api.request("GET", "/api/v2/assets", params={"name_pattern": "flights"})
    (asset,) = [entry for entry in assets["assets"] if entry["name"] == "flights"]
    taken = []
    for _ in range(TIMES):
        time.sleep(3)
        moment = datetime.now(UTC)
        stack.api.request("POST", "/api/v2/assets/events", json={"asset_id": asset["id"]})
        taken.append(first_start(stack, BUILD, "find_stale", moment))
    figure("asset_to_task", median(taken), "s", "≤ 4")
    figure("asset_to_task_slowest", max(taken), "s", "-")


def test_drift_to_staging(figure: Any, stack: Any, settings: Settings) -> None:
    """A champion of January and February, monitored from April on until it has drifted."""
    # New features would train a champion of the whole year.
    stack.api.pause(BUILD)
    client = registry.client(settings)
    if client.search_registered_models(f"name = '{settings.model_name}'"):
        client.delete_registered_model(settings.model_name)
    for dag_id in (TRAIN, EVENT, MONITOR):
        stack.api.pause(dag_id, paused=False)
    aged = {"train_from": "2013-01", "validation_month": "2013-03"}
    moment = datetime.now(UTC)
    stack.api.trigger(TRAIN, aged)
    finished(stack, TRAIN, moment)
    for month in YEAR[3:]:
        moment = datetime.now(UTC)
        run_id = stack.api.trigger(MONITOR, {"month": month})
        finished(stack, MONITOR, moment)
        publish = tasks(stack, MONITOR, run_id)["publish"]
        if publish["state"] == "success":
            break
    sent = datetime.fromisoformat(publish["end_date"])
    event_id = stack.api.xcom(MONITOR, run_id, "publish")["event_id"]
    finished(stack, EVENT, moment)
    deploy = tasks(stack, TRAIN, f"request__{event_id}")["deploy"]
    assert deploy["state"] == "success"
    figure("drift_to_staging", seconds(sent, deploy["end_date"]), "s", "≤ 90")
