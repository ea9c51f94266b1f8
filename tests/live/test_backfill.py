"""A new feature computed for the past by Airflow's own backfill, two months at a time."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from course.api import FINISHED
from course.config import REPOSITORY
from flightdelays import features, source, store
from flightdelays.lake import open_lake
from flightdelays.settings import Settings

from .test_pipelines import wait

pytestmark = pytest.mark.live

DAG, VIEW = "backfill_feature", "dest_delays"
MONTHS = ["2013-01", "2013-02", "2013-03"]
TOGETHER = 2


def digests(folder: Path) -> dict[str, tuple[str, int]]:
    """sha256 and time of writing of every file below a folder."""
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def other_views(settings: Settings) -> dict[str, tuple[str, int]]:
    """Files of the lake that are none of the new view's."""
    found = digests(Path(settings.lake))
    return {path: entry for path, entry in found.items() if VIEW not in Path(path).parts}


@pytest.fixture(scope="module")
def settings(stack: Any) -> Settings:
    """The settings that the tasks of the stack have."""
    own = {
        name.removeprefix("FLIGHTDELAYS_").lower(): value
        for name, value in stack.env.items()
        if name.startswith("FLIGHTDELAYS_")
    }
    return Settings(**own)


@pytest.fixture(scope="module")
def view(settings: Settings) -> Iterator[str]:
    """The example of the feature repository's page, in the stack's copy of that folder."""
    folder = Path(settings.feature_repo)
    assert folder != REPOSITORY / "feature_repo"
    page = (folder / "README.md").read_text("utf-8")
    (query,) = re.findall(r"^```sql\n(.*?)^```", page, re.M | re.S)
    (definition,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    definitions = folder / "definitions.py"
    before = definitions.read_text("utf-8")
    above = "delay_model = FeatureService("
    (folder / f"{VIEW}.sql").write_text(query, "utf-8")
    definitions.write_text(before.replace(above, f"{definition}\n{above}"), "utf-8")
    yield VIEW
    (folder / f"{VIEW}.sql").unlink()
    definitions.write_text(before, "utf-8")
    feast = store.open_store(settings)
    feast.registry.delete_feature_view(VIEW, feast.project)


@pytest.fixture(scope="module")
def untouched(settings: Settings) -> Iterator[dict[str, tuple[str, int]]]:
    """Three months landed and built, unless another test has left them; all files of them.

    What was landed here goes again: other tests count on a stack in which nothing is built.
    """
    lake = open_lake(settings)
    was_empty = not source.landed_months(settings)
    for month in set(MONTHS) - set(source.landed_months(settings)):
        source.land(month, settings)
    for name, months in features.stale(settings).items():
        for month in months:
            features.build(name, month, settings)
    assert source.landed_months(settings) == MONTHS
    store.apply(settings)
    store.materialize(store.end_of_month(MONTHS[-1]), settings)
    yield other_views(settings)
    lake.remove_folder(features.table(VIEW))
    if was_empty:
        lake.remove_folder("raw")
        lake.remove_folder("features")


@pytest.fixture(scope="module")
def runs(stack: Any, untouched: dict[str, tuple[str, int]], view: str) -> list[dict[str, Any]]:
    """The runs of a backfill of January to April, of which April has not landed."""
    wait(f"{DAG} is parsed", lambda: stack.api.dag(DAG))
    stack.api.pause(DAG, paused=False)
    stack.api.backfill(
        DAG,
        "2013-01-01T00:00:00Z",
        "2013-04-01T00:00:00Z",
        max_active_runs=TOGETHER,
        reprocess_behavior="completed",
        dag_run_conf={"view": view},
    )
    return list(
        wait(
            "the backfill ends",
            lambda: (
                len(found := stack.api.runs(DAG, run_type="backfill")) == len(MONTHS) + 1
                and all(run["state"] in FINISHED for run in found)
                and found
            ),
            5 * 60,
        )
    )


def month(run: dict[str, Any]) -> str:
    return str(run["data_interval_start"])[:7]


def task_states(stack: Any, run: dict[str, Any]) -> dict[str, str]:
    found = stack.api.task_instances(DAG, run["dag_run_id"])
    return {entry["task_id"]: entry["state"] for entry in found}


def test_every_month_is_there_and_the_rest_is_left_out(
    stack: Any, settings: Settings, runs: list[dict[str, Any]]
) -> None:
    assert Counter(run["state"] for run in runs) == {"success": 4}
    assert sorted(map(month, runs)) == [*MONTHS, "2013-04"]
    assert features.stale(settings)[VIEW] == []
    assert open_lake(settings).months(features.table(VIEW)) == MONTHS
    (april,) = [run for run in runs if month(run) == "2013-04"]
    assert set(task_states(stack, april).values()) == {"skipped"}
    choose = stack.api.task_instances(DAG, april["dag_run_id"])
    log = stack.api.log(next(entry for entry in choose if entry["task_id"] == "choose"))
    assert any("2013-04 has not landed; landed so far: 2013-01, 2013-02" in line for line in log)


def test_never_more_than_two_at_a_time(runs: list[dict[str, Any]]) -> None:
    """At each start of a run, the runs that had started and not ended: it and one other at most."""
    spans = [
        (datetime.fromisoformat(run["start_date"]), datetime.fromisoformat(run["end_date"]))
        for run in runs
    ]
    together = [sum(start <= moment < end for start, end in spans) for moment, _ in spans]
    assert max(together) == TOGETHER


def test_the_view_is_published_once_it_is_whole(
    stack: Any, settings: Settings, runs: list[dict[str, Any]]
) -> None:
    published = [task_states(stack, run)["publish"] for run in runs if month(run) != "2013-04"]
    assert 1 <= published.count("success") <= TOGETHER
    assert set(published) <= {"success", "skipped"}
    feast = store.open_store(settings)
    asked = [f"{VIEW}:dest_late_rate_24h", "origin_delays:origin_late_rate_24h"]
    served = feast.get_online_features(
        features=asked, entity_rows=[{"dest": "LAX", "origin": "JFK"}]
    ).to_dict()
    assert None not in (served["dest_late_rate_24h"][0], served["origin_late_rate_24h"][0])


def test_nothing_else_was_touched_and_no_training_started(
    stack: Any,
    settings: Settings,
    untouched: dict[str, tuple[str, int]],
    runs: list[dict[str, Any]],
) -> None:
    now = other_views(settings)
    assert {path: now[path] for path in untouched} == untouched
    for run in runs:
        assert stack.api.started_by(DAG, run["dag_run_id"]) == []


def test_what_the_schedule_starts_is_skipped_and_says_so(
    stack: Any, runs: list[dict[str, Any]]
) -> None:
    scheduled = wait(
        "the scheduled run ends",
        lambda: [
            run for run in stack.api.runs(DAG, run_type="scheduled") if run["state"] in FINISHED
        ],
    )
    (run,) = scheduled
    assert run["state"] == "success"
    (choose,) = [
        entry
        for entry in stack.api.task_instances(DAG, run["dag_run_id"])
        if entry["task_id"] == "choose"
    ]
    assert choose["state"] == "skipped"
    assert any("the schedule names no feature view" in line for line in stack.api.log(choose))


def test_a_second_backfill_of_the_same_months_computes_them_again(
    stack: Any, settings: Settings, runs: list[dict[str, Any]]
) -> None:
    """Airflow keeps one run a month, so a second view would be left out without `completed`."""
    before = {path: digest for path, (digest, _) in digests(Path(settings.lake)).items()}
    wait("Airflow closes the backfill", lambda: stack.api.backfills(DAG)[0]["completed_at"])
    again = stack.api.backfill(
        DAG,
        "2013-02-01T00:00:00Z",
        "2013-02-01T00:00:00Z",
        max_active_runs=TOGETHER,
        reprocess_behavior="completed",
        dag_run_conf={"view": "carrier_delays"},
    )
    assert again["dag_run_conf"] == {"view": "carrier_delays"}
    (run,) = [run for run in runs if month(run) == "2013-02"]
    ended = wait(
        "the month is computed again",
        lambda: (
            (now := stack.api.run(DAG, run["dag_run_id"]))["state"] in FINISHED
            and now["start_date"] > run["end_date"]
            and now
        ),
    )
    assert ended["state"] == "success"
    assert ended["conf"] == {"view": "carrier_delays"}
    path = Path(stack.api.xcom(DAG, run["dag_run_id"], "report"))
    assert "2013-02 of carrier_delays is built" in path.read_text("utf-8")
    after = digests(Path(settings.lake))
    # The manifest says when it was built; the facts are the same bytes.
    assert {p: digest for p, (digest, _) in after.items() if p.endswith(".parquet")} == {
        p: digest for p, digest in before.items() if p.endswith(".parquet")
    }
