"""What the triggerer does with the messages of the topic of training requests.

A valid request becomes an event. A message of another ``event_type`` is passed over. Anything
else goes to the dead letters, with the reason; it is passed over only once it is there.
"""

import logging
from collections.abc import AsyncIterator, Hashable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, NamedTuple, cast

from airflow.providers.apache.kafka.hooks.consume import KafkaConsumerHook
from airflow.providers.apache.kafka.hooks.produce import KafkaProducerHook
from airflow.providers.apache.kafka.triggers.shared_stream import (
    KafkaBrokerPayload,
    KafkaSharedStreamProducer,
    KafkaSharedStreamTrigger,
)
from airflow.triggers.base import TriggerEvent
from airflow.triggers.shared_stream import AdvanceItem, reject_shared_stream_event
from asgiref.sync import sync_to_async
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from flightdelays.errors import DataError, ServiceError
from flightdelays.requests import DEAD_LETTERS, LARGEST, TOPIC, Arrival, parse_message

log = logging.getLogger(__name__)

CONNECTION = "kafka_retrain_on_event"
PRODUCER = "kafka_default"
# Synchronous calls of all triggers take turns in one thread: a long poll holds up the others.
POLL_SECONDS = 0.2
DELIVERY_SECONDS = 10


class Letter(NamedTuple):
    """A message as it lies in Kafka."""

    topic: str
    partition: int
    offset: int
    value: bytes | None
    sent_at: datetime | None

    @classmethod
    def of(cls, message: Message) -> "Letter":
        """The letter in a message that the consumer has read."""
        kind, milliseconds = message.timestamp()
        return cls(
            topic=cast(str, message.topic()),
            partition=cast(int, message.partition()),
            offset=cast(int, message.offset()),
            value=message.value(),
            sent_at=None
            if kind == TIMESTAMP_NOT_AVAILABLE
            else datetime.fromtimestamp(milliseconds / 1000, UTC),
        )

    @property
    def origin(self) -> str:
        """Names this message. The time is part of it: a new broker counts offsets from 0 again."""
        moment = f" of {self.sent_at.isoformat()}" if self.sent_at else ""
        return f"{self.topic}[{self.partition}]@{self.offset}{moment}"

    def read(self) -> Arrival | None:
        """The request, or None if the message is about something else; DataError if malformed."""
        request = parse_message(self.value, self.origin)
        if request is None:
            log.info("%s is of another event_type: passed over", self.origin)
            return None
        return Arrival(request=request, origin=self.origin, sent_at=self.sent_at)


class TrainingRequestProducer(KafkaSharedStreamProducer):
    """Reads whole messages, and puts rejected ones among the dead letters before committing."""

    async def open_stream(self) -> AsyncIterator[tuple[Letter, KafkaBrokerPayload]]:
        """Yield each message with what its commit needs; RuntimeError if the broker reports one."""
        hook = KafkaConsumerHook(topics=self.topics, kafka_config_id=self.kafka_config_id)
        await self._ensure_manual_commit(hook)
        self._consumer = await sync_to_async(hook.get_consumer)()
        poll = sync_to_async(self._consumer.poll)
        while True:
            message = await poll(self.poll_timeout)
            if message is None:
                continue
            if message.error():
                raise RuntimeError(f"Kafka reports for {self.topics}: {message.error()}")
            letter = Letter.of(message)
            # The value is kept until the commit: a dead letter needs it.
            payload = KafkaBrokerPayload(
                letter.topic, letter.partition, letter.offset, value=letter
            )
            yield letter, payload

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Commit in order; a rejected message only once it lies among the dead letters.

        Raises ServiceError if it could not be delivered: the stream ends with that message and
        all after it uncommitted, and is started again.
        """
        for rejected, items in groupby(batch, key=lambda item: item.outcome.rejected > 0):
            part = list(items)
            if rejected:
                letters = [item.broker_payload.value for item in part]
                await sync_to_async(bury)(letters)
            await super().advance(part)


class TrainingRequestTrigger(KafkaSharedStreamTrigger):
    """Fires an event for each valid training request, with the Arrival as its payload.

    An offset is committed after the event has been stored in Airflow's database, so a triggerer
    that dies loses nothing; it may read a message twice.
    """

    def __init__(
        self,
        topics: Sequence[str] = (TOPIC,),
        kafka_config_id: str = CONNECTION,
        poll_timeout: float = POLL_SECONDS,
    ) -> None:
        super().__init__(topics=topics, kafka_config_id=kafka_config_id, poll_timeout=poll_timeout)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Where the triggerer finds this class, and with which arguments."""
        arguments = {
            "topics": self.topics,
            "kafka_config_id": self.kafka_config_id,
            "poll_timeout": self.poll_timeout,
        }
        return f"{__name__}.{type(self).__name__}", arguments

    def shared_stream_key(self) -> Hashable:
        """Apart from the provider's own triggers, whose streams carry values alone."""
        return "training-requests", *self.topics, self.kafka_config_id

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> TrainingRequestProducer:
        """The reader of the topic, one for all triggers with the same topics and connection."""
        return TrainingRequestProducer(**kwargs)

    async def filter_shared_stream(
        self, shared_stream: AsyncIterator[Letter]
    ) -> AsyncIterator[TriggerEvent]:
        """An event for each valid request."""
        # [START filter]
        async for letter in shared_stream:
            try:
                arrival = letter.read()
            except DataError as error:
                log.warning("%s: %s", letter.origin, error)
                reject_shared_stream_event()
                continue
            if arrival is not None:
                yield TriggerEvent(arrival.model_dump(mode="json"))
        # [END filter]


def arrival_in(message: Message) -> dict[str, Any] | None:
    """The same rules as an ``apply_function`` of AwaitMessageSensor: an Arrival, or None.

    Raises ServiceError if a malformed message could not be put among the dead letters.
    """
    letter = Letter.of(message)
    try:
        arrival = letter.read()
    except DataError as error:
        log.warning("%s: %s", letter.origin, error)
        bury([letter])
        return None
    return None if arrival is None else arrival.model_dump(mode="json")


def bury(letters: Sequence[Letter]) -> None:
    """Put malformed messages among the dead letters, with reason and origin in their headers.

    Returns once the broker has them all; ServiceError if it has not within 10 seconds. A value
    above the limit is cut, so that its dead letter is not refused for its size as well.
    """
    producer = KafkaProducerHook(kafka_config_id=PRODUCER).get_producer()
    failures: list[str] = []

    def delivered(error: Any, _: Message) -> None:
        if error is not None:
            failures.append(str(error))

    for letter in letters:
        headers = {
            "reason": _reason(letter),
            "topic": letter.topic,
            "partition": str(letter.partition),
            "offset": str(letter.offset),
            "sent_at": letter.sent_at.isoformat() if letter.sent_at else "",
            "bytes": str(len(letter.value or b"")),
        }
        producer.produce(
            DEAD_LETTERS,
            value=None if letter.value is None else letter.value[:LARGEST],
            headers=list(headers.items()),
            on_delivery=delivered,
        )
    waiting = producer.flush(DELIVERY_SECONDS)
    if waiting or failures:
        producer.purge()
        raise ServiceError(
            f"{waiting + len(failures)} of {len(letters)} dead letters did not reach "
            f"{DEAD_LETTERS}: {'; '.join(failures) or 'no answer from the broker'}"
        )


def _reason(letter: Letter) -> str:
    try:
        letter.read()
    except DataError as error:
        return str(error)[:1000]
    raise ValueError(f"{letter.origin} is a valid request, no dead letter")
