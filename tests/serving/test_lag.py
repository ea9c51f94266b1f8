"""The lag of Kafka's readers, as Prometheus would read it, from a real broker: the embedded one.

It lists a group once that has committed; the lag of members without a commit is for Apache Kafka.
"""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import httpx
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from prometheus_client import CollectorRegistry

from course import kafka
from course.ports import any_free
from serving.lag import Lag

Until = Callable[[Callable[[], object], str], None]
TWO = "two.partitions"


def ready(servers: str) -> bool:
    try:
        return set(kafka.TOPICS) <= set(kafka.topics(servers, timeout=1))
    except KafkaException:
        return False


@pytest.fixture(scope="module")
def broker(until: Until) -> Iterator[str]:
    """A broker with five messages in the two partitions of one topic: three, and two."""
    port = any_free()
    servers = f"127.0.0.1:{port}"
    process = subprocess.Popen([sys.executable, "-m", "course.broker", str(port)])
    try:
        until(lambda: ready(servers), "the broker answers")
        admin = AdminClient({"bootstrap.servers": servers})
        admin.create_topics([NewTopic(TWO, 2, 1)])[TWO].result()
        producer = Producer({"bootstrap.servers": servers})
        for number in range(5):
            producer.produce(TWO, b"x", partition=number % 2)
            # Each alone: of messages that come together this broker counts the first as the last.
            assert producer.flush(30) == 0
        yield servers
    finally:
        process.terminate()
        process.wait(10)


def commit(servers: str, group: str, offsets: dict[int, int]) -> None:
    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": group, "enable.auto.commit": False}
    )
    places = [TopicPartition(TWO, number, offset) for number, offset in offsets.items()]
    consumer.commit(offsets=places, asynchronous=False)
    consumer.close()


def registered(servers: str) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Lag(servers))
    return registry


def lag(registry: CollectorRegistry, group: str) -> list[float | None]:
    """Lag of a group in the first and the second partition."""
    return [
        registry.get_sample_value(
            "kafka_consumergroup_lag", {"group": group, "topic": TWO, "partition": partition}
        )
        for partition in ("0", "1")
    ]


def test_lag_is_counted_from_the_commit(broker: str) -> None:
    registry = registered(broker)
    commit(broker, "both", {0: 1, 1: 2})
    assert lag(registry, "both") == [2, 0]
    commit(broker, "both", {0: 3})
    assert lag(registry, "both") == [0, 0]
    assert registry.get_sample_value("kafka_up") == 1
    assert registry.get_sample_value("kafka_consumergroup_members", {"group": "both"}) == 0


def test_a_partition_without_a_commit_counts_from_its_first_message(broker: str) -> None:
    commit(broker, "one", {0: 3})
    assert lag(registered(broker), "one") == [0, 2]


def test_a_commit_past_the_end_is_no_lag(broker: str) -> None:
    """As after a topic that was made anew."""
    commit(broker, "past", {0: 70, 1: 2})
    assert lag(registered(broker), "past") == [0, 0]


def test_who_never_committed_is_not_there(broker: str) -> None:
    assert lag(registered(broker), "nobody") == [None, None]


def test_new_messages_are_seen_at_the_next_scrape(broker: str) -> None:
    commit(broker, "follows", {1: 2})
    registry = registered(broker)
    before = lag(registry, "follows")[0]
    assert before is not None
    producer = Producer({"bootstrap.servers": broker})
    producer.produce(TWO, b"y", partition=0)
    assert producer.flush(30) == 0
    assert lag(registry, "follows") == [before + 1, 0]


def test_a_broker_that_is_away_is_down_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    servers = f"127.0.0.1:{any_free()}"
    registry = registered(servers)
    with caplog.at_level(logging.WARNING, "serving.lag"):
        for _ in range(2):
            (family,) = registry.collect()
            assert [(sample.name, sample.value) for sample in family.samples] == [("kafka_up", 0)]
    assert [record.getMessage().split(": ")[0] for record in caplog.records] == [
        f"Kafka at {servers} does not answer"
    ]


def test_as_a_program_it_answers_prometheus_and_ends_in_order(broker: str, until: Until) -> None:
    port = any_free()
    process = subprocess.Popen(
        [sys.executable, "-m", "serving.lag"],
        env=os.environ | {"KAFKA_BOOTSTRAP_SERVERS": broker, "LAG_PORT": str(port)},
    )
    commit(broker, "program", {0: 0, 1: 2})
    address = f"http://127.0.0.1:{port}/metrics"

    def answers() -> bool:
        try:
            return httpx.get(address, timeout=30).is_success
        except httpx.TransportError:
            return False

    try:
        until(answers, "it answers")
        text = httpx.get(address, timeout=30).text
        assert f'kafka_consumergroup_lag{{group="program",partition="1",topic="{TWO}"}} 0.0' in text
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
