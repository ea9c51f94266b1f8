"""The folder of requests: complete files only, each for one run, malformed ones put aside."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import pytest

from flightdelays import incoming
from flightdelays.errors import CourseError
from flightdelays.settings import Settings

RUN, OTHER = "retrain_on_file/one", "retrain_on_file/two"
VALID = json.dumps({"event_id": "e1", "month": "2013-09", "reason": "x"})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "incoming").mkdir()
    return Settings(incoming=str(tmp_path / "incoming"))


@pytest.fixture
def folder(settings: Settings) -> Path:
    return Path(settings.incoming)


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_file_is_taken_read_and_put_away(folder: Path, settings: Settings) -> None:
    (folder / "a.json").write_text(VALID)
    (arrival,) = incoming.take(RUN, settings=settings)
    assert arrival.request.event_id == "e1"
    assert arrival.sent_at is not None
    assert tree(folder) == ["taken/retrain_on_file_one/a.json"]
    assert incoming.take(RUN, settings=settings) == [arrival]
    assert incoming.take(OTHER, settings=settings) == []
    assert incoming.settle(RUN, settings) == [str(folder / "done" / "a.json")]
    assert incoming.settle(RUN, settings) == []
    assert tree(folder) == ["done/a.json"]
    assert list((folder / "taken").iterdir()) == []


def test_files_that_are_not_complete_are_left_alone(folder: Path, settings: Settings) -> None:
    for name in (".a.json", "a.json.tmp", "a.txt"):
        (folder / name).write_text(VALID)
    (folder / "folder.json").mkdir()
    assert incoming.take(RUN, settings=settings) == []
    assert tree(folder) == [".a.json", "a.json.tmp", "a.txt"]


def test_what_is_malformed_is_put_aside_with_the_reason_and_the_rest_goes_on(
    folder: Path, settings: Settings, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text(VALID)
    (folder / "link.json").symlink_to(secret)
    (folder / "large.json").write_text(" " * 70_000)
    (folder / "broken.json").write_text('{"month":')
    (folder / "good.json").write_text(VALID)
    (arrival,) = incoming.take(RUN, settings=settings)
    assert arrival.request.event_id == "e1"
    rejected = folder / "rejected"
    assert sorted(path.name for path in rejected.glob("*.json")) == [
        "broken.json",
        "large.json",
        "link.json",
    ]
    assert "not JSON" in (rejected / "broken.json.reason.txt").read_text()
    assert "at most 65,536" in (rejected / "large.json.reason.txt").read_text()
    assert "a link" in (rejected / "link.json.reason.txt").read_text()
    assert secret.read_text() == VALID


def test_a_second_file_of_a_name_replaces_nothing(folder: Path, settings: Settings) -> None:
    (folder / "a.json").write_text(VALID)
    incoming.take(RUN, settings=settings)
    (folder / "a.json").write_text("{")
    # The first try of the run has died: the next one keeps what it has.
    assert len(incoming.take(RUN, settings=settings)) == 1
    incoming.settle(RUN, settings)
    (folder / "a.json").write_text(VALID)
    incoming.take(OTHER, settings=settings)
    incoming.settle(OTHER, settings)
    assert tree(folder) == ["done/a.json", "done/a.retrain_on_file_two.json"]


@pytest.mark.parametrize(
    "name", ["../a.json", "/etc/passwd", "sub/a.json", "..", "", ".hidden.json", "a\\b.json"]
)
def test_a_name_that_leaves_the_folder_is_refused(
    folder: Path, settings: Settings, name: str
) -> None:
    (folder.parent / "a.json").write_text(VALID)
    with pytest.raises(CourseError, match="is refused: "):
        incoming.take(RUN, name, settings)
    assert (folder.parent / "a.json").is_file()


def test_the_file_that_is_named_is_the_one_that_is_taken(folder: Path, settings: Settings) -> None:
    for name in ("a.json", "b.json"):
        (folder / name).write_text(VALID)
    assert len(incoming.take(RUN, "b.json", settings)) == 1
    assert tree(folder) == ["a.json", "taken/retrain_on_file_one/b.json"]
    # Somebody was quicker: no error. It never was there: an error.
    assert incoming.take(OTHER, "b.json", settings) == []
    with pytest.raises(CourseError, match=r"there is no \[c\]\.json in"):
        incoming.take(OTHER, "[c].json", settings)


def test_of_eight_runs_that_see_the_same_files_each_file_goes_to_one(
    folder: Path, settings: Settings
) -> None:
    for number in range(20):
        (folder / f"{number}.json").write_text(VALID.replace("e1", f"e{number}"))
    barrier = threading.Barrier(8)

    def take(run: int) -> list[str]:
        barrier.wait()
        found = incoming.take(f"retrain_on_file/{run}", settings=settings)
        return [arrival.request.event_id for arrival in found]

    with ThreadPoolExecutor(8) as pool:
        taken = list(chain.from_iterable(pool.map(take, range(8))))
    assert sorted(taken) == sorted(f"e{number}" for number in range(20))
