"""Send a training request to Kafka and know that the broker has it."""

from typing import Any

from confluent_kafka import KafkaException

from flightdelays.errors import CourseError, ServiceError
from flightdelays.requests import TOPIC, TrainingRequest

PATIENCE = 15
"""Seconds to wait for the broker: first for its list of topics, then for its confirmation."""


def deliver(producer: Any, request: TrainingRequest, servers: str) -> int:
    """Send a request with a ``confluent_kafka.Producer``; returns its offset in the topic.

    ``servers`` is the address that messages name. Raises ServiceError if no broker answers there
    or none confirms the message, CourseError if it has no such topic.
    """
    try:
        known = producer.list_topics(timeout=PATIENCE).topics
    except KafkaException as error:
        raise ServiceError(
            f"no Kafka broker answers at {servers} ({error.args[0].str()}): see `make status`"
        ) from error
    if TOPIC not in known:
        raise CourseError(f"Kafka at {servers} has no topic {TOPIC}: create it with `make topics`")
    outcome: dict[str, Any] = {}
    producer.produce(
        TOPIC,
        key=request.event_id,
        value=request.model_dump_json(),
        on_delivery=lambda failure, message: outcome.update(failure=failure, message=message),
    )
    if producer.flush(PATIENCE):
        # Sent later it would be a request that the caller was told had failed.
        producer.purge()
        outcome["failure"] = f"no confirmation within {PATIENCE} s"
    if outcome["failure"] is not None:
        raise ServiceError(
            f"Kafka at {servers} did not take the message for {TOPIC}: {outcome['failure']}"
        )
    return int(outcome["message"].offset())
