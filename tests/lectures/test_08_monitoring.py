"""Lecture 8: what it says of metrics, callbacks, deadlines, alert rules and health."""

import logging
import re
import socket
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from course.fences import Fence, fences

REPOSITORY = Path(__file__).resolve().parents[2]
SNIPPETS = REPOSITORY / "lecture-notes" / "snippets"
PAGE = REPOSITORY / "lecture-notes" / "08-monitoring.md"


def fence(language: str) -> Fence:
    """The only block of the page in this language."""
    (found,) = (found for found in fences(PAGE) if found.language == language)
    return found


@pytest.fixture(scope="module", autouse=True)
def plugins() -> Iterator[None]:
    """What Airflow puts on the path of each of its processes."""
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(REPOSITORY / "plugins")
    yield
    patch.undo()


def catalogue() -> dict[str, dict[str, Any]]:
    """Airflow's own list of its metrics, by name."""
    import airflow

    folder = Path(airflow.__file__).parent / "_shared" / "observability" / "metrics"
    listed = yaml.safe_load((folder / "metrics_template.yaml").read_text("utf-8"))
    return {entry["name"]: entry for entry in listed["metrics"]}


def ours() -> set[str]:
    """The course's own metrics."""
    import course_metrics

    return {str(metric) for metric in course_metrics.Metric}


def test_the_metrics_of_the_table_are_those_that_are_emitted() -> None:
    rows = re.findall(r"^\| (DAG|task|Airflow|model) \|.*\|(.*)\|$", PAGE.read_text("utf-8"), re.M)
    assert [level for level, _ in rows] == ["DAG", "task", "Airflow", "model"]
    for level, cell in rows:
        names = set(re.findall(r"`([^`]+)`", cell)) - {"monitor_drift"}
        assert names
        assert names <= (ours() if level == "model" else set(catalogue())), level


