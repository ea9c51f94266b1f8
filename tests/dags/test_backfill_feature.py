"""A new feature, as the page of the feature repository tells to add it, computed for the past."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from .conftest import REPOSITORY, states

Run = Callable[..., Any]
VIEW = "dest_delays"
# In an order that no calendar knows, as a backfill may run them.
MONTHS = ["2013-09", "2013-07", "2013-08"]
DAY = pd.Timedelta(days=1)


def written_files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of writing of every file below a folder."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def verdict(dag_run: Any) -> dict[str, Any]:
    """What the task `report` of a run wrote."""
    path = Path(os.environ["FLIGHTDELAYS_SITE"]) / "backfill_feature"
    (found,) = [
        content
        for file in path.rglob("verdict.json")
        if (content := json.loads(file.read_text("utf-8")))["run_id"] == dag_run.run_id
    ]
    return found


def edit(path: Path, old: str, new: str) -> None:
    """Replace the one place in a file where ``old`` stands."""
    text = path.read_text("utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), "utf-8")


@pytest.fixture(scope="module")
def place(
    lake_of_nine_months: Any, workplace: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Three of the months in a lake of their own, with a feature repository that may change."""
    from flightdelays import store
    from flightdelays.settings import get_settings

    root = tmp_path_factory.mktemp("place")
    for path in (workplace / "lake").rglob("month=*"):
        if path.stem.removeprefix("month=") in MONTHS:
            target = root / "lake" / path.relative_to(workplace / "lake")
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if path.is_dir() else shutil.copy)(path, target)
    shutil.copytree(REPOSITORY / "feature_repo", root / "feature_repo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLIGHTDELAYS_LAKE", str(root / "lake"))
        patch.setenv("FLIGHTDELAYS_SITE", str(root / "site"))
        patch.setenv("FLIGHTDELAYS_FEATURE_REPO", str(root / "feature_repo"))
        patch.setenv("FLIGHTDELAYS_FEAST_REGISTRY", str(root / "feast" / "registry.db"))
        patch.setenv("FLIGHTDELAYS_FEAST_ONLINE", str(root / "feast" / "online.db"))
        get_settings.cache_clear()
        # July lost its June when it was copied, so it would be built from less than it was.
        assert build_stale() == {"2013-07"}
        store.apply()
        store.materialize(store.end_of_month("2013-09"))
        yield root
    get_settings.cache_clear()


def build_stale() -> set[str]:
    """Build what is stale; the months that were."""
    from flightdelays import features

    stale = features.stale()
    for view, months in stale.items():
        for month in months:
            features.build(view, month)
    return {month for months in stale.values() for month in months}


