"""The ledger of requests: of many that claim an event one gets it, and it stays readable."""

import os
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import pytest

from flightdelays import ledger
from flightdelays.errors import LakeError
from flightdelays.ledger import Training
from flightdelays.requests import Arrival, TrainingRequest
from flightdelays.settings import Settings

CLAIM_FIFTY = """
import sys
from flightdelays import ledger
from flightdelays.requests import Arrival, TrainingRequest
print("ready", flush=True)
sys.stdin.readline()
for number in range(50):
    request = TrainingRequest(event_id=f"e{number}", month="2013-09", reason="race")
    if ledger.claim(Arrival(request=request, origin="here"), sys.argv[1]):
        print(request.event_id)
"""


def arrival(event_id: str, origin: str = "topic[0]@1") -> Arrival:
    request = TrainingRequest(event_id=event_id, month="2013-09", reason="drift")
    return Arrival(request=request, origin=origin)


@pytest.fixture(params=["folder", "object store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """An empty lake, as a folder and as an address; ``memory://`` goes the way of ``s3://``."""
    if request.param == "folder":
        return Settings(lake=str(tmp_path / "lake"))
    return Settings(lake=f"memory://{uuid.uuid4().hex}/lake")


def test_an_event_belongs_to_the_run_that_came_first_and_it_may_come_again(
    place: Settings,
) -> None:
    assert ledger.claim(arrival("e1"), "dag/one", place)
    before = ledger.entry("e1", place)
    assert not ledger.claim(arrival("e1", "another"), "dag/two", place)
    assert ledger.claim(arrival("e1"), "dag/one", place)
    assert ledger.entry("e1", place) == before
    assert (before.run, before.origin, before.training) == ("dag/one", "topic[0]@1", None)


def test_what_served_a_request_is_recorded(place: Settings) -> None:
    ledger.claim(arrival("e1"), "dag/one", place)
    ledger.serve("e1", "request__e1", place)
    assert ledger.entry("e1", place).training == "request__e1"
    assert ledger.claim(arrival("e1"), "dag/one", place)
    assert ledger.entry("e1", place).training == "request__e1"
    with pytest.raises(LakeError, match=r"e2\.json is not in the lake"):
        ledger.entry("e2", place)


def test_a_second_message_with_a_known_id_is_noted_once(place: Settings) -> None:
    assert ledger.turn_away(arrival("e1", "topic[0]@2"), "dag/one", place)
    assert ledger.turn_away(arrival("e1", "topic[0]@2"), "dag/one", place)
    assert not ledger.turn_away(arrival("e1", "topic[0]@2"), "dag/two", place)
    assert ledger.turn_away(arrival("e1", "topic[0]@3"), "dag/two", place)


def test_a_training_is_ordered_once_and_listed_by_month(place: Settings) -> None:
    now = datetime.now(UTC)
    first = Training(
        run_id="request__e1",
        ordered_by="dag/one",
        ordered_at=now,
        month="2013-09",
        train_from=None,
        model="logistic",
    )
    assert ledger.order(first, place) == first
    again = first.model_copy(update={"ordered_at": datetime.now(UTC)})
    assert ledger.order(again, place) == first
    assert ledger.trainings("2013-09", place) == [first]
    assert ledger.trainings("2013-10", place) == []


def test_of_sixteen_threads_one_gets_the_event(tmp_path: Path) -> None:
    settings = Settings(lake=str(tmp_path / "lake"))
    for number in range(20):
        barrier = threading.Barrier(16)

        def claim(run: int, number: int = number, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            return ledger.claim(arrival(f"e{number}"), f"dag/{run}", settings)

        with ThreadPoolExecutor(16) as pool:
            won = list(pool.map(claim, range(16)))
        assert sum(won) == 1
        assert ledger.entry(f"e{number}", settings).run == f"dag/{won.index(True)}"


def test_of_three_processes_one_gets_each_event(tmp_path: Path) -> None:
    environment = os.environ | {"FLIGHTDELAYS_LAKE": str(tmp_path / "lake")}
    claimants = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM_FIFTY, f"dag/{run}"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for run in range(3)
    ]
    for process in claimants:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in claimants:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    won = [process.communicate()[0].split() for process in claimants]
    assert [process.returncode for process in claimants] == [0, 0, 0]
    assert sorted(chain.from_iterable(won)) == sorted(f"e{number}" for number in range(50))
