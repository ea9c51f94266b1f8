"""What exercise 5 and the capstone are given: departures, models, lakes with planted facts."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from flightdelays import practice_features as practice
from flightdelays import practice_lake, practice_models, store
from flightdelays.errors import CourseError, DataError
from flightdelays.lake import open_lake
from flightdelays.settings import get_settings

from .conftest import settings_in

MONTH = "2013-02"
PLANTED = datetime(2013, 2, 5, 23, 20, tzinfo=UTC)


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("landed")
    practice_lake.land(folder, [MONTH])
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """An empty place that the settings of this process name."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings_in(tmp_path).model_dump().items():
            if str(value).startswith(str(tmp_path)):
                patch.setenv(f"FLIGHTDELAYS_{name.upper()}", value)
        get_settings.cache_clear()
        yield tmp_path
    get_settings.cache_clear()


@pytest.fixture
def published(landed: Path, place: Path) -> Path:
    lake = practice_lake.copy(landed, facts=True)
    practice_lake.publish(MONTH)
    return lake


def joined() -> pd.DataFrame:
    rows = practice.departures(MONTH)
    job = store.open_store().get_historical_features(entity_df=rows, features=practice.REFERENCES)
    found: pd.DataFrame = job.to_df()
    return found


def test_departures_are_those_of_a_landed_month(landed: Path, place: Path) -> None:
    practice_lake.copy(landed)
    rows = practice.departures(MONTH)
    assert len(rows) == 7029
    assert set(rows["late"]) == {0, 1}
    assert ((rows["arr_delay"] > 15) == rows["late"].astype(bool)).all()
    assert rows["event_timestamp"].is_monotonic_increasing
    with pytest.raises(DataError, match=r"2013-05 has not landed; landed so far: 2013-02"):
        practice.departures("2013-05")


def test_a_month_is_built_when_its_facts_are_there(landed: Path, place: Path) -> None:
    practice_lake.copy(landed)
    assert not practice.is_built(MONTH)


def test_a_built_month_is_built(published: Path) -> None:
    assert practice.is_built(MONTH)
    assert not practice.is_built("2013-03")


def test_feast_and_the_truth_agree_and_a_planted_fact_counts_from_its_moment(
    published: Path,
) -> None:
    practice_lake.plant(MONTH, "DL", PLANTED, 9.0)
    rows = joined()
    known = practice_lake.as_of(rows, [MONTH])
    pd.testing.assert_frame_equal(rows[list(practice.COLUMNS)], known, check_names=False)
    nines = rows[rows["carrier_late_rate_3h"] == 9.0]
    assert len(nines) > 0
    assert set(nines["carrier"]) == {"DL"}
    assert nines["event_timestamp"].min() >= PLANTED
    assert nines["event_timestamp"].max() < PLANTED + timedelta(minutes=40)


def test_a_training_set_of_somebody_else_is_read_or_refused(published: Path) -> None:
    rows = joined()
    path = practice.save(rows, MONTH)
    assert len(practice_lake.read_training_set(path)) == len(rows)
    other = str(published / "other.parquet")
    wrong = {
        "no Parquet file": b"text",
        "no column 'event_timestamp'; it has": rows.drop(columns="event_timestamp").to_parquet(),
        "other things than moments": rows.assign(event_timestamp="soon").to_parquet(),
        "without a carrier": rows.assign(carrier=None).to_parquet(),
    }
    for expected, content in wrong.items():
        Path(other).write_bytes(content)
        with pytest.raises(DataError, match=expected):
            practice_lake.read_training_set(other)
    for no_path in (None, "", 7, str(published)):
        with pytest.raises(DataError, match="is no path of a file"):
            practice_lake.read_training_set(no_path)


def test_the_ttl_is_that_of_the_definition(published: Path) -> None:
    view = store.open_store().get_feature_view(practice.VIEW)
    assert view.ttl == practice_lake.TTL


def test_the_online_store_has_the_last_fact(published: Path) -> None:
    latest = practice_lake.latest(MONTH, "UA")
    assert set(latest) == set(practice.COLUMNS)
    assert practice_lake.online("UA") == latest
    assert [end for _, end in practice_lake.intervals()] == [store.end_of_month(MONTH)]


def test_a_place_without_facts_has_nothing_to_say(landed: Path, place: Path) -> None:
    practice_lake.copy(landed)
    assert practice_lake.online("UA") == {}
    assert practice_lake.intervals() == []
    assert practice_lake.latest(MONTH, "UA") == {}
    rows = practice.departures(MONTH).head(3)
    assert practice_lake.as_of(rows, [MONTH]).isna().all(axis=None)


def test_facts_that_end_early_are_missed(published: Path) -> None:
    assert practice.missing(practice.save(joined(), MONTH)) < 0.01
    practice_lake.forget(MONTH, PLANTED)
    assert practice.missing(practice.save(joined(), MONTH)) == pytest.approx(0.83, abs=0.01)


def test_the_same_table_in_another_order_gives_the_same_file(published: Path) -> None:
    rows = joined()
    path = Path(practice.save(rows, MONTH))
    before = path.read_bytes()
    shuffled = rows.sample(frac=1, random_state=1)[[*practice.COLUMNS, *rows.columns[:8]]]
    again = shuffled[[*rows.columns[:8], *reversed(practice.COLUMNS)]]
    assert practice.save(again, MONTH) == str(path)
    assert path.read_bytes() == before


def test_a_model_is_measured_and_one_that_sees_the_delay_is_perfect(published: Path) -> None:
    path = practice.save(joined(), MONTH)
    honest = practice.fit(path, [*practice.KNOWN, *practice.COLUMNS])
    assert honest > practice.fit(path, practice.KNOWN) > 0.5
    assert practice.fit(path, ["arr_delay"]) > 0.99
    with pytest.raises(DataError, match="no column 'wind'; it has event_timestamp"):
        practice.fit(path, ["wind"])
    with pytest.raises(DataError, match="column 'carrier' is no number"):
        practice.fit(path, ["carrier"])


def test_models_are_fitted_judged_and_deployed(published: Path) -> None:
    table = practice.save(joined(), MONTH)
    paths = {name: practice_models.fit(table, name, "a run") for name in practice_models.MODELS}
    scores = {name: practice_models.evaluate(path, table) for name, path in paths.items()}
    assert scores["bayes"] > scores["logistic"] > 0.60 > scores["tree"] > 0.55
    assert practice_models.champion() is None
    practice_models.deploy(paths["tree"], "tree", MONTH, scores["tree"])
    practice_models.deploy(paths["bayes"], "bayes", MONTH, scores["bayes"])
    champion = practice_models.champion()
    assert champion is not None
    assert champion["model"] == "bayes"
    assert practice_models.evaluate(champion["path"], table) == scores["bayes"]
    with pytest.raises(CourseError, match="no model 'svm': choose from bayes, logistic, tree"):
        practice_models.fit(table, "svm", "a run")
    assert len(list((published / "runs").rglob("*.pkl"))) == 3


def test_a_report_is_replaced(place: Path) -> None:
    first = practice_models.write_report(MONTH, {"deployed": True})
    second = practice_models.write_report(MONTH, {"deployed": False})
    assert first == second
    assert open_lake().root in first
    assert json.loads(Path(second).read_text()) == {"deployed": False}
    assert [path.name for path in Path(second).parent.iterdir()] == ["2013-02.json"]
