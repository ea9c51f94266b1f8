"""The functions of exercise 2: the data tell F1 from accuracy, and mistakes are named."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from flightdelays import practice_tournament
from flightdelays.errors import CourseError
from flightdelays.settings import Settings


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(lake=str(tmp_path_factory.mktemp("tournament") / "lake"))


@pytest.fixture(scope="module")
def flights(settings: Settings) -> str:
    return practice_tournament.prepare(settings)


def test_the_flights_are_real_complete_and_the_same_each_time(
    flights: str, settings: Settings, tmp_path: Path
) -> None:
    rows = pd.read_parquet(flights)
    assert rows["part"].value_counts().to_dict() == {"train": 12_000, "test": 4_000}
    assert list(rows.columns) == [*practice_tournament.FEATURES, "late", "part"]
    assert set(rows["late"]) == {0, 1}
    assert rows["temp"].notna().mean() > 0.98
    again = practice_tournament.prepare(Settings(lake=str(tmp_path / "lake")))
    assert Path(again).read_bytes() == Path(flights).read_bytes()


def test_the_weather_is_that_of_an_hour_before(flights: str, settings: Settings) -> None:
    """A day's hours with their weather are found again one hour earlier in the source."""
    from flightdelays import source

    rows = practice_tournament._flights(settings)
    one = rows[(rows["origin"] == "JFK") & rows["temp"].notna()].iloc[0]
    weather = source.read_source("weather", settings).to_pandas()
    before = weather[
        (weather["origin"] == "JFK")
        & (weather["time_hour"] == one["time_hour"] - pd.Timedelta(hours=1))
    ]
    assert before["temp"].tolist() == [one["temp"]]
    assert before["humid"].tolist() == [one["humid"]]


def test_flights_that_are_there_stay(flights: str, settings: Settings) -> None:
    before = Path(flights).stat().st_mtime_ns
    assert practice_tournament.prepare(settings) == flights
    assert Path(flights).stat().st_mtime_ns == before


def test_f1_and_accuracy_disagree_about_the_winner(flights: str, settings: Settings) -> None:
    names = ("never_late", "bayes", "balanced_logistic", "tree")
    results = [practice_tournament.compete(flights, name, settings) for name in names]
    assert [result["model"] for result in results] == list(names)
    assert max(results, key=lambda result: result["f1"])["model"] == "balanced_logistic"
    assert max(results, key=lambda result: result["accuracy"])["model"] == "tree"
    assert results[0]["f1"] == 0
    answers = pq.read_table(results[2]["predictions"])["late"].to_pandas()
    rows = pd.read_parquet(flights)
    truth = rows.loc[rows["part"] == "test", "late"].reset_index(drop=True)
    assert (answers == truth).mean() == pytest.approx(results[2]["accuracy"], abs=1e-4)


def test_nearest_fails_over_the_gaps(flights: str, settings: Settings) -> None:
    with pytest.raises(ValueError, match="contains NaN"):
        practice_tournament.compete(flights, "nearest", settings)


@pytest.mark.parametrize("name", ["trees", ["tree", "bayes"], None])
def test_a_model_that_does_not_exist_is_named(
    name: object, flights: str, settings: Settings
) -> None:
    with pytest.raises(CourseError, match="choose from never_late, bayes") as raised:
        practice_tournament.compete(flights, name, settings)  # type: ignore[arg-type]
    assert repr(name) in str(raised.value)


def test_the_table_keeps_the_order(settings: Settings) -> None:
    standings = [
        {"model": "tree", "f1": 0.5, "accuracy": 0.6, "predictions": "there"},
        {"model": "bayes", "f1": 0.4, "accuracy": 0.7, "predictions": "there"},
    ]
    path = practice_tournament.write_table(standings, settings)
    assert Path(path).read_text() == ("place,model,f1,accuracy\n1,tree,0.5,0.6\n2,bayes,0.4,0.7\n")
    with pytest.raises(CourseError, match="has no accuracy"):
        practice_tournament.write_table([{"model": "tree", "f1": 0.5}], settings)
