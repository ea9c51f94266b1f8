"""Is everything there? The cheap question before a training, answered with what to do."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flightdelays import availability, features, source
from flightdelays.errors import CourseError, DataError
from flightdelays.lake import open_lake
from flightdelays.runs import Window
from flightdelays.settings import Settings


def test_without_a_wish_the_last_month_judges_and_all_others_train(settings: Settings) -> None:
    assert availability.check(settings=settings) == Window("2013-01", "2013-02", "2013-03")


def test_the_months_may_be_wished_for(settings: Settings) -> None:
    found = availability.check("2013-01", "2013-02", settings)
    assert found == Window("2013-01", "2013-01", "2013-02")


def test_asking_changes_nothing(
    settings: Settings, digests: Callable[[Path], dict[str, str]]
) -> None:
    before = digests(Path(settings.lake))
    availability.check(settings=settings)
    assert digests(Path(settings.lake)) == before


@pytest.mark.parametrize("months", [[], ["2013-01"]])
def test_fewer_than_two_months_are_not_enough(
    months: list[str], tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(tmp_path)
    for month in months:
        source.land(month, settings)
    with pytest.raises(DataError) as caught:
        availability.check(settings=settings)
    message = str(caught.value)
    assert message.startswith(f"{len(months)} month(s) landed in {settings.lake}")
    assert "ingest_flights" in message


@pytest.mark.parametrize(
    ("train_from", "validation", "missing"),
    [("2012-12", None, "2012-12"), (None, "2013-04", "2013-04")],
)
def test_a_month_that_has_not_landed_is_named_with_those_that_have(
    train_from: str | None, validation: str | None, missing: str, settings: Settings
) -> None:
    with pytest.raises(DataError) as caught:
        availability.check(train_from, validation, settings)
    assert str(caught.value) == (
        f"{missing} has not landed; landed so far: 2013-01, 2013-02, 2013-03"
    )


def test_text_that_is_no_month_is_refused(settings: Settings) -> None:
    with pytest.raises(DataError, match="'March' is not a month"):
        availability.check(None, "March", settings)


def test_a_validation_month_before_the_training_is_refused(settings: Settings) -> None:
    with pytest.raises(DataError, match="train_from 2013-03 is after train_to 2013-01"):
        availability.check("2013-03", "2013-02", settings)


def test_a_gap_is_named_with_the_command_that_fills_it(copied: Settings) -> None:
    lake = open_lake(copied)
    Path(lake.manifest("raw", "2013-02")).unlink()
    with pytest.raises(DataError) as caught:
        availability.check(settings=copied)
    message = str(caught.value)
    assert message.startswith("landed months: 2013-02 missing between 2013-01 and 2013-03.")
    assert "--dag-id ingest_flights" in message


def test_features_that_are_absent_are_named_with_the_dag_that_builds_them(
    copied: Settings,
) -> None:
    lake = open_lake(copied)
    Path(lake.manifest(features.table("carrier_delays"), "2013-02")).unlink()
    with pytest.raises(CourseError) as caught:
        availability.check(settings=copied)
    assert str(caught.value) == (
        "the features of 2013-02 are absent or older than their data: run the DAG build_features"
    )


def test_a_feature_on_its_way_does_not_stop_a_model_that_does_not_read_it(
    own_repository: Settings,
) -> None:
    """Its months are being backfilled; the model reads it once the feature service names it."""
    folder = Path(own_repository.feature_repo)
    shutil.copy(folder / "carrier_delays.sql", folder / "airline_delays.sql")
    assert len(features.stale(own_repository)["airline_delays"]) == 3
    found = availability.check(settings=own_repository)
    assert found == Window("2013-01", "2013-02", "2013-03")
    path = folder / "definitions.py"
    path.write_text(path.read_text("utf-8").replace("carrier_delays", "airline_delays"), "utf-8")
    with pytest.raises(CourseError, match="the features of 2013-01, 2013-02, 2013-03 are absent"):
        availability.check(settings=own_repository)


def test_features_of_months_outside_the_window_do_not_matter(copied: Settings) -> None:
    lake = open_lake(copied)
    Path(lake.manifest(features.table("carrier_delays"), "2013-03")).unlink()
    found = availability.check("2013-01", "2013-02", copied)
    assert found == Window("2013-01", "2013-01", "2013-02")


def test_a_lake_that_can_be_read_and_not_written_is_named(
    settings: Settings, digests: Callable[[Path], dict[str, str]]
) -> None:
    """As on a full disk: the system lets this process make files, and put nothing into them."""
    code = f"""
import json, resource, sys
from flightdelays import availability
from flightdelays.errors import LakeError
from flightdelays.settings import Settings
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    availability.check(settings=Settings(**json.loads({settings.model_dump_json()!r})))
except LakeError as error:
    print(error)
"""
    before = digests(Path(settings.lake))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"cannot write {settings.lake}/.probe-")
    assert "free disk space" in done.stdout
    assert digests(Path(settings.lake)) == before
