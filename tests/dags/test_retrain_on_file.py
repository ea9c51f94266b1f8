"""A file, its name or a request in the run's parameters: each door works alone."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from .conftest import states
from .test_retrain_on_event import result, training_has_run

Run = Callable[..., Any]


@pytest.fixture
def incoming(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder in which requests arrive."""
    from flightdelays.settings import get_settings

    folder = workplace / "incoming"
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("FLIGHTDELAYS_INCOMING", str(folder))
    connection = {"conn_type": "fs", "extra": {"path": str(folder)}}
    monkeypatch.setenv("AIRFLOW_CONN_FS_INCOMING", json.dumps(connection))
    get_settings.cache_clear()
    yield folder
    get_settings.cache_clear()


def put(folder: Path, name: str, event_id: str) -> None:
    content = {"event_id": event_id, "month": "2013-09", "reason": f"file {name}"}
    (folder / name).write_text(json.dumps(content))


def test_a_run_takes_what_has_arrived_and_puts_it_away(run: Run, incoming: Path) -> None:
    put(incoming, "a.json", "file-a")
    (incoming / "broken.json").write_text("{")
    training_has_run("request__file-a")
    done = run("retrain_on_file")
    assert done.state == "success"
    assert set(states(done).values()) == {"success"}
    assert sorted(path.name for path in incoming.rglob("*") if path.is_file()) == [
        "a.json",
        "broken.json",
        "broken.json.reason.txt",
    ]
    assert (incoming / "done" / "a.json").is_file()
    assert (incoming / "rejected" / "broken.json").is_file()
    verdict = json.loads(Path(result(done, "report")).read_text("utf-8"))
    assert verdict["headline"] == "1 training served 1 request."


def test_a_run_with_a_files_name_takes_that_file_alone(run: Run, incoming: Path) -> None:
    put(incoming, "b.json", "file-b")
    put(incoming, "c.json", "file-c")
    training_has_run("request__file-c")
    done = run("retrain_on_file", path="c.json")
    assert done.state == "success"
    assert states(done)["wait_for_file"] == "skipped"
    assert [order["trigger_run_id"] for order in result(done, "accept")] == ["request__file-c"]
    assert (incoming / "b.json").is_file()
    assert (incoming / "done" / "c.json").is_file()
    # Somebody took it before: no failure, nothing to do.
    late = run("retrain_on_file", path="c.json")
    assert late.state == "success"
    assert states(late)["take"] == "skipped"
    for name in ("../b.json", "absent.json"):
        assert states(run("retrain_on_file", path=name))["take"] == "failed"
    assert (incoming / "b.json").is_file()


def test_a_run_with_a_request_waits_for_nothing_and_trains_it_once(
    run: Run, incoming: Path
) -> None:
    training_has_run("request__rest-1")
    request = {
        "event_id": "rest-1",
        "month": "2013-09",
        "train_from": "2013-08",
        "model": "logistic",
        "reason": "asked for in a test",
        "priority": "high",
    }
    done = run("retrain_on_file", **request)
    assert done.state == "success"
    assert states(done)["wait_for_file"] == "skipped"
    (order,) = result(done, "accept")
    assert order["conf"] == {
        "model": "logistic",
        "train_from": "2013-08",
        "validation_month": "2013-09",
    }
    assert order["note"] == "asked for in a test (serves 1: rest-1)"
    again = run("retrain_on_file", **request)
    assert states(again)["accept"] == "success"
    assert states(again)["train"] == "skipped"


def test_contradicting_parameters_are_refused(run: Run, incoming: Path) -> None:
    both = run("retrain_on_file", path="a.json", month="2013-09")
    assert states(both)["choose"] == "failed"
    reversed_ = run("retrain_on_file", month="2013-08", train_from="2013-09")
    assert states(reversed_)["take"] == "failed"


@pytest.mark.parametrize(
    ("dag_id", "task_id"),
    [("retrain_on_file", "wait_for_file"), ("await_training_request", "wait_for_message")],
)
def test_a_wait_in_vain_skips_and_any_other_end_of_it_fails(
    dagbag: Any, dag_id: str, task_id: str
) -> None:
    from airflow.sdk.exceptions import AirflowSkipException, TaskDeferralError

    sensor = dagbag.dags[dag_id].get_task(task_id)
    assert timedelta(0) < timedelta(seconds=float(sensor.timeout)) <= timedelta(hours=1)
    with pytest.raises(AirflowSkipException, match="nothing came in time"):
        sensor.resume_execution("__fail__", {"error": "Trigger timeout"}, {})
    with pytest.raises(TaskDeferralError):
        sensor.resume_execution("__fail__", {"error": "Trigger failure"}, {})
