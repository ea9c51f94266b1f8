"""The small training of exercise 6, its alert rules, and the two ends that listen."""

import json
import socket
import urllib.request
from pathlib import Path

import pytest

from flightdelays import practice_monitoring as practice
from flightdelays.errors import DataError
from flightdelays.practice_receiver import Metric, Receiver, count, quoted, series
from flightdelays.practice_rules import KEPT, Rule, State, apply
from flightdelays.settings import Settings

from .conftest import settings_in


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_in(tmp_path_factory.mktemp("practice"))


@pytest.fixture(scope="module")
def june(settings: Settings) -> str:
    return practice.sample("2013-06", "june", settings)


def test_a_model_of_june_is_good_in_july_and_one_of_january_poor_in_february(
    settings: Settings, june: str
) -> None:
    january = practice.sample("2013-01", "january", settings)
    assert january != june
    for model in practice.MODELS:
        good, poor = (practice.train(rows, model, settings) for rows in (june, january))
        assert good["rows"] == practice.ROWS
        assert good["seconds"] > 0
        assert good["auc"] > 0.68 > 0.64 > poor["auc"] > 0.55


def test_the_same_month_gives_the_same_sample(settings: Settings, june: str) -> None:
    first = Path(june).read_bytes()
    assert practice.sample("2013-06", "june", settings) == june
    assert Path(june).read_bytes() == first


def test_a_month_without_a_next_one_and_an_unknown_model_are_refused(
    settings: Settings, june: str
) -> None:
    with pytest.raises(DataError, match=r"no flights of 2014-01.*2013-01 to 2013-11"):
        practice.sample("2013-12", "december", settings)
    with pytest.raises(DataError, match=r"'forest' is no model.*logistic, tree"):
        practice.train(june, "forest", settings)


def test_a_rule_fires_after_enough_runs_in_a_row(settings: Settings) -> None:
    rule = Rule("in a row", below=0.65, runs=2)
    values = [0.7, 0.6, 0.65, 0.6, 0.6, 0.6, 0.7]
    changes = [apply(rule, f"run {n}", value, settings) for n, value in enumerate(values)]
    assert [change.now for change in changes] == [
        State.INACTIVE,
        State.PENDING,
        State.INACTIVE,
        State.PENDING,
        State.FIRING,
        State.FIRING,
        State.INACTIVE,
    ]
    assert [change.before for change in changes[1:]] == [change.now for change in changes[:-1]]


def test_a_run_that_asks_again_is_told_the_same(settings: Settings) -> None:
    rule = Rule("again", below=0.65, runs=2)
    apply(rule, "first", 0.6, settings)
    begun = apply(rule, "second", 0.6, settings)
    assert begun == (State.PENDING, State.FIRING)
    assert apply(rule, "second", 0.6, settings) == begun


def test_rules_forget_what_is_long_past(settings: Settings) -> None:
    rule = Rule("long", below=0.65)
    for number in range(KEPT + 5):
        apply(rule, str(number), 0.6, settings)
    (path,) = Path(settings.lake).glob("practice/rules/long.json")
    told = json.loads(path.read_text("utf-8"))
    assert [told[0][0], told[-1][0], len(told)] == ["5", str(KEPT + 4), KEPT]


def test_what_is_sent_is_received() -> None:
    receiver = Receiver()
    try:
        environment = receiver.environment()
        port = int(environment["AIRFLOW__METRICS__STATSD_PORT"])
        lines = "airflow.training.auc,model=tree,dag_id=d:0.7|g\nnonsense\nairflow.ti.start:1|c"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(lines.encode(), ("127.0.0.1", port))
        received = receiver.metrics()
        assert received == [
            Metric("airflow.training.auc", {"model": "tree", "dag_id": "d"}, 0.7, "g"),
            Metric("airflow.ti.start", {}, 1.0, "c"),
        ]
        assert series(received) == {"airflow.training.auc,dag_id=d,model=tree"}
        assert receiver.metrics() == []
        connection = json.loads(environment["AIRFLOW_CONN_APPRISE_DEFAULT"])
        address = connection["extra"]["config"]["path"].replace("json://", "http://")
        for body in (b'{"title": "Late", "message": "run 1"}', b"no JSON", b"[1]"):
            with urllib.request.urlopen(address, data=body) as answer:  # noqa: S310
                assert answer.status == 200
        assert receiver.messages() == ["Late\nrun 1", "no JSON", "[1]"]
        assert receiver.messages() == []
    finally:
        receiver.close()


def test_messages_in_words() -> None:
    assert count(["a"]) == "one message came"
    assert count(["a", "b"]) == "2 messages came"
    assert quoted("Late\n\nrun 1\n") == "“Late / run 1”"
    assert quoted("x" * 400) == f"“{'x' * 300}…”"
