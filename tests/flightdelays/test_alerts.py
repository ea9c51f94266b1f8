"""An alert is sent by the first who claims it, and by nobody else."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flightdelays import alerts, faults
from flightdelays.errors import ServiceError
from flightdelays.settings import Settings

RUN = ("monitored_training", "manual__2026-01-01T00:00:00+00:00")
KEY = (*RUN, "failed_0")


@pytest.fixture
def place(make_settings: Callable[..., Settings], tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


# Claims ten alerts as soon as it is told to begin; prints how many are its own.
CLAIMER = """
import sys
from flightdelays import alerts
from flightdelays.settings import Settings
settings = Settings(lake=sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(sum(alerts.first(("dag", "run", f"failed_{n}"), settings=settings) for n in range(10)))
"""


def test_of_many_processes_one_is_first(place: Settings) -> None:
    claimers = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMER, place.lake],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in claimers:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in claimers:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert sum(int(process.communicate(timeout=60)[0]) for process in claimers) == 10


def test_other_alerts_and_other_runs_are_claimed_apart(place: Settings) -> None:
    assert alerts.first(KEY, settings=place)
    assert alerts.first((*RUN, "failed_1"), settings=place)
    assert alerts.first((RUN[0], "manual__2026-01-02", "failed_0"), settings=place)
    assert not alerts.first(KEY, settings=place)


def test_an_alert_that_could_not_be_sent_can_be_sent_by_the_next(place: Settings) -> None:
    with pytest.raises(ServiceError), alerts.once(KEY, settings=place):
        raise ServiceError("down")
    with alerts.once(KEY, settings=place) as mine:
        assert mine
    with alerts.once(KEY, settings=place) as mine:
        assert not mine


def test_who_is_not_first_gives_nothing_back(place: Settings) -> None:
    assert alerts.first(KEY, settings=place)
    with pytest.raises(ServiceError), alerts.once(KEY, settings=place):
        raise ServiceError("something else")
    assert not alerts.first(KEY, settings=place)


def test_what_was_sent_about_a_run_is_listed(place: Settings) -> None:
    assert alerts.sent(RUN, place) == []
    assert alerts.first((*RUN, "retry"), "Trying again", place)
    assert alerts.first(KEY, "Failed", place)
    assert alerts.first((RUN[0], "manual__other", "failed_0"), "Failed", place)
    assert {record["about"] for record in alerts.sent(RUN, place)} == {"Trying again", "Failed"}


def test_faults_fail_the_tries_that_they_say() -> None:
    faults.plant("none", 1)
    faults.plant("flaky", 2)
    for fault, number in (("flaky", 1), ("failure", 1), ("failure", 2)):
        with pytest.raises(ServiceError, match=f"planted fault '{fault}': try {number}"):
            faults.plant(fault, number)
    assert faults.SLOW_SECONDS > faults.DEADLINE_SECONDS
