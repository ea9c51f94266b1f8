"""Kafka as a client sees it: topics, and messages sent by hand."""

from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from rich.table import Table

from course.console import console
from course.errors import CourseError
from course.state import State
from flightdelays.requests import DEAD_LETTERS, TOPIC

TOPICS = (TOPIC, DEAD_LETTERS)
PARTITIONS = 1
"""One partition keeps the order in which the requests came."""


def _admin(servers: str) -> AdminClient:
    # What librdkafka has to say about a broker that is away is said by the caller.
    return AdminClient({"bootstrap.servers": servers, "log_level": 0})


def topics(servers: str, timeout: float = 5) -> dict[str, int]:
    """Every topic with its number of partitions; KafkaException if no broker answers."""
    found = _admin(servers).list_topics(timeout=timeout).topics
    return {name: len(found[name].partitions) for name in sorted(found)}


def answers(state: State) -> bool:
    """Whether the broker answers and has the topics of the course."""
    try:
        return set(TOPICS) <= set(topics(state.bootstrap_servers, timeout=2))
    except KafkaException:
        return False


def create_topics(servers: str, timeout: float = 10) -> None:
    """Create the topics that are missing: a consumer of an absent one fails, and fails again."""
    missing = set(TOPICS) - set(topics(servers, timeout))
    new = [NewTopic(name, PARTITIONS, 1) for name in sorted(missing)]
    if new:
        # Kept: the answers are lost with the client.
        admin = _admin(servers)
        for future in admin.create_topics(new, operation_timeout=timeout).values():
            future.result(timeout)


def send(servers: str, topic: str, message: str, timeout: float = 10) -> dict[str, Any]:
    """Send one message and wait until the broker has it; returns partition and offset.

    Raises CourseError if the topic does not exist or nobody answers within ``timeout`` seconds.
    """
    try:
        known = topics(servers, timeout)
    except KafkaException as error:
        raise CourseError(
            f"No Kafka broker answers at {servers}.", "make status, then: make start"
        ) from error
    if topic not in known:
        raise CourseError(
            f"There is no topic {topic!r}; there are {', '.join(known) or 'none'}.", "make topics"
        )
    outcome: dict[str, Any] = {}

    def delivered(error: Any, record: Any) -> None:
        if error is not None:
            outcome["error"] = str(error)
        else:
            outcome.update(partition=record.partition(), offset=record.offset())

    producer = Producer({"bootstrap.servers": servers, "message.timeout.ms": int(timeout * 1000)})
    producer.produce(topic, value=message.encode(), on_delivery=delivered)
    producer.flush(timeout)
    if "offset" not in outcome:
        raise CourseError(
            f"{servers} did not take the message for {topic}: {outcome.get('error', 'no answer')}.",
            "make status",
        )
    return outcome


def overview(state: State) -> None:
    """Print every topic with its partitions and the number of messages in it."""
    servers = state.bootstrap_servers
    try:
        found = topics(servers)
    except KafkaException as error:
        raise CourseError(
            f"No Kafka broker answers at {servers}.", "make status, then: make start"
        ) from error
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("topic")
    for title in ("partitions", "messages"):
        table.add_column(title, justify="right")
    # Reads offsets only: it joins no group and commits nothing.
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "overview"})
    try:
        for name, partitions in found.items():
            total = 0
            for number in range(partitions):
                low, high = consumer.get_watermark_offsets(TopicPartition(name, number), timeout=5)
                total += high - low
            table.add_row(name, str(partitions), f"{total:,}")
    finally:
        consumer.close()
    kind = "somebody else's" if state.kafka else "the stack's own: Tansu, Kafka-compatible"
    console.print(f"Broker at {servers} ({kind})")
    console.print(table)
