"""What exercise 3 is given: requests read and refused, claimed once, trained on real flights."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from course.ports import any_free
from flightdelays import practice_events as events
from flightdelays.errors import DataError, ServiceError
from flightdelays.lake import open_lake
from flightdelays.requests import DEAD_LETTERS
from flightdelays.settings import get_settings

VALID = json.dumps({"event_id": "e1", "month": "2013-09", "reason": "x"})
SECONDS = 40


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A lake and an incoming folder of its own; tasks find them through the environment."""
    monkeypatch.setenv("FLIGHTDELAYS_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("FLIGHTDELAYS_INCOMING", str(tmp_path / "incoming"))
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


def test_a_message_is_read_passed_over_or_refused() -> None:
    found = events.read(VALID.encode(), "topic[0]@1")
    assert found is not None
    assert (found["event_id"], found["month"]) == ("e1", "2013-09")
    assert events.read(b'{"event_type": "model.deployed"}', "topic[0]@2") is None
    for value in (None, b"no JSON", b'{"month": "2013-13", "reason": "x"}', b"[]", b"\xff"):
        with pytest.raises(DataError, match="not a training request"):
            events.read(value, "topic[0]@3")


def test_a_message_without_an_id_gets_the_same_one_at_each_read() -> None:
    value = b'{"month": "2013-09", "reason": "x"}'
    first, again, other = (events.read(value, origin) for origin in ("a", "a", "b"))
    assert first is not None
    assert again is not None
    assert other is not None
    assert first["event_id"] == again["event_id"] != other["event_id"]


def test_a_request_by_hand_names_its_month_and_a_wrong_month_is_refused() -> None:
    assert events.request("2013-02", "manual__1")["month"] == "2013-02"
    with pytest.raises(DataError, match="month"):
        events.request("2013-2", "manual__1")


def test_one_run_gets_an_event_and_gets_it_again() -> None:
    wanted = events.request("2013-02", "manual__1")
    assert events.claim(wanted, "one")
    assert not events.claim(wanted, "two")
    assert events.claim(wanted, "one")


def test_files_are_taken_from_the_folder_of_the_exercise_alone(places: Path) -> None:
    folder = places / "incoming" / "ex03"
    folder.mkdir(parents=True)
    (folder / "request.json").write_text(VALID)
    (folder / "broken.json").write_text("{")
    (folder / "half.json.tmp").write_text(VALID)
    (places / "incoming" / "other.json").write_text(VALID)
    (found,) = events.take("run-1")
    assert found["event_id"] == "e1"
    assert events.take("run-1") == [found]
    assert events.take("run-2") == []
    assert events.settle("run-1") == [str(folder / "done" / "request.json")]
    assert (folder / "rejected" / "broken.json").is_file()
    assert (folder / "half.json.tmp").is_file()
    assert (places / "incoming" / "other.json").is_file()


def test_the_month_of_the_request_is_trained_the_same_each_time() -> None:
    wanted = events.request("2013-07", "manual__1")
    outcome = events.train(wanted)
    assert outcome["month"] == "2013-07"
    assert outcome["auc"] == pytest.approx(0.696, abs=0.002)
    assert events.train(wanted) == outcome
    assert events.train(events.request("2013-09", "manual__2"))["auc"] < outcome["auc"]
    lake = open_lake()
    path = lake.path("ex03", "trainings", f"{wanted['event_id']}.json")
    assert lake.read_json(path) == outcome


def test_a_month_without_flights_is_refused() -> None:
    with pytest.raises(DataError, match="no flights of 2014-01"):
        events.train(events.request("2014-01", "manual__1"))


def test_a_malformed_message_lies_among_the_dead_letters_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = any_free()
    servers = f"127.0.0.1:{port}"
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers)
    with subprocess.Popen(
        [sys.executable, "-m", "course.broker", str(port)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert any(", topics " in line for line in process.stdout)
            events.set_aside(None, "no value", "topic[0]@7")
            consumer = Consumer({"bootstrap.servers": servers, "group.id": "reader"})
            consumer.assign([TopicPartition(DEAD_LETTERS, 0, 0)])
            letter = consumer.poll(SECONDS)
            consumer.close()
        finally:
            process.terminate()
    assert letter is not None
    assert letter.value() is None
    assert dict(letter.headers()) == {"reason": b"no value", "origin": b"topic[0]@7"}


def test_a_dead_letter_that_nobody_took_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{any_free()}")
    monkeypatch.setattr(events, "DELIVERY_SECONDS", 0.5)
    with pytest.raises(ServiceError, match="no answer from the broker"):
        events.set_aside(b"x", "reason", "topic[0]@7")
