"""Requests for a training: one schema for every door (Kafka, file, REST). Light: no data library.

A request names the month to judge by; the model is trained on all earlier months, or on those
from ``train_from``.
"""

from enum import StrEnum
from typing import Annotated
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flightdelays.errors import DataError
from flightdelays.settings import MODELS

TOPIC = "ml.training.requests"
DEAD_LETTERS = "ml.training.requests.dead"
EVENT_TYPE = "training.requested"

Month = Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]


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
        default_factory=lambda: uuid4().hex,
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="names the event; two messages with the same one are one request",
    )
    event_type: str = Field(default=EVENT_TYPE, pattern=f"^{EVENT_TYPE}$")
    month: Month = Field(description="month to judge the candidate by")
    train_from: Month | None = Field(default=None, description="first month to train on")
    model: str = Field(default="hist_gradient", pattern=f"^({'|'.join(MODELS)})$")
    reason: str = Field(min_length=1, max_length=500)
    priority: Priority = Priority.NORMAL


def explain(error: ValidationError) -> str:
    """What pydantic objects to, in one line: each field with what is wrong with it."""
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'message'}: {problem['msg']}"
        for problem in error.errors()
    )


def parse(text: str | bytes) -> TrainingRequest:
    """A request from JSON; DataError names each field that is wrong."""
    try:
        return TrainingRequest.model_validate_json(text)
    except ValidationError as error:
        raise DataError(f"not a training request: {explain(error)}") from error
