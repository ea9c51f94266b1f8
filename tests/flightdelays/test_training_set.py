"""The training set: no row sees a fact later than its prediction time, nor one past its TTL."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flightdelays import features
from flightdelays.dataset import feature_columns
from flightdelays.errors import CourseError
from flightdelays.lake import Lake, open_lake
from flightdelays.runs import Window
from flightdelays.settings import REPOSITORY, Settings

from .conftest import ENTITY

Build = Callable[[Settings, Window], pd.DataFrame]
MINUTE = pd.Timedelta(minutes=1)
# Said once more here, on purpose: a TTL that changes in the definitions changes the model.
TTL = {
    "origin_weather": pd.Timedelta(hours=6),
    "origin_delays": pd.Timedelta(hours=3),
    "carrier_delays": pd.Timedelta(hours=3),
    "tailnum_delays": pd.Timedelta(days=14),
}
FEBRUARY = Window("2013-01", "2013-01", "2013-02")
KEYS = ["scheduled_departure", "carrier", "flight", "origin"]
ABSURD = 987_654_321


def columns_of(lake: Lake, view: str) -> list[str]:
    """Columns of a view as they appear in a training set."""
    names = pq.read_schema(lake.partition(features.table(view), "2013-01")).names
    known = (ENTITY[view], "event_timestamp")
    return [
        "tailnum_idle_minutes" if name == "tailnum_last_arrival" else name
        for name in names
        if name not in known
    ]


def same(left: pd.DataFrame, right: pd.DataFrame, columns: list[str]) -> pd.Series:
    """For each row whether two training sets agree in all of these columns; gaps are equal."""
    a, b = left[columns].reset_index(drop=True), right[columns].reset_index(drop=True)
    return ((a == b) | (a.isna() & b.isna())).all(axis=1)


def rewrite(settings: Settings, view: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Change the facts of January and February in the lake, types kept."""
    lake = open_lake(settings)
    for month in ("2013-01", "2013-02"):
        path = lake.partition(features.table(view), month)
        table = pq.ParquetFile(path).read()
        changed = change(table.to_pandas().assign(built_in=month)).drop(columns="built_in")
        pq.write_table(pa.Table.from_pandas(changed, table.schema, preserve_index=False), path)


def absurd(view: str, entities: list[str], moment: pd.Timestamp, lake: Lake) -> pd.DataFrame:
    """One fact per entity at a moment, every value of it absurd."""
    schema = pq.read_schema(lake.partition(features.table(view), "2013-01"))
    facts = pd.DataFrame({name: [ABSURD] * len(entities) for name in schema.names})
    return facts.assign(**{ENTITY[view]: entities, "event_timestamp": moment})


# --- The join itself -----------------------------------------------------------------------


def test_the_definitions_have_the_ttl_that_these_tests_assume(
    settings: Settings, rows: pd.DataFrame
) -> None:
    from flightdelays import store

    views = store.open_store(settings).list_feature_views()
    assert {view.name: view.ttl for view in views} == TTL


@pytest.mark.parametrize("view", ENTITY)
def test_feast_joins_what_an_asof_join_in_duckdb_joins(
    view: str, rows: pd.DataFrame, lake: Lake, duckdb_utc: duckdb.DuckDBPyConnection
) -> None:
    """Every row, every column of the view: latest fact at or before, unless older than TTL."""
    entity = ENTITY[view]
    asked = rows[["event_timestamp", entity]].assign(row=range(len(rows)))
    seconds = int(TTL[view].total_seconds())
    duckdb_utc.register("asked", asked)
    expected = duckdb_utc.execute(f"""
        SELECT facts.* FROM asked ASOF LEFT JOIN (
            FROM read_parquet('{lake.partitions(features.table(view))}', hive_partitioning = false)
        ) AS facts
        ON asked.{entity} = facts.{entity} AND asked.event_timestamp >= facts.event_timestamp
        ORDER BY row
    """).df()  # noqa: S608
    assert len(expected) == len(rows) > 77_000
    too_old = asked["event_timestamp"] - expected["event_timestamp"] > pd.Timedelta(seconds=seconds)
    expected[too_old] = None
    if view == "tailnum_delays":
        age = asked["event_timestamp"] - expected["event_timestamp"]
        expected["tailnum_idle_minutes"] = age.dt.total_seconds() / 60
    columns = columns_of(lake, view)
    pd.testing.assert_frame_equal(
        rows[columns], expected[columns].astype("float64"), check_exact=True
    )
    assert rows[columns].notna().any().all()


