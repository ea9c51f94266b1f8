"""Requests come in by every door of a running stack and through its accidents, trained once."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from course.api import AirflowError
from course.kafka import send
from flightdelays import features, ledger, source, store
from flightdelays.errors import LakeError
from flightdelays.requests import DEAD_LETTERS, TOPIC
from flightdelays.settings import Settings

from .test_pipelines import finish, wait

pytestmark = pytest.mark.live

TRAIN = "train_delay_model"
EVENT, FILE, SENSOR = "retrain_on_event", "retrain_on_file", "await_training_request"
MONTHS = ["2013-01", "2013-02", "2013-03"]
MINUTES = 60
# A task that deferred is reported a few seconds later; Airflow 3.3 fails one that resumes earlier.
SETTLED = 6


def request(event_id: str, month: str = "2013-02", **fields: Any) -> str:
    """A request for the quickest of the models."""
    content = {"event_id": event_id, "month": month, "model": "logistic", "reason": "live test"}
    return json.dumps(content | fields)


def training(settings: Settings, event_id: str) -> str | None:
    """Run id of the training that serves an event, None as long as there is none."""
    try:
        return ledger.entry(event_id, settings).training
    except LakeError:
        return None


def trained(stack: Any, settings: Settings, *event_ids: str) -> set[str]:
    """Wait until events are served by trainings that have ended well; the ids of those."""
    found = {
        str(wait(f"{event_id} is taken", lambda event_id=event_id: training(settings, event_id)))
        for event_id in event_ids
    }
    for run_id in found:
        wait(f"{run_id} is there", lambda run_id=run_id: run_id in requested(stack))
        assert finish(stack, TRAIN, run_id) == "success"
    return found


def requested(stack: Any) -> set[str]:
    """Run ids of all trainings that requests have started."""
    runs = stack.api.runs(TRAIN)
    return {run["dag_run_id"] for run in runs if run["dag_run_id"].startswith("request__")}


def dead_letters(stack: Any) -> list[dict[str, str]]:
    """Headers of all dead letters: read until none comes, for the broker may count one too few."""
    consumer = Consumer({"bootstrap.servers": stack.state.bootstrap_servers, "group.id": "reader"})
    consumer.assign([TopicPartition(DEAD_LETTERS, 0, 0)])
    try:
        letters = list(iter(lambda: consumer.poll(3), None))
    finally:
        consumer.close()
    return [{key: value.decode() for key, value in letter.headers()} for letter in letters]


@pytest.fixture(scope="module")
def settings(stack: Any) -> Settings:
    """The settings of the stack's tasks, three months landed and built, training switched on."""
    own = {
        name.removeprefix("FLIGHTDELAYS_").lower(): value
        for name, value in stack.env.items()
        if name.startswith("FLIGHTDELAYS_")
    }
    found = Settings(**own)
    for month in MONTHS:
        source.land(month, found)
    for month in features.stale_months(found):
        for view in features.views(found):
            features.build(view, month, found)
    store.apply(found)
    store.materialize(store.end_of_month(MONTHS[-1]), found)
    for dag_id in (TRAIN, EVENT, FILE, SENSOR):
        wait(f"{dag_id} is parsed", lambda dag_id=dag_id: stack.api.dag(dag_id))
    stack.api.pause(TRAIN, paused=False)
    return found


@pytest.fixture
def watching(stack: Any, settings: Settings) -> Iterator[None]:
    """The watcher is switched on; a message may come before it has begun to read."""
    stack.api.pause(EVENT, paused=False)
    yield
    for run in stack.api.runs(EVENT):
        finish(stack, EVENT, run["dag_run_id"])


def test_a_sensor_takes_a_message_trains_and_waits_for_the_next(
    stack: Any, settings: Settings
) -> None:
    stack.api.pause(SENSOR, paused=False)
    try:
        (first,) = wait("a run begins", lambda: stack.api.runs(SENSOR))
        run_id = first["dag_run_id"]
        wait(
            "the sensor sleeps",
            lambda: "deferred" in {t["state"] for t in stack.api.task_instances(SENSOR, run_id)},
        )
        time.sleep(SETTLED)
        send(stack.state.bootstrap_servers, TOPIC, request("sensor"))
        assert trained(stack, settings, "sensor") == {"request__sensor"}
        assert ledger.entry("sensor", settings).run == f"{SENSOR}/{run_id}"
        assert finish(stack, SENSOR, run_id) == "success"
        wait("the next run waits", lambda: len(stack.api.runs(SENSOR)) == 2)
    finally:
        stack.api.pause(SENSOR)
        # What sleeps goes on sleeping though the DAG is paused, and would take the next message.
        for run in stack.api.runs(SENSOR, state="running"):
            stack.api.request(
                "PATCH",
                f"/api/v2/dags/{SENSOR}/dagRuns/{run['dag_run_id']}",
                json={"state": "failed"},
            )


