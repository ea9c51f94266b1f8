"""Alerts of a real run, at a real web server; and what the callbacks say and when they do not."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from .conftest import REPOSITORY, states

Run = Callable[..., Any]
DAG = "monitored_training"
PLUGINS = REPOSITORY / "plugins"


class Receiver:
    """The service to which Apprise's webhook posts: an HTTP server of this test."""

    def __init__(self) -> None:
        received: list[dict[str, str]] = []
        self.received = received
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if outer.status == 200:
                    received.append(json.loads(body))
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"json://127.0.0.1:{self.server.server_port}/"

    def take(self) -> list[dict[str, str]]:
        """What has come since the last call."""
        taken = list(self.received)
        self.received.clear()
        return taken


def connection(address: str) -> str:
    config = {"path": address, "tag": "all"}
    return json.dumps({"conn_type": "apprise", "extra": {"config": config}})


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    made = Receiver()
    thread = Thread(target=made.server.serve_forever)
    thread.start()
    monkeypatch.setenv("AIRFLOW_CONN_APPRISE_DEFAULT", connection(made.address))
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture(scope="module")
def without_deadline(dagbag: Any) -> Iterator[None]:
    """``dag.test()`` of 3.3.2 cannot end a successful run whose DAG has a deadline.

    It looks for the deadlines in the database under ids that only the dag-processor gives them.
    The live tests have the deadline.
    """
    dag = dagbag.dags[DAG]
    kept, dag.deadline = dag.deadline, None
    yield
    dag.deadline = kept


def context(clear_number: int = 0, run_id: str = "manual__1", **more: Any) -> dict[str, Any]:
    """The part of Airflow's context that the callbacks read."""
    ti = SimpleNamespace(
        dag_id=DAG,
        task_id="train",
        run_id=run_id,
        map_index=-1,
        try_number=2,
        max_tries=1,
        log_url="http://airflow/log",
    )
    return {
        "dag": SimpleNamespace(dag_id=DAG),
        "run_id": run_id,
        "dag_run": SimpleNamespace(clear_number=clear_number),
        "ti": ti,
        "exception": ValueError("{{ braces }} are no template"),
        "reason": "task_failure",
    } | more


