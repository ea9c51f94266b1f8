"""The embedded broker, for real: topics, messages, and what is said when it is away."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from course import kafka
from course.components import names, programs, render
from course.config import Config
from course.environment import connections, stack_environment
from course.errors import CourseError
from course.ports import any_free
from course.stack import refuse_moved_ports
from course.state import State
from flightdelays.requests import DEAD_LETTERS, TOPIC


@pytest.fixture(scope="module")
def broker() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A broker of its own on a free port, with its topics."""
    port = any_free()
    process = subprocess.Popen([sys.executable, "-m", "course.broker", str(port)])
    servers = f"127.0.0.1:{port}"
    deadline = time.monotonic() + 30
    while True:
        try:
            if set(kafka.TOPICS) <= set(kafka.topics(servers, timeout=1)):
                break
        except KafkaException:
            assert time.monotonic() < deadline
    yield servers, process
    process.terminate()
    process.wait(10)


def test_the_topics_are_there_and_creating_them_again_changes_nothing(
    broker: tuple[str, object],
) -> None:
    kafka.create_topics(broker[0])
    assert kafka.topics(broker[0]) == {TOPIC: 1, DEAD_LETTERS: 1}


def test_a_message_that_was_sent_can_be_read_as_it_was(broker: tuple[str, object]) -> None:
    text = json.dumps({"note": 'it\'s "quoted" and späte'})
    first = kafka.send(broker[0], TOPIC, text)
    second = kafka.send(broker[0], TOPIC, "second")
    assert second == {"partition": 0, "offset": first["offset"] + 1}
    consumer = Consumer({"bootstrap.servers": broker[0], "group.id": "test"})
    consumer.assign([TopicPartition(TOPIC, 0, first["offset"])])
    read = [message.value().decode() for message in consumer.consume(2, timeout=20)]
    consumer.close()
    assert read == [text, "second"]


def test_the_overview_counts_what_lies_in_each_topic(
    broker: tuple[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    sent = kafka.send(broker[0], DEAD_LETTERS, "x")
    kafka.overview(State(ports={"kafka": int(broker[0].split(":")[1])}))
    lines = capsys.readouterr().out.splitlines()
    assert "Tansu, Kafka-compatible" in lines[0]
    (row,) = [line.split() for line in lines if DEAD_LETTERS in line]
    assert row == [DEAD_LETTERS, "1", str(sent["offset"] + 1)]


def test_an_unknown_topic_is_named_with_those_there_are(broker: tuple[str, object]) -> None:
    with pytest.raises(CourseError, match=rf"no topic 'ml.training'; there are .*{TOPIC}"):
        kafka.send(broker[0], "ml.training", "{}")


def test_a_broker_that_is_away_is_named() -> None:
    servers = f"127.0.0.1:{any_free()}"
    with pytest.raises(CourseError, match=f"No Kafka broker answers at {servers}"):
        kafka.send(servers, TOPIC, "{}", timeout=1)
    with pytest.raises(CourseError, match=servers):
        kafka.overview(State(ports={}, kafka=servers))


def test_a_frozen_broker_does_not_count_as_having_taken_a_message(
    broker: tuple[str, subprocess.Popen[bytes]],
) -> None:
    import psutil

    (tansu,) = psutil.Process(broker[1].pid).children()
    tansu.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(CourseError):
            kafka.send(broker[0], TOPIC, "{}", timeout=2)
    finally:
        tansu.send_signal(signal.SIGCONT)


def test_ending_the_component_ends_the_broker() -> None:
    import psutil

    port = any_free()
    process = subprocess.Popen(
        [sys.executable, "-m", "course.broker", str(port)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert any("listening on" in line and TOPIC in line for line in process.stdout)
    (tansu,) = psutil.Process(process.pid).children()
    process.terminate()
    process.wait(10)
    assert not tansu.is_running()


def test_another_broker_takes_the_place_of_the_embedded_one(config: Config, state: State) -> None:
    state.kafka = "kafka.example:9092"
    assert "kafka" not in names(state)
    assert "program:kafka" not in render(config, state, config.root)
    assert all(program.name != "kafka" for program in programs(config, state, config.root))
    environment = stack_environment(config, state)
    assert environment["KAFKA_BOOTSTRAP_SERVERS"] == "kafka.example:9092"
    connection = json.loads(environment["AIRFLOW_CONN_KAFKA_DEFAULT"])
    assert connection["extra"] == {"bootstrap.servers": "kafka.example:9092"}


def test_consumers_never_commit_by_themselves_and_share_no_group(
    config: Config, state: State
) -> None:
    extras = [
        json.loads(value)["extra"]
        for name, value in connections(config, state).items()
        if "KAFKA" in name and "group.id" in value
    ]
    assert len(extras) == 3
    assert all(extra["enable.auto.commit"] is False for extra in extras)
    assert len({extra["group.id"] for extra in extras}) == 3


def test_a_running_stack_does_not_move_to_another_broker(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka.example:9092")
    with pytest.raises(CourseError, match=r"Kafka broker at 127\.0\.0\.1:19092"):
        refuse_moved_ports(Config(), state)
