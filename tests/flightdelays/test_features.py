"""Feature views: what became known when, against a second computation in pandas."""

import ast
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flightdelays import duck, features, source
from flightdelays.errors import CourseError, DataError
from flightdelays.lake import Lake, open_lake
from flightdelays.settings import Settings

from .conftest import ENTITY, MONTHS

HOUR = pd.Timedelta(hours=1)


@pytest.fixture(scope="module")
def facts(lake: Lake) -> dict[str, pd.DataFrame]:
    """February of each view, as it stands in the lake."""
    return {
        view: lake.read_table(lake.partition(features.table(view), "2013-02")).to_pandas()
        for view in ENTITY
    }


@pytest.fixture(scope="module")
def history(flights: pd.DataFrame) -> pd.DataFrame:
    """Flights of January and February, numbers as floats."""
    found = flights[flights["month"].isin(["2013-01", "2013-02"])]
    return found.astype({"late": "float64", "arr_delay": "float64", "dep_delay": "float64"})


def sample(table: pd.DataFrame) -> pd.DataFrame:
    return table.sample(40, random_state=2013)


def within(
    rows: pd.DataFrame, moment: str, until: pd.Timestamp, span: pd.Timedelta
) -> pd.DataFrame:
    """Rows of which ``moment`` lies in the half-open (until - span, until]."""
    return rows[(rows[moment] > until - span) & (rows[moment] <= until)]


def mean(values: pd.Series) -> float:
    return float(values.mean()) if len(values) else np.nan


def test_carrier_histories_agree_with_pandas(
    facts: dict[str, pd.DataFrame], history: pd.DataFrame
) -> None:
    arrived = history[history["late"].notna()]
    for fact in sample(facts["carrier_delays"]).itertuples():
        own = arrived[arrived["carrier"] == fact.carrier]
        last_3h = within(own, "arrived_at", fact.event_timestamp, 3 * HOUR)
        last_24h = within(own, "arrived_at", fact.event_timestamp, 24 * HOUR)
        last_14d = within(own, "arrived_at", fact.event_timestamp, 336 * HOUR)
        expected = [
            mean(last_3h["late"]),
            mean(last_3h["arr_delay"]),
            mean(last_24h["late"]),
            mean(last_14d["late"]),
        ]
        found = [
            fact.carrier_late_rate_3h,
            fact.carrier_delay_3h,
            fact.carrier_late_rate_24h,
            fact.carrier_late_rate_14d,
        ]
        np.testing.assert_allclose(found, expected, err_msg=str(fact))


def test_origin_histories_agree_with_pandas(
    facts: dict[str, pd.DataFrame], history: pd.DataFrame
) -> None:
    for fact in sample(facts["origin_delays"]).itertuples():
        own = history[history["origin"] == fact.origin]
        arrived = own[own["late"].notna()]
        left_1h = within(own, "departed_at", fact.event_timestamp, HOUR)["dep_delay"]
        left_3h = within(own, "departed_at", fact.event_timestamp, 3 * HOUR)["dep_delay"]
        arrived_3h = within(arrived, "arrived_at", fact.event_timestamp, 3 * HOUR)
        arrived_24h = within(arrived, "arrived_at", fact.event_timestamp, 24 * HOUR)
        expected = [
            len(left_1h),
            mean(left_1h),
            mean(left_1h > 15),
            mean(left_3h),
            mean(arrived_3h["late"]),
            mean(arrived_3h["arr_delay"]),
            mean(arrived_24h["late"]),
        ]
        found = [
            fact.origin_departures_1h,
            fact.origin_departure_delay_1h,
            fact.origin_departure_late_rate_1h,
            fact.origin_departure_delay_3h,
            fact.origin_late_rate_3h,
            fact.origin_delay_3h,
            fact.origin_late_rate_24h,
        ]
        np.testing.assert_allclose(found, expected, err_msg=str(fact))


def test_aircraft_histories_agree_with_pandas(
    facts: dict[str, pd.DataFrame], history: pd.DataFrame
) -> None:
    arrived = history[history["late"].notna()]
    for fact in sample(facts["tailnum_delays"]).itertuples():
        own = arrived[arrived["tailnum"] == fact.tailnum]
        until = fact.event_timestamp
        known = own[own["arrived_at"] <= until]
        # The windows of an aircraft hold both their ends.
        last_24h = known[known["arrived_at"] >= until - 24 * HOUR]["late"]
        last_14d = known[known["arrived_at"] >= until - 336 * HOUR]["late"]
        latest = known.sort_values(["arrived_at", "flight"]).iloc[-1]
        expected = [
            latest["arrived_at"].timestamp(),
            latest["arr_delay"],
            mean(last_24h),
            mean(last_14d),
            len(last_14d),
        ]
        found = [
            fact.tailnum_last_arrival,
            fact.tailnum_last_delay,
            fact.tailnum_late_rate_24h,
            fact.tailnum_late_rate_14d,
            fact.tailnum_flights_14d,
        ]
        np.testing.assert_allclose(found, expected, err_msg=str(fact))


