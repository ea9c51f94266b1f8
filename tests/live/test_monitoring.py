"""Alerts and metrics of a watched training, in the processes that really send them."""

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from course.api import FINISHED
from course.state import ADMIN
from flightdelays import features, source, store
from flightdelays.settings import Settings

pytestmark = pytest.mark.live

DAG = "monitored_training"
MONTHS = ["2013-01", "2013-02", "2013-03"]
TITLES = {
    "failed": f"Failed: {DAG}, task train",
    "late": f"Late: {DAG}",
    "retried": f"Trying again: {DAG}, task train",
    "succeeded": f"Succeeded: {DAG}",
}


def wait(what: str, condition: Callable[[], Any], seconds: float = 180) -> Any:
    """The first true value of ``condition``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.5)
    return value


def messages(stack: Any, run_id: str, title: str = "") -> list[dict[str, str]]:
    """Messages about a run, in the order in which they were sent."""
    path = Path(stack.home) / "alerts.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    sent = [json.loads(line) for line in lines]
    return [m for m in sent if f"run: {run_id}\n" in m["body"] and title in m["title"]]


def titles(stack: Any, run_id: str) -> list[str]:
    return [message["title"] for message in messages(stack, run_id)]


def finish(stack: Any, run_id: str) -> str:
    """Wait for a run to end; its state."""
    return str(
        wait(
            f"{run_id} ends",
            lambda: (state := stack.api.run(DAG, run_id)["state"]) in FINISHED and state,
            300,
        )
    )


@pytest.fixture(scope="module")
def received(stack: Any) -> Iterator[list[str]]:
    """Lines that arrive at the StatsD port while these tests run."""
    lines: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", stack.state.ports["statsd"]))
        listener.settimeout(0.5)
        listening = True

        def listen() -> None:
            while listening:
                try:
                    lines.extend(listener.recv(65_535).decode().splitlines())
                except TimeoutError:
                    continue

        thread = Thread(target=listen)
        thread.start()
        yield lines
        listening = False
        thread.join()


@pytest.fixture(scope="module")
def watched(stack: Any, received: list[str]) -> Any:
    """The stack with three months landed and built, and the DAG switched on."""
    settings = Settings(
        **{
            name.removeprefix("FLIGHTDELAYS_").lower(): value
            for name, value in stack.env.items()
            if name.startswith("FLIGHTDELAYS_")
        }
    )
    for month in MONTHS:
        source.land(month, settings)
    for month in MONTHS:
        for view in features.views(settings):
            features.build(view, month, settings)
    store.apply(settings)
    wait(f"{DAG} is parsed", lambda: stack.api.dag(DAG))
    stack.api.pause(DAG, paused=False)
    for run in stack.api.runs(DAG):
        finish(stack, run["dag_run_id"])
    return stack


@pytest.fixture(scope="module")
def failed(watched: Any) -> str:
    """A run of which every try of the training fails."""
    run_id = watched.api.trigger(DAG, {"plant": "failure"})
    assert finish(watched, run_id) == "failed"
    return str(run_id)


def test_a_failing_task_alerts_once_with_the_address_of_its_log(watched: Any, failed: str) -> None:
    (alert,) = wait("the alert arrives", lambda: messages(watched, failed, "Failed"))
    assert titles(watched, failed) == [TITLES["retried"], TITLES["failed"]]
    assert alert["type"] == "failure"
    assert "try: 2 of 2" in alert["body"]
    assert "ServiceError: planted fault 'failure'" in alert["body"]
    found = re.search(r"^log: (\S+)$", alert["body"], re.MULTILINE)
    assert found
    address = found.group(1)
    assert address.startswith(watched.state.url("airflow"))
    password = watched.state.password.get_secret_value()
    with httpx.Client(base_url=watched.state.url("airflow"), trust_env=False) as browser:
        login = browser.post("/auth/token", json={"username": ADMIN, "password": password})
        token = login.raise_for_status().json()["access_token"]
        answer = browser.get(address, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == httpx.codes.OK
    (train,) = (t for t in watched.api.task_instances(DAG, failed) if t["task_id"] == "train")
    assert address.endswith(f"{train['task_id']}?try_number={train['try_number']}")
    assert any("planted fault 'failure'" in line for line in watched.api.log(train))


def test_a_flaky_task_gives_a_notice_and_no_alert(watched: Any) -> None:
    run_id = watched.api.trigger(DAG, {"plant": "flaky"})
    assert finish(watched, run_id) == "success"
    wait("the success is told", lambda: messages(watched, run_id, "Succeeded"))
    assert titles(watched, run_id) == [TITLES["retried"], TITLES["succeeded"]]
    verdict = json.loads(Path(watched.api.xcom(DAG, run_id, "report")).read_text("utf-8"))
    assert [message["about"] for message in verdict["data"]["messages"]] == [TITLES["retried"]]


def test_a_late_run_alerts_once_while_it_still_runs(watched: Any, failed: str) -> None:
    run_id = watched.api.trigger(DAG, {"plant": "slow"})
    (alert,) = wait("the alert arrives", lambda: messages(watched, run_id, "Late"))
    assert alert["type"] == "warning"
    assert "state: running" in alert["body"]
    assert watched.api.run(DAG, run_id)["state"] == "running"
    assert finish(watched, run_id) == "success"
    wait("the success is told", lambda: messages(watched, run_id, "Succeeded"))
    assert titles(watched, run_id) == [TITLES["late"], TITLES["succeeded"]]
    # The failed run's own deadline has passed by now, and its DAG's callback has run.
    assert titles(watched, failed) == [TITLES["retried"], TITLES["failed"]]


def test_metrics_leave_the_tasks_and_the_scheduler(
    watched: Any, failed: str, received: list[str]
) -> None:
    """Those of the course are sent by a task's process, those of runs by the scheduler."""
    run_id = watched.api.trigger(DAG)
    assert finish(watched, run_id) == "success"
    verdict = json.loads(Path(watched.api.xcom(DAG, run_id, "report")).read_text("utf-8"))
    sent = verdict["data"]["metrics"]
    auc = re.compile(r"airflow\.training\.auc:(0\.\d+)\|g")
    values = [float(m.group(1)) for line in received if (m := auc.fullmatch(line))]
    assert values
    assert values[-1] == pytest.approx(sent["training.auc"])
    assert f"airflow.training.rows:{sent['training.rows']}|g" in received
    assert any(re.fullmatch(r"airflow\.training\.fit:[\d.]+\|ms", line) for line in received)
    wait(
        "the scheduler's own metric",
        lambda: any(line.startswith("airflow.dagrun.duration.success") for line in received),
    )