class Statsd:
    """A metrics server, and Airflow's own client that sends to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        port = str(self.socket.getsockname()[1])
        for name, value in {"ON": "True", "HOST": "127.0.0.1", "PORT": port}.items():
            monkeypatch.setenv(f"AIRFLOW__METRICS__STATSD_{name}", value)
        self.patch = monkeypatch

    def sent(self, send: Callable[[], None], *, tags: bool, legacy: bool = False) -> list[str]:
        """The lines that arrive."""
        from airflow.sdk.observability import stats
        from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

        self.patch.setenv("AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED", str(tags))
        stats.initialize(factory=get_stats_factory(), export_legacy_names=legacy)
        send()
        lines: list[str] = []
        try:
            while True:
                lines += self.socket.recv(65_535).decode().splitlines()
        except BlockingIOError:
            return lines


@pytest.fixture
def statsd() -> Iterator[Statsd]:
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

    with pytest.MonkeyPatch.context() as patch:
        server = Statsd(patch)
        yield server
        server.socket.close()
    stats.initialize(factory=get_stats_factory(), export_legacy_names=True)


def test_labels_vanish_in_plain_statsd_and_stay_with_tags(statsd: Statsd) -> None:
    import course_metrics

    def send() -> None:
        trained = {"rows": 15_000, "auc": 0.756, "seconds": 2.5}
        course_metrics.send_training("monitored_training", trained)

    plain, tagged = fence("text").text.splitlines()
    assert plain in statsd.sent(send, tags=False)
    lines = statsd.sent(send, tags=True)
    assert tagged in lines
    assert "airflow.training.fit,dag_id=monitored_training:2500.000000|ms" in lines


def test_opentelemetry_keeps_labels() -> None:
    from airflow._shared.observability.metrics.otel_logger import SafeOtelLogger
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    SafeOtelLogger(MeterProvider([reader])).gauge("training.auc", 0.756, tags={"dag_id": "d"})
    data = reader.get_metrics_data()
    assert data is not None
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    (point,) = metric.data.data_points
    assert metric.name == "airflow.training.auc"
    assert dict(point.attributes or {}) == {"dag_id": "d"}


def test_a_number_with_an_old_name_is_sent_under_both(statsd: Statsd) -> None:
    from airflow.sdk.observability import stats

    tags = {"dag_id": "d", "task_id": "t", "state": "success"}

    def send() -> None:
        stats.incr("ti.finish", tags=tags)

    both = statsd.sent(send, tags=True, legacy=True)
    assert len(both) == 2
    assert any(line.startswith("airflow.ti.finish.d.t.success") for line in both)
    (one,) = statsd.sent(send, tags=True)
    assert one.startswith("airflow.ti.finish,")


def test_run_and_job_ids_are_held_back_by_default(statsd: Statsd) -> None:
    from airflow.sdk.observability import stats

    tags = {"dag_id": "d", "run_id": "r", "job_id": "j", "dagrun_id": "r"}

    def send() -> None:
        stats.incr("deadline_alerts.deadline_missed", tags=tags)

    assert statsd.sent(send, tags=True) == ["airflow.deadline_alerts.deadline_missed,dag_id=d:1|c"]
    statsd.patch.setenv("AIRFLOW__METRICS__STATSD_DISABLED_TAGS", "job_id")
    (line,) = statsd.sent(send, tags=True)
    assert "run_id=r" in line


def test_a_task_tells_its_exception_and_a_dag_its_reason(snippet: Any) -> None:
    lesson = snippet("l08_two_callbacks")
    loaded = lesson.dag()
    lesson.dag = lambda dag_id="": loaded
    run = lesson.run()
    assert run.state == "failed"
    assert run.one("fit").tries == 2
    about_task, about_run = loaded.on_failure_callback.__globals__["TOLD"]
    assert about_task.startswith("fit, try 2: ValueError('no rows for 2013-13'), see http")
    assert about_run == "l08_two_callbacks: task_failure"


def test_in_the_dag_processor_a_run_that_timed_out_has_a_reason_and_no_exception(
    database: None,
) -> None:
    import structlog
    from airflow.callbacks.callback_requests import DagCallbackRequest
    from airflow.dag_processing.dagbag import DagBag
    from airflow.dag_processing.processor import _execute_dag_callbacks

    bag = DagBag(str(SNIPPETS / "l08_two_callbacks.py"))
    heard: list[Any] = []
    bag.dags["l08_two_callbacks"].on_failure_callback = heard.append
    request = DagCallbackRequest(
        filepath="l08_two_callbacks.py",
        bundle_name="snippets",
        bundle_version=None,
        dag_id="l08_two_callbacks",
        run_id="late",
        is_failure_callback=True,
        msg="timed_out",
    )
    _execute_dag_callbacks(bag, request, structlog.get_logger())
    (context,) = heard
    assert context["reason"] == "timed_out"
    assert "exception" not in context


class Deadlines:
    """Runs of a DAG that has deadlines, made and ended as the scheduler does it."""

    def __init__(self, dag: Any) -> None:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
        from airflow.utils.session import create_session

        self.dag_id = dag.dag_id
        bag = DagBag("/dev/null")
        bag.dags[dag.dag_id] = dag
        with create_session() as session:
            DagBundlesManager().sync_bundles_to_db(session=session)
        with create_session() as session:
            sync_bag_to_db(bag, "snippets", None, session=session)

    def _dag(self, session: Any) -> Any:
        from airflow.models.dagbag import DBDagBag

        return DBDagBag().get_latest_version_of_dag(self.dag_id, session=session)

    def queue(self, run_id: str) -> list[timedelta]:
        """Queue a run; how long after that each of its deadlines is."""
        from airflow.utils.session import create_session
        from airflow.utils.state import DagRunState
        from airflow.utils.types import DagRunTriggeredByType, DagRunType

        with create_session() as session:
            run = self._dag(session).create_dagrun(
                run_id=run_id,
                logical_date=None,
                run_after=datetime.now(UTC),
                run_type=DagRunType.MANUAL,
                triggered_by=DagRunTriggeredByType.TEST,
                state=DagRunState.QUEUED,
                session=session,
            )
            session.flush()
            session.refresh(run)
            return sorted(each.deadline_time - run.queued_at for each in run.deadlines)

    def end(self, run_id: str, state: str) -> int:
        """Let the tasks of a run end so, and the run with them; how many deadlines are left."""
        from airflow.models.dagrun import DagRun
        from airflow.utils.session import create_session
        from airflow.utils.state import DagRunState
        from sqlalchemy import select

        with create_session() as session:
            run = session.scalars(select(DagRun).filter_by(dag_id=self.dag_id, run_id=run_id)).one()
            run.dag, run.state = self._dag(session), DagRunState.RUNNING
            run.start_date = datetime.now(UTC)
            for instance in run.get_task_instances(session=session):
                instance.state = state
            session.flush()
            run.update_state(session=session, execute_callbacks=False)
            session.flush()
            session.refresh(run)
            assert run.state == state
            return len(run.deadlines)

    def miss(self, run_id: str) -> list[Any]:
        """Let the scheduler find the deadlines of a run missed; the callbacks that it queues."""
        from airflow.models.dagrun import DagRun
        from airflow.models.deadline import Deadline
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            mine = select(Deadline).join(DagRun).where(DagRun.run_id == run_id)
            found = session.scalars(mine).all()
            for deadline in found:
                deadline.handle_miss(session)
            session.flush()
            return [(type(each.callback).__name__, dict(each.callback.data)) for each in found]


@pytest.fixture(scope="module")
def deadlines(database: None) -> Deadlines:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(SNIPPETS / "l08_deadlines.py"))
    assert not bag.import_errors
    return Deadlines(bag.dags["l08_deadlines"])


def test_a_run_in_time_takes_its_deadline_away_and_a_failed_one_keeps_it(
    deadlines: Deadlines,
) -> None:
    # For an average there are not yet three runs that have succeeded.
    assert deadlines.queue("good") == [timedelta(minutes=30)]
    assert deadlines.end("good", "success") == 0
    assert deadlines.queue("bad") == [timedelta(minutes=30)]
    assert deadlines.end("bad", "failed") == 1
    for run_id in ("third", "fourth"):
        assert len(deadlines.queue(run_id)) == 1
        deadlines.end(run_id, "success")
    usual, absolute = deadlines.queue("fifth")
    assert absolute == timedelta(minutes=30)
    assert timedelta(minutes=5) <= usual < timedelta(minutes=6)


def test_the_scheduler_hands_an_async_callback_to_the_triggerer(deadlines: Deadlines) -> None:
    deadlines.queue("late")
    kind, data = deadlines.miss("late")[0]
    assert kind == "TriggererCallback"
    assert data["path"] == "course_alerts.run_late"
    assert set(data["kwargs"]["context"]) == {"dag_run", "deadline"}
    assert isinstance(data["kwargs"]["context"]["dag_run"], dict)


SYNC = """
from datetime import timedelta
from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference, SyncCallback, dag, task

