"""The feature store: Feast with the addresses of the settings, on disk and online."""

import shutil
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flightdelays import features
from flightdelays.errors import CourseError, DataError, LakeError
from flightdelays.lake import Lake, open_lake
from flightdelays.settings import Settings

from .conftest import ENTITY

UNTIL = datetime(2013, 2, 15, 17, 30, tzinfo=UTC)
TTL = {
    "origin_weather": timedelta(hours=6),
    "origin_delays": timedelta(hours=3),
    "carrier_delays": timedelta(hours=3),
    "tailnum_delays": timedelta(days=14),
}


@pytest.fixture(scope="module")
def online(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """An online store of its own, brought to a moment in the middle of February."""
    from flightdelays import store

    root = tmp_path_factory.mktemp("online")
    own = settings.model_copy(
        update={
            "feast_registry": str(root / "r" / "registry.db"),
            "feast_online": str(root / "o.db"),
        }
    )
    store.apply(own)
    store.materialize(UNTIL, own)
    return own


def known(view: str, lake: Lake) -> pd.DataFrame:
    """The latest fact of each entity as of UNTIL, by entity."""
    facts = pd.concat(
        lake.read_table(lake.partition(features.table(view), month)).to_pandas()
        for month in ("2013-01", "2013-02", "2013-03")
    )
    facts = facts[facts["event_timestamp"] <= UNTIL].sort_values("event_timestamp")
    return facts.groupby(ENTITY[view]).tail(1).set_index(ENTITY[view])


@pytest.mark.parametrize("view", ENTITY)
def test_online_features_are_the_latest_facts_at_the_time_of_materializing(
    view: str, online: Settings, lake: Lake
) -> None:
    from flightdelays import store

    facts = known(view, lake)
    recent = facts[facts["event_timestamp"] > UNTIL - TTL[view]].head(300)
    assert len(recent) >= 3
    entities = [
        {"origin": "EWR", "carrier": "UA", "tailnum": "N0"} | {ENTITY[view]: name}
        for name in recent.index
    ]
    found = pd.DataFrame(store.online_features(entities, online))
    columns = [name for name in recent.columns if name != "event_timestamp"]
    np.testing.assert_array_equal(
        found[columns].astype("float64").to_numpy(), recent[columns].astype("float64").to_numpy()
    )


def test_the_facts_of_after_that_moment_are_not_served(online: Settings, lake: Lake) -> None:
    """The store could have served later ones: the lake has them."""
    from flightdelays import store

    later = lake.read_table(lake.partition("features/origin_delays", "2013-03")).to_pandas()
    last = later[later["origin"] == "JFK"].iloc[-1]
    asked = [{"origin": "JFK", "carrier": "UA", "tailnum": "N0"}]
    served = store.online_features(asked, online)["origin_late_rate_24h"]
    assert served == [known("origin_delays", lake).loc["JFK", "origin_late_rate_24h"]]
    assert served != [last["origin_late_rate_24h"]]


def test_an_entity_that_nobody_knows_has_no_features(online: Settings) -> None:
    from flightdelays import store

    asked = [{"origin": "PHL", "carrier": "ZZ", "tailnum": "N0"}]
    answers = store.online_features(asked, online)
    values = {name: value for name, value in answers.items() if name not in asked[0]}
    assert len(values) > 20
    assert set(map(tuple, values.values())) == {(None,)}


def test_materializing_twice_serves_the_same(online: Settings) -> None:
    from flightdelays import store

    asked = [{"origin": "JFK", "carrier": "UA", "tailnum": "N0"}]
    before = store.online_features(asked, online)
    store.materialize(UNTIL, online)
    assert store.online_features(asked, online) == before


def test_the_views_are_registered_over_the_lake_of_the_settings(online: Settings) -> None:
    from flightdelays import store

    assert store.apply(online) == sorted(ENTITY)
    views = store.open_store(online).list_feature_views()
    assert {view.batch_source.path for view in views} == {
        f"{online.lake}/features/{name}/month=*/part.parquet" for name in ENTITY
    }


def test_the_definitions_name_every_column_of_the_tables(online: Settings, lake: Lake) -> None:
    from flightdelays import store

    for view in store.open_store(online).list_feature_views():
        table = lake.read_table(lake.partition(features.table(view.name), "2013-02"))
        defined = {field.name for field in view.features}
        assert defined == set(table.column_names) - {
            ENTITY[view.name], "event_timestamp", "month",
        }  # fmt: skip


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_a_query_without_a_definition_is_named(own_repository: Settings) -> None:
    from flightdelays import store

    folder = Path(own_repository.feature_repo)
    (folder / "dest_delays.sql").write_text("SELECT 1", "utf-8")
    for view in ("dest_delays", None):
        with pytest.raises(CourseError) as caught:
            store.apply(own_repository, view)
        assert str(caught.value) == (
            f"{folder}/dest_delays.sql has no definition: "
            f"add a view 'dest_delays' to {folder}/definitions.py"
        )


def test_a_definition_without_a_query_is_named(own_repository: Settings) -> None:
    from flightdelays import store

    folder = Path(own_repository.feature_repo)
    (folder / "carrier_delays.sql").unlink()
    for view in ("carrier_delays", None):
        with pytest.raises(CourseError) as caught:
            store.apply(own_repository, view)
        assert str(caught.value) == (
            f"{folder}/definitions.py has a view 'carrier_delays' and no query of it: "
            f"write {folder}/carrier_delays.sql"
        )


def test_a_view_may_be_registered_while_another_is_half_written(
    own_repository: Settings, tmp_path: Path
) -> None:
    from flightdelays import store

    (Path(own_repository.feature_repo) / "dest_delays.sql").write_text("SELECT 1", "utf-8")
    own = own_repository.model_copy(update={"feast_registry": str(tmp_path / "own.db")})
    assert store.apply(own, "carrier_delays") == ["carrier_delays"]
    feast = store.open_store(own)
    assert [view.name for view in feast.list_feature_views()] == ["carrier_delays"]
    assert {entity.name for entity in feast.list_entities()} == {"carrier"}
    assert not store.service_is_registered(own)


def test_a_view_that_nobody_knows_is_refused_with_those_there_are(settings: Settings) -> None:
    from flightdelays import store

    with pytest.raises(DataError, match="no feature view 'weather': choose from carrier_delays, "):
        store.apply(settings, "weather")


def test_columns_that_query_and_definition_do_not_share_are_named(
    own_repository: Settings,
) -> None:
    from flightdelays import store

    store.check_columns("carrier_delays", own_repository)
    path = Path(own_repository.feature_repo) / "definitions.py"
    replace(path, "carrier_delay_3h=", "carrier_delay_4h=")
    with pytest.raises(CourseError) as caught:
        store.check_columns("carrier_delays", own_repository)
    message = str(caught.value)
    assert message.startswith("carrier_delays.sql and the view 'carrier_delays' in definitions.py")
    assert message.endswith("name different columns: carrier_delay_3h, carrier_delay_4h")


def test_views_registered_at_the_same_time_are_all_registered(
    settings: Settings, tmp_path: Path
) -> None:
    from flightdelays import store

    own = settings.model_copy(update={"feast_registry": str(tmp_path / "new" / "own.db")})
    with ThreadPoolExecutor(len(ENTITY)) as workers:
        found = list(workers.map(lambda view: store.apply(own, view), ENTITY))
    assert found == [[view] for view in ENTITY]
    registered = {view.name for view in store.open_store(own).list_feature_views()}
    assert registered == set(ENTITY)


def test_the_service_is_registered_until_it_is_defined_otherwise(
    own_repository: Settings, tmp_path: Path
) -> None:
    from flightdelays import store

    own = own_repository.model_copy(update={"feast_registry": str(tmp_path / "own.db")})

    store.apply(own)
    assert store.service_is_registered(own)
    path = Path(own.feature_repo) / "definitions.py"
    replace(
        path, "origin_delays, carrier_delays, tailnum_delays]", "carrier_delays, tailnum_delays]"
    )
    assert not store.service_is_registered(own)
    assert set(store.service_views(own)) == set(ENTITY) - {"origin_delays"}
    store.apply(own)
    assert store.service_is_registered(own)


def test_one_view_alone_is_brought_up_to_date(
    online: Settings, own_repository: Settings, lake: Lake, tmp_path: Path
) -> None:
    from flightdelays import store

    moved = own_repository.model_copy(
        update={
            "feast_registry": str(shutil.copy(online.feast_registry, tmp_path / "r.db")),
            "feast_online": str(shutil.copy(online.feast_online, tmp_path / "o.db")),
        }
    )
    asked = [{"origin": "JFK", "carrier": "UA", "tailnum": "N0"}]
    before = store.online_features(asked, moved)
    store.materialize(datetime(2013, 3, 15, tzinfo=UTC), moved, "carrier_delays")
    after = store.online_features(asked, moved)
    changed = {name for name in after if after[name] != before[name]}
    table = lake.read_table(lake.partition("features/carrier_delays", "2013-02"))
    assert "carrier_late_rate_14d" in changed
    assert changed <= set(table.column_names)


def test_a_variable_that_is_not_set_is_named(
    own_repository: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flightdelays import store

    path = Path(own_repository.feature_repo) / "feature_store.yaml"
    replace(path, "${FLIGHTDELAYS_FEAST_ONLINE}", "${REDIS_ADDRESS}")
    monkeypatch.delenv("REDIS_ADDRESS", raising=False)
    with pytest.raises(CourseError) as caught:
        store.open_store(own_repository)
    assert str(caught.value) == f"{path} names ${{REDIS_ADDRESS}}: set it in the environment"


def test_a_variable_of_the_environment_is_filled_in(
    own_repository: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from flightdelays import store

    path = Path(own_repository.feature_repo) / "feature_store.yaml"
    replace(path, "${FLIGHTDELAYS_FEAST_ONLINE}", "${ONLINE_HERE}")
    monkeypatch.setenv("ONLINE_HERE", str(tmp_path / "here.db"))
    assert store.open_store(own_repository).config.online_store.path == str(tmp_path / "here.db")


def test_a_value_is_filled_in_whatever_stands_in_it(
    own_repository: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A password may hold what means something in YAML, and what a template begins with."""
    from flightdelays import store

    path = Path(own_repository.feature_repo) / "feature_store.yaml"
    replace(path, "${FLIGHTDELAYS_FEAST_ONLINE}", "${ONLINE_HERE}")
    strange = f"{tmp_path}/a: 'b' # ${{c}}.db"
    monkeypatch.setenv("ONLINE_HERE", strange)
    assert store.open_store(own_repository).config.online_store.path == strange


def test_the_file_with_the_addresses_is_a_setting(own_repository: Settings, tmp_path: Path) -> None:
    from flightdelays import store

    folder = Path(own_repository.feature_repo)
    text = (folder / "feature_store.yaml").read_text("utf-8")
    (folder / "other.yaml").write_text(text.replace("flight_delays", "other_project"), "utf-8")
    other = own_repository.model_copy(update={"feature_store": "other.yaml"})
    assert store.open_store(own_repository).project == "flight_delays"
    assert store.open_store(other).project == "other_project"


@pytest.mark.parametrize(
    ("absent", "present"), [("FEAST_REGISTRY", "FEAST_REDIS"), ("FEAST_REDIS", "FEAST_REGISTRY")]
)
def test_the_file_of_the_stack_asks_for_both_addresses(
    absent: str, present: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flightdelays import store

    stack = settings.model_copy(update={"feature_store": "feature_store.stack.yaml"})
    monkeypatch.delenv(absent, raising=False)
    monkeypatch.setenv(present, "sqlite://")
    with pytest.raises(CourseError, match=rf"names \$\{{{absent}\}}: set it in the environment"):
        store.open_store(stack)


def test_an_object_store_serves_the_same(
    own_repository: Settings, online: Settings, lake: Lake, tmp_path: Path
) -> None:
    """``memory://`` stands for ``s3://``: the lake reads both for Feast."""
    from flightdelays import store

    path = Path(own_repository.feature_repo) / "feature_store.yaml"
    replace(path, "type: duckdb", "type: flightdelays.offline_store.LakeOfflineStore")
    places = {
        "lake": f"memory://{uuid.uuid4().hex}/lake",
        "feast_registry": str(tmp_path / "r.db"),
        "feast_online": str(tmp_path / "o.db"),
    }
    remote = own_repository.model_copy(update=places)
    other = open_lake(remote)
    for view in ENTITY:
        for month in ("2013-01", "2013-02"):
            table = features.table(view)
            other.write_table(
                other.partition(table, month), lake.read_table(lake.partition(table, month))
            )
    store.apply(remote)
    store.materialize(UNTIL, remote)
    planes = known("tailnum_delays", lake).index[:200]
    asked = [{"origin": "JFK", "carrier": "UA", "tailnum": plane} for plane in planes]
    assert store.online_features(asked, remote) == store.online_features(asked, online)


def test_a_view_without_a_month_in_an_object_store_is_named(
    own_repository: Settings, tmp_path: Path
) -> None:
    from flightdelays import store

    path = Path(own_repository.feature_repo) / "feature_store.yaml"
    replace(path, "type: duckdb", "type: flightdelays.offline_store.LakeOfflineStore")
    places = {
        "lake": f"memory://{uuid.uuid4().hex}/lake",
        "feast_registry": str(tmp_path / "r.db"),
    }
    remote = own_repository.model_copy(update=places)
    store.apply(remote)
    with pytest.raises(LakeError, match="matches no file: build the features of origin_weather"):
        store.materialize(UNTIL, remote, "origin_weather")


def test_a_missing_repository_is_named(settings: Settings, tmp_path: Path) -> None:
    from flightdelays import store

    gone = settings.model_copy(update={"feature_repo": str(tmp_path)})
    with pytest.raises(CourseError) as caught:
        store.open_store(gone)
    assert str(caught.value) == (
        f"{tmp_path}/feature_store.yaml is missing: set FLIGHTDELAYS_FEATURE_REPO or "
        "FLIGHTDELAYS_FEATURE_STORE"
    )


@pytest.mark.parametrize(
    ("month", "end"),
    [
        ("2013-01", "2013-02-01T05:00"),
        ("2013-07", "2013-08-01T05:00"),
        ("2013-12", "2014-01-01T05:00"),
    ],
)
def test_a_month_ends_at_midnight_in_new_york_or_an_hour_later(month: str, end: str) -> None:
    from flightdelays import store

    moment = store.end_of_month(month)
    assert moment == datetime.fromisoformat(end).replace(tzinfo=UTC)
    midnight = pd.Timestamp(end[:10], tz="America/New_York")
    assert timedelta(0) <= moment - midnight <= timedelta(hours=1)


def test_settings_reach_feast_as_they_are(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    from flightdelays import store

    settings = make_settings(tmp_path)
    config = store.open_store(settings).config
    assert config.registry.path == settings.feast_registry
    assert config.online_store.path == settings.feast_online
    assert config.offline_store.type == "duckdb"