def test_a_row_of_each_flight_that_arrived_and_of_no_other(
    rows: pd.DataFrame, flights: pd.DataFrame
) -> None:
    arrived = flights[flights["arr_delay"].notna()]
    lost = flights[flights["arr_delay"].isna()]
    assert len(lost) > 2000
    assert len(rows) == len(arrived)
    found = pd.MultiIndex.from_frame(rows[KEYS])
    assert found.is_unique
    assert set(found) == set(pd.MultiIndex.from_frame(arrived[KEYS]))
    assert found.intersection(pd.MultiIndex.from_frame(lost[KEYS])).empty


def test_the_label_says_whether_it_arrived_more_than_fifteen_minutes_late(
    rows: pd.DataFrame, flights: pd.DataFrame
) -> None:
    joined = rows[[*KEYS, "late"]].merge(flights[[*KEYS, "arr_delay"]], on=KEYS)
    assert len(joined) == len(rows)
    assert set(joined.loc[joined["arr_delay"] == 15, "late"]) == {0}
    assert set(joined.loc[joined["arr_delay"] == 16, "late"]) == {1}
    assert (joined["late"] == (joined["arr_delay"] > 15)).all()


def test_a_prediction_is_made_an_hour_before_scheduled_departure(rows: pd.DataFrame) -> None:
    ahead = rows["scheduled_departure"] - rows["event_timestamp"]
    assert set(ahead) == {pd.Timedelta(hours=1)}
    assert rows["event_timestamp"].is_monotonic_increasing


def test_calendar_and_plane_are_those_of_the_flight(
    rows: pd.DataFrame, three_months: dict[str, pd.DataFrame]
) -> None:
    """UA 1545 on Tuesday 1 January: due 5:15, 8:19 in Houston, a Boeing of 1999."""
    first = rows[(rows["carrier"] == "UA") & (rows["flight"] == 1545)].iloc[0]
    plane = three_months["planes"].set_index("tailnum").loc[first["tailnum"]]
    assert first["month"] == "2013-01"
    assert first["weekday"] == 2
    assert first["departure_minute"] == 5 * 60 + 15
    assert first["scheduled_minutes"] == 3 * 60 + 4
    assert first["distance"] == 1400
    assert first["plane_age"] == 2013 - int(plane["year"])


def test_joining_twice_gives_the_same_rows(
    rows: pd.DataFrame, settings: Settings, window: Window
) -> None:
    from flightdelays import training_set

    pd.testing.assert_frame_equal(training_set.build(window, settings), rows)


def test_every_number_is_a_float_and_every_text_is_a_category(rows: pd.DataFrame) -> None:
    kinds = rows[feature_columns(list(rows.columns))].dtypes
    numbers = kinds[kinds == "float64"].index
    assert set(kinds.index) - set(numbers) == {"carrier", "origin", "dest"}
    assert len(numbers) > 20


def test_the_flight_that_the_page_of_the_stack_asks_about_has_the_columns_of_a_model(
    rows: pd.DataFrame,
) -> None:
    text = (REPOSITORY / "docker" / "flight.json").read_text("utf-8")
    asked = json.loads(text)["dataframe_split"]
    assert asked["columns"] == feature_columns(list(rows.columns))
    (flight,) = asked["data"]
    assert len(flight) == len(asked["columns"])


def test_an_entity_that_no_flight_has_is_named(
    own_repository: Settings, window: Window, tmp_path: Path
) -> None:
    from flightdelays import store, training_set

    path = Path(own_repository.feature_repo) / "definitions.py"
    text = path.read_text("utf-8")
    path.write_text(text.replace('Entity(name="tailnum"', 'Entity(name="hull"'), "utf-8")
    own = own_repository.model_copy(update={"feast_registry": str(tmp_path / "own.db")})
    store.apply(own)
    with pytest.raises(CourseError) as caught:
        training_set.build(window, own)
    assert str(caught.value) == (
        "the feature service delay_model looks features up by hull, which prediction_rows.sql "
        "does not have: add the column there, or leave the view out"
    )


# --- A fact from the future ----------------------------------------------------------------


@pytest.fixture(scope="module")
def moment(rows: pd.DataFrame) -> pd.Timestamp:
    """A minute of February with predictions in it, in the minute before and soon after."""
    asked = set(rows.loc[rows["month"] == "2013-02", "event_timestamp"])
    return min(t for t in asked if t - MINUTE in asked and t.day == 14 and t.hour >= 15)