async def here(context): ...

@dag(schedule=None, deadline=[DeadlineAlert(
    name="late", reference=DeadlineReference.DAGRUN_QUEUED_AT,
    interval=timedelta(minutes=1), callback={callback})])
def l08_text():
    @task
    def train(): ...
    train()

l08_text()
"""


def test_a_sync_callback_is_for_a_worker(database: None, parsing: Any) -> None:
    bag = parsing(SYNC.format(callback="SyncCallback('course_alerts.run_succeeded')"))
    made = Deadlines(bag.dags["l08_text"])
    made.queue("by_a_worker")
    ((kind, _),) = made.miss("by_a_worker")
    assert kind == "ExecutorCallback"


def test_a_callback_in_the_dag_file_parses_and_cannot_be_imported_elsewhere(parsing: Any) -> None:
    from airflow.sdk._shared.module_loading import import_string

    bag = parsing(SYNC.format(callback="AsyncCallback(here)"))
    assert not bag.import_errors
    (alert,) = bag.dags["l08_text"].deadline
    module = alert.callback.path.rpartition(".")[0]
    # What the triggerer is: a process that has not read the file.
    sys.modules.pop(module, None)
    with pytest.raises(ImportError):
        import_string(alert.callback.path)


def test_dag_test_cannot_end_a_good_run_with_a_deadline(database: None) -> None:
    from airflow.dag_processing.dagbag import DagBag

    dag = DagBag(str(SNIPPETS / "l08_deadlines.py")).dags["l08_deadlines"]
    with pytest.raises(Exception, match="deadline"):
        dag.test()


def rules() -> dict[str, dict[str, Any]]:
    """The alert rules of the stack in containers, by name."""
    text = (REPOSITORY / "monitoring" / "rules" / "alerts.yaml").read_text("utf-8")
    found = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    return {rule["alert"]: rule for rule in found}


def test_the_alerts_that_the_page_names_are_there_with_its_two_classes() -> None:
    text = PAGE.read_text("utf-8")
    named = set(re.findall(r"`((?:[A-Z][a-z]+){2,})`", text))
    named -= {"DeadlineAlert", "AsyncCallback", "SyncCallback"}  # Airflow's
    assert {"QueueGrowing", "MetricsLost", "ChampionFallen"} <= named
    assert named <= set(rules())
    classes = re.search(r"Two classes are enough: `(\w+)` .* `(\w+)` ", text)
    assert classes
    assert set(classes.groups()) == {rule["labels"]["severity"] for rule in rules().values()}
    assert rules()["ChampionFallen"]["labels"]["severity"] == "warning"
    assert "course:tasks_queued:sum" in rules()["QueueGrowing"]["expr"]


def test_the_duration_of_parsing_is_sent_in_seconds_as_if_in_milliseconds(statsd: Statsd) -> None:
    from airflow.dag_processing import manager
    from airflow.sdk.observability import stats

    # The dag-processor has its own copy of the module; it would send elsewhere.
    statsd.patch.setattr(manager, "stats", stats)

    def send() -> None:
        when = datetime.now(UTC)
        manager.process_parse_results(0.25, when, 1, "b", None, relative_fileloc="one.py")

    (line,) = [line for line in statsd.sent(send, tags=True) if "last_duration" in line]
    assert line.endswith(":0.250000|ms"), "a quarter of a second"


def test_what_is_with_celerys_broker_is_in_no_queue_of_the_executor() -> None:
    from airflow.providers.celery.executors.celery_executor import CeleryExecutor

    task, sent = SimpleNamespace(task_id="id"), SimpleNamespace(task_id="id", backend=None)
    own: Any = SimpleNamespace(
        celery_app=SimpleNamespace(backend=None),
        log=logging.getLogger(__name__),
        queued_tasks={"key": task},
        queued_callbacks={},
        running=set(),
        workloads={},
        workload_publish_retries={},
        event_buffer={},
        _send_workloads_to_celery=lambda handed: [(key, None, sent) for key, *_ in handed],
    )
    CeleryExecutor._send_workloads(own, [("key", task, "default", None)])  # type: ignore[list-item]
    assert own.queued_tasks == {}
    assert own.running == {"key"}, "though no worker has taken it"


def test_health_answers_200_with_a_scheduler_that_is_dead(database: None) -> None:
    from airflow.api_fastapi.core_api.routes.public.monitor import monitor_router
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    app = FastAPI()
    app.include_router(monitor_router, prefix="/api/v2")
    answer = TestClient(app).get("/api/v2/monitor/health")
    assert answer.status_code == 200
    assert answer.json()["scheduler"]["status"] == "unhealthy"