@pytest.fixture(scope="module")
def query(place: Path) -> Path:
    """Steps 1 and 2 of the page: the query and the definition of the view, as they stand there."""
    page = (REPOSITORY / "feature_repo" / "README.md").read_text("utf-8")
    (sql,) = re.findall(r"^```sql\n(.*?)^```", page, re.M | re.S)
    (definition,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    path = place / "feature_repo" / f"{VIEW}.sql"
    path.write_text(sql, "utf-8")
    above = "delay_model = FeatureService("
    edit(place / "feature_repo" / "definitions.py", above, f"{definition}\n{above}")
    return path


@pytest.fixture(scope="module")
def others(query: Path, place: Path) -> dict[str, tuple[bytes, int]]:
    """All files of the lake before the backfill."""
    return written_files(place / "lake")


@pytest.fixture(scope="module")
def backfilled(others: dict[str, tuple[bytes, int]], run: Run) -> list[Any]:
    """A run for each month."""
    return [run("backfill_feature", view=VIEW, month=month) for month in MONTHS]


def online(view: str, **entity: str) -> dict[str, list[Any]]:
    """What Feast serves of a view about one entity."""
    from flightdelays import store

    feast = store.open_store()
    names = [f"{view}:{field.name}" for field in feast.get_feature_view(view).features]
    return feast.get_online_features(features=names, entity_rows=[entity]).to_dict()


def facts(place: Path, month: str) -> pd.DataFrame:
    return pd.read_parquet(place / f"lake/features/{VIEW}/month={month}/part.parquet")


def test_the_runs_succeed_and_only_the_last_one_publishes(backfilled: list[Any]) -> None:
    assert [done.state for done in backfilled] == ["success"] * 3
    published = [states(done)["publish"] for done in backfilled]
    assert published == ["skipped", "skipped", "success"]
    assert all(states(done)["report"] == "success" for done in backfilled)


def test_each_page_says_which_months_are_there_and_which_are_left(
    backfilled: list[Any], place: Path
) -> None:
    first, second, last = map(verdict, backfilled)
    assert [found["data"]["left"] for found in (first, second, last)] == [
        ["2013-07", "2013-08"], ["2013-08"], [],
    ]  # fmt: skip
    assert "1 of 3 landed months are built" in first["headline"]
    assert "is whole and is served online" in last["headline"]
    assert last["data"]["rows"] == len(facts(place, "2013-08"))
    (table,) = first["tables"].values()
    assert [row[:2] for row in table["rows"]] == [
        ["2013-07", "to build"], ["2013-08", "to build"], ["2013-09", "built"],
    ]  # fmt: skip


def test_the_facts_are_those_that_pandas_finds(backfilled: list[Any], place: Path) -> None:
    """A window of a day over the flights of all months at once, entity by entity."""
    from flightdelays import duck
    from flightdelays.lake import open_lake
    from flightdelays.settings import get_settings

    settings = get_settings()
    lake = open_lake(settings)
    with duck.connect(lake, settings) as connection:
        duck.view_raw(connection, lake, sorted(MONTHS), settings)
        flights = connection.sql("FROM flights WHERE arr_delay IS NOT NULL").df()
    for month in MONTHS:
        table = facts(place, month)
        assert len(table) > 10_000
        assert list(table.columns[:2]) == ["dest", "event_timestamp"]
        assert not table.duplicated(["dest", "event_timestamp"]).any()
        shown = table["event_timestamp"].dt.tz_convert("America/New_York")
        assert set(shown.dt.strftime("%Y-%m")) == {month}
        for fact in table.sample(10, random_state=2013).itertuples():
            known = flights[
                (flights["dest"] == fact.dest)
                & (flights["arrived_at"] <= fact.event_timestamp)
                & (flights["arrived_at"] >= fact.event_timestamp - DAY)
            ]["arr_delay"]
            assert fact.dest_arrivals_24h == len(known) > 0
            assert fact.dest_delay_24h == pytest.approx(known.mean())
            assert fact.dest_late_rate_24h == pytest.approx((known > 15).mean())


def test_no_other_file_of_the_lake_was_touched(
    backfilled: list[Any], others: dict[str, tuple[bytes, int]], place: Path
) -> None:
    after = written_files(place / "lake")
    assert {name: after[name] for name in others} == others
    assert {name.split("/")[1] for name in after.keys() - others.keys()} == {VIEW}


def test_feast_serves_the_latest_facts_of_the_view(backfilled: list[Any], place: Path) -> None:
    latest = facts(place, "2013-09").groupby("dest").tail(1).set_index("dest").loc["LAX"]
    served = online(VIEW, dest="LAX")
    assert served.pop("dest") == ["LAX"]
    assert served == {name: [latest[name]] for name in served}
    assert len(served) == 3


def test_feast_still_serves_the_other_views_and_the_model_reads_what_it_read(
    backfilled: list[Any],
) -> None:
    from flightdelays import store

    assert online("origin_delays", origin="JFK")["origin_late_rate_24h"] != [None]
    read = store.open_store().get_feature_service(store.SERVICE).feature_view_projections
    assert VIEW not in {projection.name for projection in read}
    intervals = {
        view.name: len(view.materialization_intervals)
        for view in store.open_store().list_feature_views()
        if view.name != VIEW
    }
    assert set(intervals.values()) == {1}


def test_a_month_again_gives_the_same_bytes(backfilled: list[Any], place: Path, run: Run) -> None:
    path = place / f"lake/features/{VIEW}/month=2013-08/part.parquet"
    before, written = path.read_bytes(), path.stat().st_mtime_ns
    assert run("backfill_feature", view=VIEW, month="2013-08").state == "success"
    assert path.stat().st_mtime_ns > written
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"view": "weather", "month": "2013-08"},
            "there is no feature view 'weather': choose from",
        ),
        ({"month": "2013-08"}, "set the parameter view to one of carrier_delays, dest_delays"),
        ({"view": VIEW, "month": "2013-12"}, "2013-12 has not landed; landed so far: 2013-07,"),
    ],
)
def test_a_run_that_cannot_end_well_says_why(
    params: dict[str, str],
    message: str,
    backfilled: list[Any],
    place: Path,
    run: Run,
    capfd: pytest.CaptureFixture[str],
) -> None:
    before = written_files(place / "lake")
    done = run("backfill_feature", **params)
    assert done.state == "failed"
    assert states(done)["report"] == "upstream_failed"
    assert message in "".join(capfd.readouterr())
    assert written_files(place / "lake") == before


def test_in_the_feature_service_the_model_gets_it_and_nothing_is_built(
    backfilled: list[Any], place: Path, run: Run
) -> None:
    """Step 5 of the page: the definitions alone are new, so that alone is published."""
    from flightdelays import availability, training_set

    before = written_files(place / "lake")
    # The view is known, whole, and none of the model's: nothing to build or to register.
    assert set(states(run("build_features")).values()) == {"success", "skipped"}
    window = availability.check("2013-08", "2013-09")
    edit(
        place / "feature_repo" / "definitions.py",
        "carrier_delays, tailnum_delays],",
        f"carrier_delays, tailnum_delays, {VIEW}],",
    )
    outcome = states(run("build_features"))
    assert (outcome["build"], outcome["publish"]) == ("skipped", "success")
    assert written_files(place / "lake") == before
    rows = training_set.build(window)
    added = ["dest_late_rate_24h", "dest_delay_24h", "dest_arrivals_24h"]
    assert set(added) <= set(rows.columns)
    assert rows[added].notna().mean().min() > 0.97
    assert states(run("build_features"))["publish"] == "skipped"


def test_a_query_that_changes_makes_its_view_stale_and_build_features_builds_that_alone(
    backfilled: list[Any], query: Path, place: Path, run: Run
) -> None:
    before = written_files(place / "lake")
    edit(query, "-- How late flights", "-- How punctual or late flights")
    done = run("build_features")
    assert {ti.rendered_map_index for ti in done.get_task_instances() if ti.task_id == "build"} == {
        VIEW
    }
    after = written_files(place / "lake")
    assert {name.split("/")[1] for name in after if after[name] != before[name]} == {VIEW}
