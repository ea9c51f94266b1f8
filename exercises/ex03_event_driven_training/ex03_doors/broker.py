"""A broker with the messages of one check."""

import json
import os
import select
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

GROUP = "ex03"
PATIENCE = 15.0
"""Seconds for the broker to answer, and for a trigger to read what lies in the topic."""


def connect(name: str, kind: str, extra: Mapping[str, Any]) -> None:
    """Give Airflow a connection, as the environment of the stack does."""
    value = json.dumps({"conn_type": kind, "extra": extra})
    os.environ[f"AIRFLOW_CONN_{name.upper()}"] = value


@contextmanager
def called(set_variable: Callable[[str, str], None]) -> Iterator[Callable[[], bool]]:
    """Put an address that only takes calls in the place of the broker; yields whether any came."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        servers = f"127.0.0.1:{server.getsockname()[1]}"
        extra = {"bootstrap.servers": servers, "group.id": GROUP}
        set_variable("KAFKA_BOOTSTRAP_SERVERS", servers)
        for name in ("kafka_default", "kafka_ex03"):
            value = json.dumps({"conn_type": "kafka", "extra": extra})
            set_variable(f"AIRFLOW_CONN_{name.upper()}", value)
        yield lambda: bool(select.select([server], [], [], 0.2)[0])


class Broker:
    """A broker for this check alone, and what a client sees of it."""

    def __init__(self, servers: str) -> None:
        from confluent_kafka import Consumer, Producer

        self._producer = Producer({"bootstrap.servers": servers})
        self._consumer = Consumer({"bootstrap.servers": servers, "group.id": GROUP})

    def send(self, *values: bytes | None) -> int:
        """Send messages; return the offset of the last."""
        from flightdelays.requests import TOPIC

        offsets: list[int] = []
        for value in values:
            self._producer.produce(
                TOPIC, value=value, on_delivery=lambda _, message: offsets.append(message.offset())
            )
        if self._producer.flush(PATIENCE):
            raise RuntimeError("the broker of the check did not take the messages")
        return max(offsets)

    def passed(self) -> int:
        """How many messages of the topic the group of the exercise has committed."""
        from confluent_kafka import TopicPartition

        from flightdelays.requests import TOPIC

        return max(0, self._consumer.committed([TopicPartition(TOPIC, 0)], PATIENCE)[0].offset)

    def dead(self, number: int) -> list[tuple[bytes | None, str]]:
        """The first ``number`` dead letters, less if there are less: value and reason."""
        from confluent_kafka import TopicPartition

        from flightdelays.requests import DEAD_LETTERS

        self._consumer.assign([TopicPartition(DEAD_LETTERS, 0, 0)])
        found = []
        # A message without a value is false in itself.
        while len(found) < number and (message := self._consumer.poll(2)) is not None:
            if not message.error():
                reason = dict(message.headers() or []).get("reason") or b""
                found.append((message.value(), reason.decode(errors="replace")))
        self._consumer.unassign()
        return found
