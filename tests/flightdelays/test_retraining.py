"""From requests to trainings: put together, ordered by urgency, nothing lost, nothing twice."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flightdelays import ledger, retraining
from flightdelays.errors import LakeError
from flightdelays.report import report_folder
from flightdelays.requests import Arrival, TrainingRequest
from flightdelays.settings import Settings

RUN, NEXT = "retrain_on_event/one", "retrain_on_event/two"
START = datetime.now(UTC) - timedelta(minutes=1)


class Messages:
    """Messages of a topic, each sent a second after the one before it."""

    def __init__(self) -> None:
        self.offset = -1

    def send(self, event_id: str, month: str = "2013-09", **fields: Any) -> Arrival:
        self.offset += 1
        request = TrainingRequest(
            event_id=event_id, month=month, reason=f"why {event_id}", **fields
        )
        return Arrival(
            request=request,
            origin=f"topic[0]@{self.offset}",
            sent_at=START + timedelta(seconds=self.offset),
        )


@pytest.fixture
def topic() -> Messages:
    return Messages()


@pytest.fixture
def place(tmp_path: Path) -> Settings:
    return Settings(lake=str(tmp_path / "lake"), site=str(tmp_path / "site"))


def nothing_started(run_id: str) -> None:
    return None


def test_requests_for_the_same_thing_are_one_training_and_the_urgent_one_is_first(
    topic: Messages, place: Settings
) -> None:
    arrivals = [
        topic.send("a", "2013-08"),
        topic.send("b", priority="low"),
        topic.send("c", "2013-08"),
        topic.send("d", priority="high"),
        topic.send("e", "2013-08", model="logistic"),
    ]
    orders = retraining.accept(arrivals, RUN, nothing_started, place)
    assert [order["trigger_run_id"] for order in orders] == [
        "request__d",
        "request__a",
        "request__e",
    ]
    assert orders[0]["conf"] == {
        "model": "hist_gradient",
        "train_from": None,
        "validation_month": "2013-09",
    }
    assert orders[0]["note"] == "why d (serves 2: d, b)"
    served = {e: ledger.entry(e, place).training for e in "abcde"}
    assert served == {
        "a": "request__a",
        "b": "request__d",
        "c": "request__a",
        "d": "request__d",
        "e": "request__e",
    }


def test_the_same_run_asking_again_gets_the_same_orders_though_more_has_come(
    topic: Messages, place: Settings
) -> None:
    arrivals = [topic.send("a"), topic.send("b")]
    first = retraining.accept(arrivals, RUN, nothing_started, place)
    urgent = topic.send("c", priority="high")
    again = retraining.accept([*arrivals, urgent], RUN, nothing_started, place)
    assert [order["trigger_run_id"] for order in first + again] == ["request__a", "request__a"]
    assert ledger.entry("c", place).training == "request__a"


def test_a_try_that_died_between_two_writes_is_completed(topic: Messages, place: Settings) -> None:
    arrivals = [topic.send("a"), topic.send("b", priority="high")]
    retraining.accept(arrivals, RUN, nothing_started, place)
    path = Path(place.lake) / "requests" / "b.json"
    # As if the try had ended before it recorded what serves the more urgent request.
    path.write_text(json.dumps(json.loads(path.read_text()) | {"training": None}))
    orders = retraining.accept(arrivals, RUN, nothing_started, place)
    assert [order["trigger_run_id"] for order in orders] == ["request__b"]
    assert ledger.entry("b", place).training == "request__b"


def test_an_event_is_trained_once_and_its_duplicate_reported_once(
    topic: Messages, place: Settings
) -> None:
    original, duplicate = topic.send("a"), topic.send("a")
    orders = retraining.accept([original, duplicate], RUN, nothing_started, place)
    assert len(orders) == 1
    rows = retraining.accepted(RUN, place)
    assert [(row.event_id, row.outcome) for row in rows] == [
        ("a", "duplicate of topic[0]@0"),
        ("a", "trained by request__a"),
    ]
    assert retraining.accept([original, duplicate], NEXT, nothing_started, place) == []
    assert retraining.accepted(NEXT, place) == []


@pytest.mark.parametrize(
    ("state", "trained_again"), [("success", False), ("running", False), ("failed", True)]
)
def test_a_request_sent_before_a_training_was_ordered_is_served_by_it_unless_it_failed(
    topic: Messages, place: Settings, state: str, trained_again: bool
) -> None:
    first, late = topic.send("a"), topic.send("b")
    retraining.accept([first], RUN, nothing_started, place)
    states = {"request__a": state}
    orders = retraining.accept([first, late], NEXT, states.get, place)
    assert [order["trigger_run_id"] for order in orders] == ["request__b"] * trained_again
    assert ledger.entry("b", place).training == ("request__b" if trained_again else "request__a")


def test_a_request_sent_after_a_training_was_ordered_has_one_of_its_own(
    topic: Messages, place: Settings
) -> None:
    retraining.accept([topic.send("a")], RUN, nothing_started, place)
    later = topic.send("b").model_copy(update={"sent_at": datetime.now(UTC)})
    unknown = topic.send("c", model="logistic").model_copy(update={"sent_at": None})
    states = {"request__a": "success"}
    orders = retraining.accept([later, unknown], NEXT, states.get, place)
    assert [order["trigger_run_id"] for order in orders] == ["request__b", "request__c"]


def test_the_report_names_each_request_and_each_training(topic: Messages, place: Settings) -> None:
    with pytest.raises(LakeError):
        retraining.report(RUN, place)
    arrivals = [topic.send("a"), topic.send("b"), topic.send("a")]
    retraining.accept(arrivals, RUN, nothing_started, place)
    folder = report_folder("request__a", place)
    folder.mkdir(parents=True)
    verdict = {
        "model": "hist_gradient",
        "train_from": "2013-01",
        "train_to": "2013-08",
        "validation_month": "2013-09",
        "metrics": {"auc": 0.7654},
        "deployed": True,
        "version": 3,
    }
    (folder / "verdict.json").write_text(json.dumps(verdict))
    found = json.loads(Path(retraining.report(RUN, place)).read_text("utf-8"))
    assert found["headline"] == "1 training served 2 requests."
    assert found["facts"] == [
        "request__a: hist_gradient, judged on 2013-09, AUC 0.7654: deployed as version 3",
        "1 duplicate left out: each event is trained once.",
    ]
    assert [row[0] for row in found["tables"]["Requests"]["rows"]] == ["a", "a", "b"]
    assert found["tables"]["Trainings"]["rows"][0][-1] == "yes"
    assert "why a" in (Path(place.site) / "retrain_on_event" / "one" / "index.html").read_text()
