"""The course's own metrics as they leave a process, with their tags."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from .names import REPOSITORY, ours
from .statsd import Listener, child_environment


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


@pytest.fixture(scope="module")
def metrics() -> Any:
    ours()
    import course_metrics

    return course_metrics


def test_a_deployment_sends_version_and_moment_by_alias(listener: Listener, metrics: Any) -> None:
    lines = listener.sent(lambda: metrics.send_deployment(4, ["staging"]))
    assert "airflow.model.deployments,alias=staging:1|c" in lines
    assert "airflow.model.version,alias=staging:4|g" in lines
    assert not [line for line in lines if "auc_fall" in line]


def test_a_new_champion_has_lost_nothing_yet(listener: Listener, metrics: Any) -> None:
    lines = listener.sent(lambda: metrics.send_deployment(4, ["staging", "champion"]))
    assert "airflow.model.version,alias=champion:4|g" in lines
    assert "airflow.drift.auc_fall:0|g" in lines


def test_drift_is_sent_by_month_and_feature_and_a_rise_is_below_zero(
    listener: Listener, metrics: Any
) -> None:
    months = {
        "2013-08": {"auc": 0.74, "psi": {"origin_rate": 0.1}},
        "2013-09": {"auc": 0.78, "psi": {"origin_rate": 0.25}},
    }
    fallen = listener.sent(lambda: metrics.send_drift(months, "2013-08", 0.75))
    assert "airflow.drift.auc,month=2013-09:0.78|g" in fallen
    assert "airflow.drift.psi,month=2013-09,feature=origin_rate:0.25|g" in fallen
    (fall,) = (line for line in fallen if line.startswith("airflow.drift.auc_fall:"))
    assert float(fall.split(":")[1].removesuffix("|g")) == pytest.approx(0.01)
    risen = listener.sent(lambda: metrics.send_drift(months, "2013-09", 0.75))
    # A sign makes a step of a gauge: it is set to 0 first.
    first, second = (line for line in risen if line.startswith("airflow.drift.auc_fall:"))
    assert first == "airflow.drift.auc_fall:0|g"
    assert float(second.split(":")[1].removesuffix("|g")) == pytest.approx(-0.03)


def test_a_month_that_was_not_measured_is_an_error(metrics: Any) -> None:
    with pytest.raises(KeyError):
        metrics.send_drift({}, "2013-09", 0.75)


LATE = """
import asyncio, sys
import airflow.jobs.triggerer_job_runner  # all that the triggerer's runner has imported
from airflow.triggers.callback import CallbackTrigger

run = {"dag_id": "d", "dag_run_id": "r", "state": sys.argv[1], "queued_at": "then"}
context = {"dag_run": run, "deadline": {"id": "1", "deadline_time": "then"}}

async def act():
    trigger = CallbackTrigger("course_alerts.run_late", {"context": context})
    return [event.payload async for event in trigger.run()]

print(asyncio.run(act()))
"""


@pytest.mark.parametrize(("state", "count"), [("running", 1), ("failed", 0)])
def test_a_late_run_is_counted_by_the_process_that_tells_of_it(
    state: str, count: int, listener: Listener, tmp_path: Any
) -> None:
    """As in the triggerer: a process in which no task was set up, and an event loop."""
    environment = child_environment(listener.port) | {
        "PYTHONPATH": str(REPOSITORY / "plugins"),
        "FLIGHTDELAYS_LAKE": str(tmp_path / "lake"),
        "AIRFLOW_CONN_APPRISE_DEFAULT": '{"conn_type": "apprise", "extra": {"config": '
        f'{{"path": "jsonl://localhost{tmp_path}/alerts.jsonl", "tag": "all"}}}}}}',
    }
    done = subprocess.run(
        [sys.executable, "-c", LATE, state],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "success" in done.stdout, done.stdout + done.stderr
    assert listener.lines().count("airflow.runs.late,dag_id=d:1|c") == count
    assert (tmp_path / "alerts.jsonl").exists() is bool(count)
