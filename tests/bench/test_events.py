"""How soon something happens: after a message, after an asset update."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from course.kafka import send
from flightdelays.requests import TOPIC
from flightdelays.settings import Settings

from .runs import BUILD, EVENT, TRAIN, finished, newest, tasks, wait, year

TIMES = 10


def first_start(stack: Any, dag_id: str, task_id: str, since: datetime) -> float:
    """Seconds from a moment until the first task of the run that it caused was running."""

    def started() -> str | None:
        run = newest(stack, dag_id, since)
        if run is None:
            return None
        task = tasks(stack, dag_id, run["dag_run_id"]).get(task_id)
        return task and task["start_date"]

    result = (datetime.fromisoformat(wait(started)) - since).total_seconds()
    finished(stack, dag_id, since)
    return result


@pytest.fixture(scope="module")
def settings(stack: Any) -> Settings:
    """The settings of the tasks; the whole year is landed and built, Feast knows it."""
    return year(stack)


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
    figure("message_to_task", taken, "s", "≤ 4")
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
    stack.api.pause(BUILD)
    figure("asset_to_task", taken, "s", "≤ 4")
    figure("asset_to_task_slowest", max(taken), "s", "-")