def test_weather_is_that_of_the_hour_before(
    facts: dict[str, pd.DataFrame], three_months: dict[str, pd.DataFrame]
) -> None:
    table = three_months["weather"]
    known = pd.to_datetime(table["time_hour"]) + HOUR
    seen = table.assign(known=known).set_index(["origin", "known"])
    for fact in sample(facts["origin_weather"]).itertuples():
        hour = seen.loc[(fact.origin, fact.event_timestamp)]
        for column in ("temp", "humid", "wind_speed", "precip", "pressure", "visib"):
            value = float("nan") if hour[column] in ("", "NA") else float(hour[column])
            np.testing.assert_equal(getattr(fact, column), value)


@pytest.mark.parametrize("view", ENTITY)
def test_an_entity_has_one_fact_at_a_moment(view: str, facts: dict[str, pd.DataFrame]) -> None:
    table = facts[view]
    assert len(table) > 1000
    assert not table.duplicated([ENTITY[view], "event_timestamp"]).any()


@pytest.mark.parametrize("view", ENTITY)
def test_a_month_holds_what_became_known_in_it(view: str, facts: dict[str, pd.DataFrame]) -> None:
    shown = facts[view]["event_timestamp"].dt.tz_convert("America/New_York")
    assert set(shown.dt.strftime("%Y-%m")) == {"2013-02"}


def test_what_landed_after_midnight_is_known_in_the_next_month(
    facts: dict[str, pd.DataFrame], history: pd.DataFrame
) -> None:
    clock = history["arrived_at"].dt.tz_convert("America/New_York")
    over = history[(history["month"] == "2013-01") & (clock.dt.strftime("%Y-%m") == "2013-02")]
    over = over[over["tailnum"].notna() & over["late"].notna()]
    assert len(over) > 10
    known = set(zip(facts["tailnum_delays"]["tailnum"], facts["tailnum_delays"]["event_timestamp"],
                    strict=True))  # fmt: skip
    assert set(zip(over["tailnum"], over["arrived_at"], strict=True)) <= known


def test_origins_publish_every_hour_of_the_month(facts: dict[str, pd.DataFrame]) -> None:
    counts = facts["origin_delays"]["origin"].value_counts().to_dict()
    assert counts == dict.fromkeys(["EWR", "JFK", "LGA"], 28 * 24)


@pytest.mark.parametrize("view", ENTITY)
def test_building_twice_gives_the_same_bytes(
    view: str, copied: Settings, digests: Callable[[Path], dict[str, str]]
) -> None:
    def tables() -> dict[str, str]:
        found = digests(Path(copied.lake))
        return {name: digest for name, digest in found.items() if name.endswith(".parquet")}

    before = tables()
    rows = features.build(view, "2013-02", copied)
    lake = open_lake(copied)
    assert rows == lake.read_json(lake.manifest(features.table(view), "2013-02"))["rows"]
    assert tables() == before


@pytest.mark.parametrize("view", ENTITY)
def test_the_number_of_threads_changes_nothing(view: str, copied: Settings) -> None:
    lake = open_lake(copied)
    path = Path(lake.partition(features.table(view), "2013-03"))
    before = path.read_bytes()
    features.build(view, "2013-03", copied.model_copy(update={"threads": 4}))
    assert path.read_bytes() == before


def test_an_object_store_holds_the_same_features(settings: Settings, lake: Lake) -> None:
    """``memory://`` of fsspec stands for ``s3://``: the lake reads both for DuckDB."""
    remote = settings.model_copy(update={"lake": f"memory://{uuid.uuid4().hex}/lake"})
    for month in ("2013-01", "2013-02"):
        source.land(month, remote)
    other = open_lake(remote)
    for view in ENTITY:
        features.build(view, "2013-02", remote)
        table = features.table(view)
        found = other.read_table(other.partition(table, "2013-02"))
        assert found.equals(lake.read_table(lake.partition(table, "2013-02")))
    assert features.stale_months(remote) == ["2013-01"]


def test_an_unknown_view_is_refused_with_those_there_are(settings: Settings) -> None:
    with pytest.raises(DataError) as caught:
        features.build("weather", "2013-01", settings)
    assert str(caught.value) == (
        "there is no feature view 'weather': choose from " + ", ".join(sorted(ENTITY))
    )


def test_a_month_that_has_not_landed_is_refused_with_those_that_have(settings: Settings) -> None:
    with pytest.raises(DataError) as caught:
        features.build("origin_delays", "2013-04", settings)
    assert str(caught.value) == ("2013-04 has not landed; landed so far: 2013-01, 2013-02, 2013-03")