@pytest.fixture(scope="module")
def with_facts_from_the_future(
    settings: Settings,
    lake: Lake,
    moment: pd.Timestamp,
    rows: pd.DataFrame,
    build_training_set: Build,
    tmp_path_factory: pytest.TempPathFactory,
    make_settings: Callable[..., Settings],
) -> pd.DataFrame:
    """The training set after an absurd fact about every entity at ``moment`` in every view."""
    root = tmp_path_factory.mktemp("future")
    shutil.copytree(settings.lake, root / "lake")
    changed = make_settings(root)
    for view in ENTITY:
        entity = ENTITY[view]
        planted = absurd(view, sorted(rows[entity].dropna().unique()), moment, lake)

        def change(
            table: pd.DataFrame, entity: str = entity, planted: pd.DataFrame = planted
        ) -> pd.DataFrame:
            if table["built_in"].iloc[0] != "2013-02":
                return table
            # In place of a fact at that very moment, where there is one: an entity has one.
            kept = table[table["event_timestamp"] != moment]
            return pd.concat([kept, planted]).sort_values([entity, "event_timestamp"])

        rewrite(changed, view, change)
    return build_training_set(changed, FEBRUARY)


@pytest.mark.parametrize("view", ENTITY)
def test_a_fact_from_the_future_reaches_no_row(
    view: str,
    with_facts_from_the_future: pd.DataFrame,
    rows: pd.DataFrame,
    moment: pd.Timestamp,
    lake: Lake,
) -> None:
    clean = rows[rows["month"] <= "2013-02"]
    columns = columns_of(lake, view)
    equal = same(with_facts_from_the_future, clean, columns).to_numpy()
    before = (clean["event_timestamp"] < moment).to_numpy()
    assert (clean["event_timestamp"] == moment - MINUTE).any()
    assert before.sum() > 30_000
    assert equal[before].all()


@pytest.mark.parametrize("view", ENTITY)
def test_a_fact_of_the_very_minute_is_used(
    view: str, with_facts_from_the_future: pd.DataFrame, moment: pd.Timestamp, lake: Lake
) -> None:
    """So the test before this one can fail: the planted facts are there to be seen."""
    now = with_facts_from_the_future[with_facts_from_the_future["event_timestamp"] == moment]
    now = now[now[ENTITY[view]].notna()]
    assert len(now) > 0
    for column in columns_of(lake, view):
        if column == "tailnum_idle_minutes":
            expected = (moment.timestamp() - ABSURD) / 60
            np.testing.assert_allclose(now[column], expected)
        else:
            assert set(now[column]) == {float(ABSURD)}


# --- A fact past its time-to-live ----------------------------------------------------------


@pytest.fixture(scope="module")
def asked_twice(rows: pd.DataFrame) -> dict[str, list[pd.Series]]:
    """For each view two rows of the last days of February, about two different entities."""
    late = rows[(rows["month"] == "2013-02") & (rows["event_timestamp"].dt.day > 20)]
    chosen = {}
    for view in ENTITY:
        distinct = late[late[ENTITY[view]].notna()].drop_duplicates(ENTITY[view])
        chosen[view] = [distinct.iloc[0], distinct.iloc[1]]
    return chosen


@pytest.fixture(scope="module")
def with_old_facts_only(
    settings: Settings,
    lake: Lake,
    asked_twice: dict[str, list[pd.Series]],
    build_training_set: Build,
    tmp_path_factory: pytest.TempPathFactory,
    make_settings: Callable[..., Settings],
) -> pd.DataFrame:
    """The training set when all that is known is as old as the TTL, or a minute older.

    The first row of each view finds a fact exactly as old as its TTL, the second one a fact
    that is one minute older, and neither finds anything younger.
    """
    root = tmp_path_factory.mktemp("old")
    shutil.copytree(settings.lake, root / "lake")
    changed = make_settings(root)
    for view in ENTITY:
        entity = ENTITY[view]

        def change(table: pd.DataFrame, view: str = view, entity: str = entity) -> pd.DataFrame:
            month = table["built_in"].iloc[0]
            for row, extra in zip(asked_twice[view], (0 * MINUTE, MINUTE), strict=True):
                asked = row["event_timestamp"]
                planted = asked - TTL[view] - extra
                hidden = (table[entity] == row[entity]) & table["event_timestamp"].between(
                    planted, asked
                )
                table = table[~hidden]
                if planted.strftime("%Y-%m") == month:
                    fact = absurd(view, [row[entity]], planted, lake)
                    table = pd.concat([table, fact])
            return table

        rewrite(changed, view, change)
    return build_training_set(changed, FEBRUARY)


