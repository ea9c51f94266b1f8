"""Training requests: what is one, what is about something else, what is malformed and why."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from flightdelays.errors import DataError
from flightdelays.requests import LARGEST, Priority, event_id_of, from_fields, parse, parse_message

VALID: dict[str, Any] = {"event_id": "e-1", "month": "2013-09", "reason": "new carrier"}
ORIGIN = "ml.training.requests[0]@7"


def message(**fields: Any) -> bytes:
    return json.dumps(VALID | fields).encode()


def test_a_request_needs_a_month_and_a_reason_and_has_defaults_for_the_rest() -> None:
    request = parse(message())
    assert (request.event_id, request.month, request.reason) == ("e-1", "2013-09", "new carrier")
    assert (request.model, request.train_from) == ("hist_gradient", None)
    assert request.priority is Priority.NORMAL
    assert sorted(Priority, key=lambda priority: priority.rank) == ["high", "normal", "low"]


def test_without_an_event_id_the_same_message_has_the_same_one_at_every_read() -> None:
    text = b'{"month": "2013-09", "reason": "x"}'
    request = parse_message(text, ORIGIN)
    assert request is not None
    assert request.event_id == event_id_of(ORIGIN)
    assert request == parse_message(text, ORIGIN)
    assert request != parse_message(text, ORIGIN + "1")


@pytest.mark.parametrize("event_type", ["training.finished", "model.deployed", ""])
def test_a_message_of_another_type_is_about_something_else(event_type: str) -> None:
    assert parse_message(json.dumps({"event_type": event_type, "any": 1}).encode(), ORIGIN) is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "tombstone"),
        (b"", "not JSON"),
        (b"{not json", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 10_000, "not JSON"),
        (b"[1]", "not an object"),
        (b"null", "not an object"),
        (b"x" * (LARGEST + 1), "65,537 bytes, at most 65,536"),
        (b"{}", "month: Field required; reason: Field required"),
        (message(event_type=5), "event_type: "),
        (message(month="2013-13"), "month: "),
        (message(month="٢٠١٣-09"), "month: "),
        (message(month="2013-09\n"), "month: "),
        (message(train_from="2013-09"), "train_from 2013-09 is not before month 2013-09"),
        (message(model="oracle"), "model: "),
        (message(priority="now"), "priority: "),
        (message(reason=""), "reason: "),
        (message(event_id="../../etc/passwd"), "event_id: "),
        (message(event_id="x" * 65), "event_id: "),
        (message(command="rm"), "command: Extra inputs are not permitted"),
    ],
)
def test_what_is_malformed_is_refused_with_the_reason(value: bytes | None, reason: str) -> None:
    with pytest.raises(DataError, match=r"^not a training request: ") as caught:
        parse_message(value, ORIGIN)
    assert reason in str(caught.value)


def test_fields_from_a_form_obey_the_same_rules() -> None:
    now = datetime.now(UTC)
    arrival = from_fields({"month": "2013-09", "reason": "by hand"}, "run a/b", now)
    assert arrival.request.event_id == event_id_of("run a/b")
    assert (arrival.origin, arrival.sent_at) == ("run a/b", now)
    with pytest.raises(DataError, match="train_from"):
        from_fields({"month": "2013-09", "reason": "x", "train_from": "2013-10"}, "run a/b", now)
