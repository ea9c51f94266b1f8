"""Requests for a training: one schema for every door (Kafka, file, REST). Light: no data library.

A request names the month to judge by; the model is trained on all earlier months, or on those
from ``train_from``.
"""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from flightdelays.errors import DataError
from flightdelays.settings import MODELS

TOPIC = "ml.training.requests"
DEAD_LETTERS = "ml.training.requests.dead"
EVENT_TYPE = "training.requested"
LARGEST = 64 * 1024
"""Bytes of the largest message that is read; a request has a few hundred."""

MONTH = r"^[0-9]{4}-(0[1-9]|1[0-2])$"
EVENT_ID = r"^[A-Za-z0-9._-]{1,64}$"
Month = Annotated[str, Field(pattern=MONTH)]


class Priority(StrEnum):
    """How urgent a request is; of those that wait together the most urgent is trained first."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for the most urgent."""
        return list(Priority).index(self)


class TrainingRequest(BaseModel):
    """Content of a message: what to train, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    event_id: str = Field(
        default_factory=lambda: uuid.uuid4().hex,
        pattern=EVENT_ID,
        description="names the event; two messages with the same one are one request",
    )
    event_type: str = Field(default=EVENT_TYPE, pattern=f"^{EVENT_TYPE}$")
    month: Month = Field(description="month to judge the candidate by")
    train_from: Month | None = Field(default=None, description="first month to train on")
    model: str = Field(default="hist_gradient", pattern=f"^({'|'.join(MODELS)})$")
    reason: str = Field(min_length=1, max_length=500)
    priority: Priority = Priority.NORMAL

    @model_validator(mode="after")
    def _trains_before_it_judges(self) -> Self:
        if self.train_from is not None and self.train_from >= self.month:
            raise ValueError(f"train_from {self.train_from} is not before month {self.month}")
        return self


class Arrival(BaseModel):
    """A request as it came in: through which door, and when it was sent."""

    model_config = ConfigDict(frozen=True)

    request: TrainingRequest
    origin: str = Field(description="names this one message, file or run, the same at every read")
    sent_at: datetime | None = Field(default=None, description="by the clock of the sender")


def explain(error: ValidationError) -> str:
    """What pydantic objects to, in one line: each field with what is wrong with it."""
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'message'}: {problem['msg']}"
        for problem in error.errors()
    )


def event_id_of(origin: str) -> str:
    """An event id for a request that came without one: the same whenever ``origin`` is read."""
    return uuid.uuid5(uuid.NAMESPACE_URL, origin).hex


def parse(text: str | bytes, origin: str | None = None) -> TrainingRequest:
    """A request from JSON; DataError names each field that is wrong.

    A request without an event id gets one made from ``origin``, or a random one.
    """
    return _validate(_decode(text), origin)


def parse_message(value: bytes | None, origin: str) -> TrainingRequest | None:
    """A request from a Kafka message, or None if the message is of another ``event_type``.

    Raises DataError, with the reason, for everything that is neither.
    """
    if value is None:
        raise DataError("not a training request: a message without a value (a tombstone)")
    content = _decode(value)
    if isinstance(content, dict):
        event_type = content.get("event_type", EVENT_TYPE)
        if isinstance(event_type, str) and event_type != EVENT_TYPE:
            return None
    return _validate(content, origin)


def from_fields(fields: dict[str, Any], origin: str, sent_at: datetime) -> Arrival:
    """A request from its fields; DataError names each that is wrong."""
    return Arrival(request=_validate(fields, origin), origin=origin, sent_at=sent_at)


def _decode(text: str | bytes) -> Any:
    if len(text) > LARGEST:
        raise DataError(f"not a training request: {len(text):,} bytes, at most {LARGEST:,} allowed")
    try:
        return from_json(text)
    except ValueError as error:
        raise DataError(f"not a training request: not JSON ({error})") from error


def _validate(content: Any, origin: str | None) -> TrainingRequest:
    if not isinstance(content, dict):
        raise DataError("not a training request: JSON, but not an object with fields")
    if origin is not None and "event_id" not in content:
        content = {**content, "event_id": event_id_of(origin)}
    try:
        return TrainingRequest.model_validate(content)
    except ValidationError as error:
        raise DataError(f"not a training request: {explain(error)}") from error