@pytest.mark.parametrize("view", ENTITY)
def test_a_fact_as_old_as_its_ttl_is_used(
    view: str,
    with_old_facts_only: pd.DataFrame,
    asked_twice: dict[str, list[pd.Series]],
    lake: Lake,
) -> None:
    row = with_old_facts_only.loc[asked_twice[view][0].name]
    columns = [name for name in columns_of(lake, view) if name != "tailnum_idle_minutes"]
    assert set(row[columns]) == {float(ABSURD)}


@pytest.mark.parametrize("view", ENTITY)
def test_a_fact_one_minute_older_than_its_ttl_is_not_used(
    view: str,
    with_old_facts_only: pd.DataFrame,
    asked_twice: dict[str, list[pd.Series]],
    lake: Lake,
) -> None:
    row = with_old_facts_only.loc[asked_twice[view][1].name]
    assert row[columns_of(lake, view)].isna().all()


# --- A later arrival in the source ---------------------------------------------------------


@pytest.fixture(scope="module")
def told_otherwise(
    three_months: dict[str, pd.DataFrame],
    settings: Settings,
    flights: pd.DataFrame,
    tmp_path_factory: pytest.TempPathFactory,
    make_settings: Callable[..., Settings],
    prepare: Callable[..., None],
    build_training_set: Build,
) -> tuple[pd.DataFrame, pd.Timestamp]:
    """The training set when a flight of 12 February arrived otherwise, and one more flew later.

    Also the first moment at which any of it can be known: the arrival that did not happen.
    The added flight leaves after that, for a departure is known when it happens.
    """
    root = tmp_path_factory.mktemp("otherwise")
    table = three_months["flights"].reset_index(drop=True)
    day = (table["month"] == "2") & (table["day"] == "12") & (table["arr_delay"] != "")
    chosen = table[day & (table["carrier"] == "UA") & (table["sched_dep_time"] == "1500")].iloc[0]
    hour, minute = int(chosen["arr_time"]) // 100, int(chosen["arr_time"]) % 100
    assert hour < 23
    table.loc[chosen.name, ["arr_time", "arr_delay"]] = [f"{hour + 1}{minute:02d}", "999"]
    evening = table[day & (table["carrier"] == "UA") & (table["sched_dep_time"] == "1900")].iloc[:1]
    added = evening.assign(flight="9999", arr_delay="998")
    folder = root / "source"
    folder.mkdir()
    for name, original in three_months.items():
        original.to_csv(folder / f"{name}.csv", index=False)
    pd.concat([table, added]).to_csv(folder / "flights.csv", index=False)
    changed = make_settings(root, source=str(folder))
    prepare(changed, ("2013-01", "2013-02"))
    known = flights[
        (flights["month"] == "2013-02")
        & (flights["day"] == 12)
        & (flights["carrier"] == "UA")
        & (flights["flight"] == int(chosen["flight"]))
        & (flights["origin"] == chosen["origin"])
    ]
    (arrival,) = known["arrived_at"]
    assert arrival < pd.Timestamp("2013-02-12T23:30Z")  # before 18:30 in New York
    built = build_training_set(changed, FEBRUARY)
    assert (built["flight"] == 9999).sum() == 1
    return built[built["flight"] != 9999], arrival


def test_rows_before_an_arrival_do_not_know_of_it(
    told_otherwise: tuple[pd.DataFrame, pd.Timestamp], rows: pd.DataFrame
) -> None:
    built, arrival = told_otherwise
    clean = rows[rows["month"] <= "2013-02"]
    assert built[KEYS].reset_index(drop=True).equals(clean[KEYS].reset_index(drop=True))
    before = (clean["event_timestamp"] < arrival).to_numpy()
    equal = same(built, clean, feature_columns(list(clean.columns))).to_numpy()
    assert before.sum() > 30_000
    assert equal[before].all()


@pytest.mark.parametrize("column", ["carrier_delay_3h", "origin_delay_3h", "tailnum_late_rate_14d"])
def test_rows_after_an_arrival_know_of_it(
    column: str, told_otherwise: tuple[pd.DataFrame, pd.Timestamp], rows: pd.DataFrame
) -> None:
    """So the test before this one can fail: the change in the source reaches the features."""
    built, arrival = told_otherwise
    clean = rows[rows["month"] <= "2013-02"]
    differs = ~same(built, clean, [column]).to_numpy()
    assert differs.any()
    assert clean.loc[differs, "event_timestamp"].min() >= arrival


