"""The view ``flights``: when each flight should leave, left and arrived, in UTC."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from flightdelays import duck, source
from flightdelays.lake import open_lake
from flightdelays.settings import Settings

# Absent from the airports file; these zones are looked up by hand.
CARIBBEAN = {
    "BQN": "America/Puerto_Rico",
    "PSE": "America/Puerto_Rico",
    "SJU": "America/Puerto_Rico",
    "STT": "America/St_Thomas",
}


@pytest.fixture(scope="module")
def all_seasons(
    tmp_path_factory: pytest.TempPathFactory, make_settings: Callable[..., Settings]
) -> pd.DataFrame:
    """Flights of winter, summer and of both months in which the clocks change."""
    settings = make_settings(tmp_path_factory.mktemp("seasons"))
    months = ["2013-01", "2013-03", "2013-07", "2013-11"]
    for month in months:
        source.land(month, settings)
    lake = open_lake(settings)
    with duck.connect(lake, settings) as connection:
        duck.view_raw(connection, lake, months, settings)
        return connection.sql("FROM flights").df()


def minutes(clock: pd.Series) -> pd.Series:
    """Wall-clock times such as 1430 in minutes after midnight."""
    return (clock // 100) * 60 + clock % 100


def one(flights: pd.DataFrame, carrier: str, flight: int, month: int, day: int) -> pd.Series:
    found = flights[
        (flights["carrier"] == carrier)
        & (flights["flight"] == flight)
        & (flights["month"] == f"2013-{month:02d}")
        & (flights["day"] == day)
    ]
    (index,) = found.index
    return flights.loc[index]


def utc(day: int, hour: int, minute: int, month: int = 1) -> datetime:
    return datetime(2013, month, day, hour, minute, tzinfo=UTC)


def test_the_first_flight_of_the_file_is_as_one_reckons_by_hand(all_seasons: pd.DataFrame) -> None:
    """EWR-IAH: due 5:15 in New York (UTC-5), left 5:17, arrived 8:30 in Houston (UTC-6)."""
    flight = one(all_seasons, "UA", 1545, 1, 1)
    assert (flight["origin"], flight["dest"]) == ("EWR", "IAH")
    assert flight["scheduled_departure"] == utc(1, 10, 15)
    assert flight["prediction_time"] == utc(1, 9, 15)
    assert flight["departed_at"] == utc(1, 10, 17)
    assert flight["arrived_at"] == utc(1, 14, 30)
    assert flight["arr_delay"] == 11
    assert flight["late"] == 0


@pytest.mark.parametrize(
    ("carrier", "number", "month", "day", "dest", "departed", "arrived"),
    [
        # Honolulu, UTC-10 all year: left 8:57, arrived 15:16.
        ("HA", 51, 1, 1, "HNL", utc(1, 13, 57), utc(2, 1, 16)),
        # Phoenix, UTC-7 all year: in winter left 6:27 and arrived 9:45, two hours behind ...
        ("UA", 849, 1, 3, "PHX", utc(3, 11, 27), utc(3, 16, 45)),
        # ... in summer left 6:56 and arrived 8:18, three hours behind.
        ("US", 71, 7, 3, "PHX", utc(3, 10, 56, 7), utc(3, 15, 18, 7)),
        # San Juan, UTC-4 all year, in New York's winter: left 23:58, arrived 4:23.
        ("B6", 1503, 11, 3, "SJU", utc(4, 4, 58, 11), utc(4, 8, 23, 11)),
        # The night before clocks go back: left 23:58 (UTC-4), arrived 3:50 in San Juan.
        ("B6", 1503, 11, 2, "SJU", utc(3, 3, 58, 11), utc(3, 7, 50, 11)),
        # The night before clocks go forward: due 22:45 on 9 March (UTC-5), left 23:04.
        ("B6", 128, 3, 9, "BTV", utc(10, 4, 4, 3), utc(10, 5, 18, 3)),
        # Delayed by five hours into the night: due 16:55, left 22:17 and arrived 1:14 in LA.
        ("VX", 413, 11, 2, "LAX", utc(3, 2, 17, 11), utc(3, 8, 14, 11)),
    ],
)
def test_known_flights_across_zones_and_clock_changes(
    carrier: str,
    number: int,
    month: int,
    day: int,
    dest: str,
    departed: datetime,
    arrived: datetime,
    all_seasons: pd.DataFrame,
) -> None:
    flight = one(all_seasons, carrier, number, month, day)
    assert flight["dest"] == dest
    assert flight["departed_at"] == departed
    assert flight["arrived_at"] == arrived


def test_a_flight_lasts_longer_than_it_is_in_the_air(all_seasons: pd.DataFrame) -> None:
    """Taxiing takes between 5 minutes and 4 hours; a wrong zone or day would be off by an hour."""
    flown = all_seasons[all_seasons["air_time"].notna()]
    gate_to_gate = (flown["arrived_at"] - flown["departed_at"]).dt.total_seconds() / 60
    taxiing = gate_to_gate - flown["air_time"]
    assert len(flown) > 100_000
    assert taxiing.between(5, 240).all()


def test_arrivals_agree_with_the_time_table_and_the_time_zone_database(
    all_seasons: pd.DataFrame, originals: Path
) -> None:
    """The view reckons from the actual clocks; this from the scheduled ones and the delay.

    Scheduled arrival is the first moment after scheduled departure at which the destination's
    clock, by the zone database, shows ``sched_arr_time``. Adding ``arr_delay`` gives arrival.
    """
    zones = pd.read_csv(originals / "airports.csv").set_index("faa")["tzone"].to_dict() | CARIBBEAN
    flown = all_seasons[all_seasons["arr_delay"].notna()]
    compared = 0
    for dest, part in flown.groupby("dest"):
        due = part["scheduled_departure"]
        local = due.dt.tz_convert(zones[dest])
        day = local.dt.tz_localize(None).dt.normalize()
        clock = day + pd.to_timedelta(minutes(part["sched_arr_time"]), unit="min")
        clock += pd.to_timedelta((clock < local.dt.tz_localize(None)).astype(int), unit="D")
        arrival = clock.dt.tz_localize(zones[dest], ambiguous=True, nonexistent="shift_forward")
        expected = arrival.dt.tz_convert("UTC") + pd.to_timedelta(part["arr_delay"], unit="min")
        pd.testing.assert_series_equal(
            part["arrived_at"], expected, check_names=False, check_dtype=False, obj=str(dest)
        )
        compared += len(part)
    assert compared == len(flown) > 100_000


def test_departure_clocks_agree_with_departures(all_seasons: pd.DataFrame) -> None:
    """``departed_at`` is schedule plus delay; New York's clock then shows ``dep_time``."""
    left = all_seasons[all_seasons["dep_time"].notna()]
    shown = left["departed_at"].dt.tz_convert("America/New_York")
    assert ((shown.dt.hour * 60 + shown.dt.minute) == minutes(left["dep_time"]) % 1440).all()


