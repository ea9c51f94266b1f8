"""What exercise 3 is given: requests in, a small model out. The exercise puts them together.

A request is a dictionary with the fields of ``flightdelays.requests.TrainingRequest``. The
exercise has a folder of its own for files and for claims, so it takes nothing away from the
pipelines of the course.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flightdelays import incoming
from flightdelays.errors import DataError, ServiceError
from flightdelays.lake import month_number, open_lake
from flightdelays.requests import DEAD_LETTERS, LARGEST, from_fields, parse_message
from flightdelays.settings import Settings, get_settings

FOLDER = "ex03"
LAST_DAY = 21
"""The model learns from the days of a month up to this one, and is judged on the days after."""
DELIVERY_SECONDS = 10
Request = dict[str, Any]


def request(month: str, origin: str) -> Request:
    """A request for a month, as somebody makes it by hand or by REST; ``origin`` names it."""
    fields = {"month": month, "reason": "asked for by hand or by REST"}
    return from_fields(fields, origin, datetime.now(UTC)).request.model_dump(mode="json")


def read(value: bytes | None, origin: str) -> Request | None:
    """The request in a Kafka message, or None if the message is about something else.

    ``origin`` names the message, the same at each read: a request without an ``event_id`` gets
    one made from it. Raises DataError, which says why, if the message is malformed.
    """
    found = parse_message(value, origin)
    return None if found is None else found.model_dump(mode="json")


def set_aside(value: bytes | None, reason: str, origin: str) -> None:
    """Put a malformed message among the dead letters, with reason and origin in its headers.

    The broker is that of ``KAFKA_BOOTSTRAP_SERVERS``. Returns once it has the message;
    ServiceError if it has not within 10 seconds.
    """
    from confluent_kafka import Producer

    failures: list[str] = []
    producer = Producer({"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"]})
    producer.produce(
        DEAD_LETTERS,
        value=None if value is None else value[:LARGEST],
        headers=[("reason", reason), ("origin", origin)],
        on_delivery=lambda error, _: failures.append(str(error)) if error else None,
    )
    if producer.flush(DELIVERY_SECONDS):
        producer.purge()
        failures.append("no answer from the broker")
    if failures:
        raise ServiceError(f"{origin} did not reach {DEAD_LETTERS}: {failures[0]}")


def claim(wanted: Mapping[str, Any], run: str) -> bool:
    """Take a request for a run; False if another run has its ``event_id`` already.

    The run that has it may ask again: a task that is tried again gets the same answer.
    """
    lake = open_lake()
    path = lake.path(FOLDER, "claims", f"{wanted['event_id']}.json")
    return lake.create_json(path, {"run": run}) or bool(lake.read_json(path)["run"] == run)


def take(run: str) -> list[Request]:
    """The requests in the files ``ex03/*.json`` of the incoming folder, for this run alone.

    The files go to ``ex03/taken/``, malformed ones to ``ex03/rejected/`` with the reason. The
    same run asking again gets the same requests.
    """
    arrivals = incoming.take(run, settings=_own_folder())
    return [arrival.request.model_dump(mode="json") for arrival in arrivals]


def settle(run: str) -> list[str]:
    """Move the files that a run has taken to ``ex03/done/``; returns their new paths."""
    return incoming.settle(run, settings=_own_folder())


def train(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Fit a small model to the month of a request: its first three weeks, judged on the rest.

    Returns ``event_id``, ``month``, ``flights`` (fitted on) and ``auc`` (0 to 1), and writes them
    to ``ex03/trainings/<event_id>.json`` in the lake. DataError if there are no such flights.
    """
    import pyarrow.compute as pc
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    from flightdelays.source import read_source

    number = month_number(wanted["month"])
    flights = read_source("flights")
    chosen = pc.and_(
        pc.equal(flights["year"], number // 12), pc.equal(flights["month"], number % 12 + 1)
    )
    # A flight that was cancelled has no delay to learn from.
    rows = flights.filter(chosen).to_pandas().dropna(subset=["arr_delay"])
    if rows.empty:
        raise DataError(f"there are no flights of {wanted['month']}: pick a month of 2013")
    late = rows["arr_delay"] > get_settings().late_minutes
    early = rows["day"] <= LAST_DAY
    columns = ["hour", "origin", "carrier"]
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(handle_unknown="ignore"), columns)),
        LogisticRegression(solver="newton-cholesky"),
    )
    model.fit(rows.loc[early, columns], late[early])
    probabilities = model.predict_proba(rows.loc[~early, columns])[:, 1]
    outcome = {
        "event_id": wanted["event_id"],
        "month": wanted["month"],
        "flights": int(early.sum()),
        "auc": round(float(roc_auc_score(late[~early], probabilities)), 4),
    }
    lake = open_lake()
    lake.write_json(lake.path(FOLDER, "trainings", f"{wanted['event_id']}.json"), outcome)
    return outcome


def _own_folder() -> Settings:
    settings = get_settings()
    return settings.model_copy(update={"incoming": str(Path(settings.incoming) / FOLDER)})