# --- Holes in the input --------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_holes(
    three_months: dict[str, pd.DataFrame],
    tmp_path_factory: pytest.TempPathFactory,
    make_settings: Callable[..., Settings],
    prepare: Callable[..., None],
    build_training_set: Build,
) -> pd.DataFrame:
    """February without Newark's weather of the 12th, and with an airport nobody knows."""
    root = tmp_path_factory.mktemp("holes")
    folder = root / "source"
    folder.mkdir()
    tables = dict(three_months)
    weather = tables["weather"]
    hole = (weather["origin"] == "EWR") & weather["time_hour"].between(
        "2013-02-12T06:00:00Z", "2013-02-13T05:00:00Z"
    )
    assert hole.sum() == 24
    tables["weather"] = weather[~hole]
    flights = tables["flights"]
    tables["flights"] = flights.assign(
        dest=flights["dest"].mask((flights["month"] == "2") & (flights["dest"] == "BUF"), "QQQ")
    )
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    settings = make_settings(root, source=str(folder))
    prepare(settings, ("2013-01", "2013-02"))
    return build_training_set(settings, FEBRUARY)


def test_a_day_without_weather_leaves_older_weather_and_then_gaps(
    with_holes: pd.DataFrame, rows: pd.DataFrame
) -> None:
    """Newark's last weather before the hole is of 5:00 UTC, known at 6:00: good until 12:00."""
    newark = with_holes[with_holes["origin"] == "EWR"]
    asked = newark["event_timestamp"]
    last, end = pd.Timestamp("2013-02-12T06:00Z"), pd.Timestamp("2013-02-13T07:00Z")
    older = newark[(asked >= last) & (asked <= last + TTL["origin_weather"])]
    missing = newark[(asked > last + TTL["origin_weather"]) & (asked < end)]
    assert len(older) > 10
    assert older["temp"].nunique() == 1
    assert older["temp"].notna().all()
    assert len(missing) > 200
    weather = ["temp", "humid", "wind_speed", "precip", "pressure", "visib"]
    assert missing[weather].isna().all(axis=None)
    assert newark.loc[asked >= end, "temp"].notna().mean() > 0.99
    elsewhere = with_holes["origin"] != "EWR"
    clean = rows[rows["month"] <= "2013-02"].reset_index(drop=True)
    assert same(with_holes[elsewhere], clean[clean["origin"] != "EWR"], weather).all()


def test_no_row_is_lost_with_the_weather_or_the_airport(
    with_holes: pd.DataFrame, rows: pd.DataFrame
) -> None:
    clean = rows[rows["month"] <= "2013-02"]
    assert len(with_holes) == len(clean)
    unknown = with_holes["dest"] == "QQQ"
    assert unknown.sum() == ((clean["dest"] == "BUF") & (clean["month"] == "2013-02")).sum() > 200


def test_a_model_answers_for_a_missing_day_and_an_unseen_airport(
    with_holes: pd.DataFrame, candidate: dict[str, object], settings: Settings
) -> None:
    from flightdelays import evaluation, registry

    model = registry.load_model(str(candidate["address"]), settings)
    asked = with_holes[(with_holes["dest"] == "QQQ") | with_holes["temp"].isna()]
    answers = evaluation.predict(model, asked)
    assert answers.shape == (len(asked),)
    assert ((answers > 0) & (answers < 1)).all()
    assert len(set(answers.round(6))) > 100


def test_the_quality_gate_bears_a_day_without_weather(
    with_holes: pd.DataFrame, settings: Settings
) -> None:
    from flightdelays import quality

    assert quality.check(with_holes, docs=False, settings=settings).failures == []


def test_two_facts_of_one_entity_and_moment_are_not_counted_twice(
    copied: Settings, build_training_set: Build, rows: pd.DataFrame
) -> None:
    rewrite(copied, "origin_delays", lambda table: pd.concat([table, table.tail(5)]))
    built = build_training_set(copied, FEBRUARY)
    assert len(built) == (rows["month"] <= "2013-02").sum()


def test_partitions_that_nobody_landed_are_no_part_of_the_window(
    settings: Settings, tmp_path: Path
) -> None:
    from flightdelays import training_set

    found = training_set.prediction_rows(Window("2012-01", "2013-01", "2013-02"), settings)
    assert sorted(set(found["month"])) == ["2013-01", "2013-02"]