def test_without_any_month_the_message_says_so(
    tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    with pytest.raises(DataError, match="landed so far: none"):
        features.build("origin_delays", "2013-01", make_settings(tmp_path))


def test_nothing_is_stale_after_building(settings: Settings) -> None:
    assert features.stale_months(settings) == []


def test_a_month_is_stale_until_its_views_are_built_again(
    copied: Settings, three_months: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    """February was landed from a corrected file: it is stale, and March, which looks back."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name, table in three_months.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    flights = three_months["flights"]
    flights[flights["dep_time"] != "517"].to_csv(folder / "flights.csv", index=False)
    changed = copied.model_copy(update={"source": str(folder)})
    source.land("2013-02", changed)
    assert features.stale_months(changed) == ["2013-02", "2013-03"]
    for view in ENTITY:
        features.build(view, "2013-02", changed)
    assert features.stale_months(changed) == ["2013-03"]
    for view in ENTITY:
        features.build(view, "2013-03", changed)
    assert features.stale_months(changed) == []


def test_a_view_that_is_absent_makes_its_month_stale(copied: Settings) -> None:
    lake = open_lake(copied)
    Path(lake.manifest(features.table("origin_delays"), "2013-01")).unlink()
    fresh = {view: list[str]() for view in ENTITY}
    assert features.stale(copied) == fresh | {"origin_delays": ["2013-01"]}
    assert features.stale_months(copied) == ["2013-01"]
    assert features.stale_months(copied, ["carrier_delays"]) == []


def test_another_definition_of_late_makes_every_month_stale(copied: Settings) -> None:
    other = copied.model_copy(update={"late_minutes": 30})
    assert features.stale_months(other) == ["2013-01", "2013-02", "2013-03"]


def test_another_query_makes_every_month_of_its_view_stale_and_of_no_other(
    own_repository: Settings,
) -> None:
    with (Path(own_repository.feature_repo) / "carrier_delays.sql").open("a") as query:
        query.write("-- edited\n")
    fresh = {view: list[str]() for view in ENTITY}
    assert features.stale(own_repository) == fresh | {"carrier_delays": list(MONTHS)}


def test_the_query_of_all_views_makes_every_month_of_all_stale(
    settings: Settings, tmp_path: Path
) -> None:
    """Asked of a copy of the package in which ``flights.sql`` was edited."""
    package = shutil.copytree(Path(features.__file__).parent, tmp_path / "flightdelays")
    code = f"""
import json
from flightdelays import features
from flightdelays.settings import Settings
settings = Settings(**json.loads({settings.model_dump_json()!r}))
print({{view: len(months) for view, months in features.stale(settings).items()}})
"""
    with (package / "sql" / "flights.sql").open("a") as query:
        query.write("-- edited\n")
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ast.literal_eval(done.stdout) == dict.fromkeys(ENTITY, 3)


def test_the_views_are_the_queries_of_the_repository(own_repository: Settings) -> None:
    assert features.views(own_repository) == sorted(ENTITY)
    folder = Path(own_repository.feature_repo)
    (folder / "carrier_delays.sql").rename(folder / "airline_delays.sql")
    assert features.views(own_repository) == sorted(
        {*ENTITY, "airline_delays"} - {"carrier_delays"}
    )


def test_a_folder_without_queries_is_named(settings: Settings, tmp_path: Path) -> None:
    empty = settings.model_copy(update={"feature_repo": str(tmp_path)})
    with pytest.raises(CourseError) as caught:
        features.views(empty)
    assert str(caught.value) == (
        f"{tmp_path} holds no query of a feature view: set FLIGHTDELAYS_FEATURE_REPO"
    )


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("SELEKT 1", "is no query that DuckDB can run: Parser Error"),
        ("SELECT gate FROM flights", "is no query that DuckDB can run: Binder Error"),
        (
            "SELECT arrived_at AS event_timestamp, dest FROM flights",
            "the result begins with event_timestamp, dest; "
            "put the entity first and event_timestamp second",
        ),
        ("SELECT dest FROM flights", "the result begins with dest; put the entity first"),
    ],
)
def test_a_query_that_cannot_be_built_is_named_with_its_file(
    query: str,
    complaint: str,
    own_repository: Settings,
    digests: Callable[[Path], dict[str, str]],
) -> None:
    path = Path(own_repository.feature_repo) / "broken.sql"
    path.write_text(query, "utf-8")
    before = digests(Path(own_repository.lake))
    with pytest.raises(CourseError) as caught:
        features.build("broken", "2013-02", own_repository)
    assert str(path) in str(caught.value)
    assert complaint in str(caught.value)
    assert digests(Path(own_repository.lake)) == before


@pytest.mark.parametrize("name", ["flights", "ticks", "prediction_rows"])
def test_each_query_of_the_package_explains_itself(name: str) -> None:
    assert duck.sql(name).startswith("-- ")


@pytest.mark.parametrize("view", ENTITY)
def test_each_query_of_a_view_explains_itself(view: str, settings: Settings) -> None:
    text = (Path(settings.feature_repo) / f"{view}.sql").read_text("utf-8")
    assert text.startswith("-- ")