def test_a_flight_that_never_arrived_has_no_arrival_and_no_label(
    all_seasons: pd.DataFrame,
) -> None:
    lost = all_seasons[all_seasons["arr_delay"].isna()]
    assert len(lost) > 1000
    assert lost["late"].isna().all()
    assert lost.loc[lost["dep_time"].isna(), ["departed_at", "arrived_at"]].isna().all(axis=None)
    assert all_seasons.loc[all_seasons["arr_delay"].notna(), "arrived_at"].notna().all()


@pytest.mark.parametrize(("delay", "late"), [(-20, 0), (0, 0), (15, 0), (16, 1), (120, 1)])
def test_late_means_more_than_fifteen_minutes(
    delay: int, late: int, all_seasons: pd.DataFrame
) -> None:
    labels = all_seasons.loc[all_seasons["arr_delay"] == delay, "late"]
    assert len(labels) > 0
    assert set(labels) == {late}


def test_horizon_and_lateness_are_settings(settings: Settings) -> None:
    other = settings.model_copy(update={"horizon_minutes": 180, "late_minutes": 30})
    lake = open_lake(other)
    with duck.connect(lake, other) as connection:
        duck.view_raw(connection, lake, ["2013-01"], other)
        flights = connection.sql("FROM flights").df()
    ahead = flights["scheduled_departure"] - flights["prediction_time"]
    assert set(ahead) == {pd.Timedelta(hours=3)}
    assert set(flights.loc[flights["arr_delay"] == 30, "late"]) == {0}
    assert set(flights.loc[flights["arr_delay"] == 31, "late"]) == {1}


def test_the_tables_of_an_object_store_are_those_of_a_folder(settings: Settings) -> None:
    """Columns, types and rows, ``month`` too, which DuckDB takes from the path of a folder."""
    remote = settings.model_copy(update={"lake": f"memory://{uuid.uuid4().hex}/lake"})
    months = ["2013-01", "2013-02"]
    for month in months:
        source.land(month, remote)
    found = []
    for place in (settings, remote):
        lake = open_lake(place)
        with duck.connect(lake, place) as connection:
            duck.view_raw(connection, lake, months, place)
            tables = ("raw_flights", "raw_weather", "raw_planes", "raw_airports", "flights")
            found.append(
                {
                    name: (
                        connection.execute(f"DESCRIBE {name}").fetchall(),
                        connection.execute(f"FROM {name} ORDER BY ALL").fetchall(),
                    )
                    for name in tables
                }
            )
    assert found[0] == found[1]
    assert len(found[0]["flights"][1]) > 50_000


def test_ticks_are_all_full_hours_even_when_the_clocks_change(settings: Settings) -> None:
    """March has 743 hours; both its midnights in New York are ticks, hence one more."""
    lake = open_lake(settings)
    with duck.connect(lake, settings) as connection:
        duck.view_raw(connection, lake, ["2013-03"], settings)
        ticks = connection.sql("FROM ticks").df()["tick"]
    assert len(ticks) == 744
    assert set(ticks.diff().dropna()) == {pd.Timedelta(hours=1)}
    assert ticks.iloc[0] == utc(1, 5, 0, 3)
    assert ticks.iloc[-1] == utc(1, 4, 0, 4)