@pytest.fixture
def lake(workplace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An empty lake, in which nothing has been claimed."""
    from flightdelays.settings import get_settings

    monkeypatch.setenv("FLIGHTDELAYS_LAKE", str(tmp_path / "lake"))
    get_settings.cache_clear()
    yield tmp_path / "lake"
    monkeypatch.undo()
    get_settings.cache_clear()


def test_a_flaky_run_tells_of_the_retry_and_of_its_success(
    lake_of_nine_months: Any, run: Run, without_deadline: None, receiver: Receiver, workplace: Path
) -> None:
    done = run(DAG, plant="flaky")
    assert done.state == "success"
    retried, succeeded = receiver.take()
    assert retried["title"] == f"Trying again: {DAG}, task train"
    assert retried["type"] == "info"
    assert "try: 1 of 2\nerror: ServiceError: planted fault 'flaky'" in retried["message"]
    assert (succeeded["title"], succeeded["type"]) == (f"Succeeded: {DAG}", "success")
    (path,) = (workplace / "site" / DAG).glob("*/verdict.json")
    verdict = json.loads(path.read_text("utf-8"))
    assert verdict["run_id"] == done.run_id
    assert [message["about"] for message in verdict["data"]["messages"]] == [retried["title"]]
    metrics = verdict["data"]["metrics"]
    assert 0.6 < metrics["training.auc"] < 0.9
    assert 10_000 < metrics["training.rows"] < 20_000
    assert list((workplace / "lake/runs").rglob("*")) == []


def test_a_failed_run_alerts_once_and_is_cleaned_up(
    lake_of_nine_months: Any, run: Run, without_deadline: None, receiver: Receiver, workplace: Path
) -> None:
    done = run(DAG, plant="failure")
    assert done.state == "failed"
    assert states(done)["train"] == "failed"
    assert states(done)["clean_up"] == "success"
    retried, failed = receiver.take()
    assert retried["title"].startswith("Trying again")
    assert (failed["title"], failed["type"]) == (f"Failed: {DAG}, task train", "failure")
    assert "try: 2 of 2" in failed["message"]
    assert f"/dags/{DAG}/runs/" in failed["message"]
    assert list((workplace / "lake/runs").rglob("*")) == []


def test_a_run_that_no_task_told_of_is_told_by_the_run(lake: Path, receiver: Receiver) -> None:
    import course_alerts

    course_alerts.run_failed(context(reason="timed_out"))
    course_alerts.run_failed({k: context()[k] for k in ("dag", "reason")} | {"run_id": "bare"})
    first, second = receiver.take()
    assert first["title"] == f"Failed: {DAG}"
    assert "reason: timed_out" in first["message"]
    assert "run: bare" in second["message"]


def test_several_tasks_of_a_run_alert_once_until_it_is_cleared(
    lake: Path, receiver: Receiver
) -> None:
    import course_alerts

    course_alerts.task_failed(context())
    course_alerts.task_failed(context())
    course_alerts.run_failed(context())
    (alert,) = receiver.take()
    assert "error: ValueError: {{ braces }} are no template\nlog: http://" in alert["message"]
    course_alerts.task_failed(context(clear_number=1))
    course_alerts.task_failed(context(run_id="manual__2"))
    assert len(receiver.take()) == 2


@pytest.mark.parametrize("wrong", ["status", "address", "nobody"])
def test_an_alert_that_does_not_arrive_is_an_error_and_leaves_it_to_the_next(
    wrong: str, lake: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    import course_alerts
    from flightdelays.errors import ServiceError

    name = "AIRFLOW_CONN_APPRISE_DEFAULT"
    if wrong == "status":
        receiver.status = 500
    else:
        value = {
            "address": connection("nonsense://x"),
            "nobody": connection("json://127.0.0.1:9/"),
        }
        monkeypatch.setenv(name, value[wrong])
    with pytest.raises(ServiceError, match=rf"Failed: {DAG}.* not delivered.*apprise_default"):
        course_alerts.task_failed(context())
    receiver.status = 200
    monkeypatch.setenv(name, connection(receiver.address))
    course_alerts.run_failed(context())
    (alert,) = receiver.take()
    assert alert["title"] == f"Failed: {DAG}"


def deadline(state: str, number: str = "d1") -> dict[str, Any]:
    """The short context of a deadline alert."""
    now = datetime.now(UTC).isoformat()
    dag_run = {"dag_id": DAG, "dag_run_id": "manual__1", "state": state, "queued_at": now}
    return {"dag_run": dag_run, "deadline": {"id": number, "deadline_time": now}}


def test_a_late_run_alerts_once_and_a_failed_one_is_not_late(
    lake: Path, receiver: Receiver
) -> None:
    import course_alerts

    for state in ("running", "running", "failed"):
        asyncio.run(course_alerts.run_late(deadline(state)))
    (alert,) = receiver.take()
    assert (alert["title"], alert["type"]) == (f"Late: {DAG}", "warning")
    assert "state: running" in alert["message"]


def test_on_a_laptop_messages_are_lines_of_a_file(
    lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from urllib.parse import quote

    import course_alerts

    path = tmp_path / "a folder" / "Alerts é.jsonl"
    path.parent.mkdir()
    address = f"jsonl://localhost{quote(str(path))}"
    monkeypatch.setenv("AIRFLOW_CONN_APPRISE_DEFAULT", connection(address))
    course_alerts.task_failed(context())
    course_alerts.run_succeeded(context())
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [line["type"] for line in lines] == ["failure", "success"]
    assert lines[0]["body"].endswith("log: http://airflow/log")
    assert any(r.levelname == "ERROR" and "Failed" in r.message for r in caplog.records)


def test_plugins_do_not_load_apprise() -> None:
    """It is for those who send: every process imports the plugins at its start."""
    from airflow._shared.module_loading.file_discovery import find_path_from_directory

    found = {Path(p).name for p in find_path_from_directory(PLUGINS, ".airflowignore", "glob")}
    assert {"course_alerts.py", "course_metrics.py"} <= found
    assert "course_notifier.py" not in found