def test_of_a_burst_nothing_is_lost_and_each_month_is_trained_once(
    stack: Any, settings: Settings, watching: None
) -> None:
    before, buried = requested(stack), len(dead_letters(stack))
    names = [f"burst-{number:02d}" for number in range(20)]
    messages = [request(name, MONTHS[1 + index % 2]) for index, name in enumerate(names)]
    messages.insert(3, json.dumps({"event_type": "model.deployed", "version": 7}))
    messages.insert(7, '{"month": "next"}')
    messages.append(request(names[0]))
    producer = Producer({"bootstrap.servers": stack.state.bootstrap_servers})
    for message in messages:
        producer.produce(TOPIC, message.encode())
    assert producer.flush(30) == 0

    assert len(trained(stack, settings, *names)) == 2
    wait("the offsets are committed", lambda: len(dead_letters(stack)) > buried)
    (letter,) = dead_letters(stack)[buried:]
    assert "month: String should match pattern" in letter["reason"]
    for run in stack.api.runs(EVENT):
        assert finish(stack, EVENT, run["dag_run_id"]) == "success"
    assert len(requested(stack) - before) == 2
    entries = [ledger.entry(name, settings) for name in names]
    assert {(entry.request.month, entry.training) for entry in entries} == {
        (MONTHS[1], entries[0].training),
        (MONTHS[2], entries[1].training),
    }
    # What it saw belongs to one run: its page shows all twenty, and the duplicate.
    run_id = entries[0].run.removeprefix(f"{EVENT}/")
    verdict = json.loads(Path(stack.api.xcom(EVENT, run_id, "report")).read_text("utf-8"))
    assert verdict["headline"] == "2 trainings served 20 requests."
    assert verdict["facts"][-1] == "1 duplicate left out: each event is trained once."


def test_the_triggerer_killed_after_a_message_was_sent_the_request_is_trained_once(
    stack: Any, settings: Settings, watching: None
) -> None:
    before = requested(stack)
    send(stack.state.bootstrap_servers, TOPIC, request("killed"))
    moment = stack.kill("triggerer", signal.SIGKILL)
    stack.wait_healthy(moment)
    assert trained(stack, settings, "killed") == {"request__killed"}
    assert requested(stack) - before == {"request__killed"}


def test_a_frozen_broker_delays_requests_and_loses_none(
    stack: Any, settings: Settings, watching: None
) -> None:
    before = requested(stack)
    names = [f"frozen-{number}" for number in range(4)]
    send(stack.state.bootstrap_servers, TOPIC, request(names[0]))
    frozen = stack.pids("kafka")
    assert frozen
    producer = Producer({"bootstrap.servers": stack.state.bootstrap_servers})
    try:
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        for name in names[1:]:
            producer.produce(TOPIC, request(name).encode())
        thread = threading.Thread(target=producer.flush, args=(2 * MINUTES,))
        thread.start()
        # Far longer than the group waits for a silent member.
        time.sleep(60)
        assert thread.is_alive()
        assert training(settings, names[-1]) is None
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    thread.join()
    assert len(producer) == 0
    served = trained(stack, settings, *names)
    assert served == requested(stack) - before
    assert len(served) <= 2


def test_a_file_is_taken_by_the_run_that_names_it_and_put_away(
    stack: Any, settings: Settings
) -> None:
    incoming = Path(settings.incoming)
    (incoming / "named.json.tmp").write_text(request("named"))
    (incoming / "named.json.tmp").rename(incoming / "named.json")
    stack.api.pause(FILE, paused=False)
    try:
        run_id = stack.api.trigger(FILE, {"path": "named.json"})
        assert trained(stack, settings, "named") == {"request__named"}
        assert finish(stack, FILE, run_id) == "success"
        assert ledger.entry("named", settings).run == f"{FILE}/{run_id}"
        assert (incoming / "done" / "named.json").is_file()
    finally:
        stack.api.pause(FILE)


def test_rest_takes_valid_requests_only_and_an_event_that_was_trained_not_again(
    stack: Any, settings: Settings
) -> None:
    with pytest.raises(AirflowError, match="Invalid input for param month"):
        stack.api.trigger(FILE, {"month": "2013-2"})
    before = requested(stack)
    stack.api.pause(FILE, paused=False)
    try:
        known = {"event_id": "named", "month": "2013-02", "model": "logistic", "reason": "REST"}
        again = stack.api.trigger(FILE, known)
        outside = stack.api.trigger(FILE, {"path": "../named.json"})
        assert finish(stack, FILE, again) == "success"
        states = {t["task_id"]: t["state"] for t in stack.api.task_instances(FILE, again)}
        assert (states["accept"], states["train"]) == ("success", "skipped")
        assert states["wait_for_file"] == "skipped"
        assert finish(stack, FILE, outside) == "failed"
        (take,) = [t for t in stack.api.task_instances(FILE, outside) if t["task_id"] == "take"]
        assert any("'../named.json' is refused" in line for line in stack.api.log(take))
    finally:
        stack.api.pause(FILE)
    assert requested(stack) == before
