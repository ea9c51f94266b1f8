"""Each pitfall does its damage in a real Airflow, and the mended DAG does not."""

import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from course import pitfalls
from course.errors import CourseError

pytestmark = pytest.mark.proof

JANUARY = 27_004  # flights of January 2013
VARIANTS = ("damage", "mended")


@pytest.fixture(scope="module")
def dags() -> dict[str, Any]:
    """All DAGs that Airflow finds below the folder, by id."""
    from airflow.dag_processing.dagbag import DagBag

    with pytest.warns(UserWarning, match="SLA feature is removed"):
        bag = DagBag(str(pitfalls.FOLDER))
    assert bag.import_errors == {}
    return bag.dags


def test_each_pitfall_has_its_folder_with_the_same_four_files() -> None:
    folders = {path.name: path for path in pitfalls.FOLDER.iterdir() if path.is_dir()}
    folders.pop("__pycache__", None)
    assert set(folders) == set(pitfalls.names())
    for folder in folders.values():
        files = {path.name for path in folder.iterdir() if path.is_file()}
        assert files == {"README.md", "damage.py", "mended.py", "measure.py"}


def test_airflow_finds_these_dags_and_no_others(dags: dict[str, Any]) -> None:
    expected = {f"pitfall_{name}_{variant}" for name in pitfalls.names() for variant in VARIANTS}
    expected |= {f"pitfall_tight_coupling_{variant}_source" for variant in VARIANTS}
    assert set(dags) == expected


def test_loading_them_starts_nothing(dags: dict[str, Any]) -> None:
    scheduled = {dag_id for dag_id, dag in dags.items() if dag.timetable.can_be_scheduled}
    scheduled |= {dag_id for dag_id, dag in dags.items() if dag.timetable.asset_condition}
    assert {dag_id for dag_id in scheduled if not dags[dag_id].is_paused_upon_creation} == set()
    # Where the schedule is not the point there is none.
    for dag_id in set(dags) - scheduled:
        assert dags[dag_id].schedule is None
    assert {dag_id.removeprefix("pitfall_").rsplit("_", 1)[0] for dag_id in scheduled} == {
        "ignoring_catchup",
        "tight_coupling",
        "tight_coupling_damage",
    }


def test_they_say_what_they_are(dags: dict[str, Any]) -> None:
    for dag_id, dag in dags.items():
        assert "@" in dag.owner, dag_id
        assert dag.tags == {"pitfall"}, dag_id
        for heading in ("**What runs.**", "**How to start it.**", "**When it fails.**"):
            assert heading in dag.doc_md, f"{dag_id}: doc_md has no paragraph {heading}"
        for task in dag.tasks:
            assert task.doc or task.python_callable.__doc__, f"{dag_id}.{task.task_id}"


def test_large_data_fill_the_database_and_a_path_does_not(figures: Any) -> None:
    damage, mended = (figures["large_xcom"][variant] for variant in VARIANTS)
    assert damage["state of the run"] == mended["state of the run"] == "success"
    assert damage["share of late flights"] == mended["share of late flights"] == 0.2273
    assert damage["bytes of XCom in the database"] > 10_000_000
    assert 20 < mended["bytes of XCom in the database"] < 500


def test_appending_doubles_rows_and_replacing_does_not(figures: Any) -> None:
    assert list(figures["not_idempotent"]["damage"].values()) == [
        JANUARY,
        2 * JANUARY,
        JANUARY + JANUARY // 2,
    ]
    assert list(figures["not_idempotent"]["mended"].values()) == [JANUARY] * 3


def test_a_private_file_goes_stale_and_an_asset_does_not(figures: Any) -> None:
    assert figures["tight_coupling"] == {
        "damage": {
            "runs of the consumer started by the data": 0,
            "month reported when February's file has moved": "2013-01",
            "source after a key is renamed": "success",
            "consumer after a key is renamed": "failed",
        },
        "mended": {
            "runs of the consumer started by the data": 1,
            "month reported when February's file has moved": "2013-02",
            "source after a key is renamed": "failed",
            "consumer after a key is renamed": "success",
        },
    }


def test_an_sla_is_silent_and_a_deadline_alerts(figures: Any) -> None:
    found = figures["missing_deadline"]
    assert list(found["damage"].values()) == [1, 0, 0]
    assert list(found["mended"].values()) == [1, 1, 1]


def test_retries_alert_and_teardown(figures: Any) -> None:
    assert figures["no_failure_handling"] == {
        "damage": {
            "run with a service that fails once": "failed",
            "run with a service that is down": "failed",
            "tries": 1,
            "alerts": 0,
            "working files left behind": 1,
        },
        "mended": {
            "run with a service that fails once": "success",
            "run with a service that is down": "failed",
            "tries": 3,
            "alerts": 1,
            "working files left behind": 0,
        },
    }


def test_catching_up_owes_a_run_a_day_and_works_on_sixteen(figures: Any) -> None:
    damage, mended = (figures["ignoring_catchup"][variant] for variant in VARIANTS)
    days = (date.today() - date(2013, 1, 1)).days
    assert days - 1 <= damage["runs due on unpausing"] <= days + 1
    assert damage["the first of them"] == "2013-01-01"
    assert damage["runs at work at once"] == 16
    assert mended["runs due on unpausing"] == mended["runs at work at once"] == 1
    assert date.fromisoformat(mended["the first of them"]) >= date.today() - timedelta(days=2)


def test_what_processes_share_loses_updates_and_what_they_return_does_not(figures: Any) -> None:
    damage, mended = (figures["shared_mutable_state"][variant] for variant in VARIANTS)
    assert damage["state of the run"] == mended["state of the run"] == "success"
    assert damage["months counted"] == mended["months counted"] == 4
    assert damage["months in the module's list"] == 0
    assert damage["months in the total"] < 4
    assert mended["months in the total"] == 4
    assert mended["late flights in the total"] == 25_493
    assert damage["late flights in the total"] < 25_493


def test_nothing_of_the_persons_own_is_touched(figures: Any, persons_own: Path) -> None:
    assert figures
    assert list(persons_own.rglob("*")) == []


def test_show_prints_both_and_where_to_read_on(capsys: pytest.CaptureFixture[str]) -> None:
    pitfalls.show("ignoring_catchup")
    said = capsys.readouterr().out
    assert "ignoring_catchup, mended: " in said
    row = next(line for line in said.splitlines() if "runs at work at once" in line)
    assert [cell.strip() for cell in row.split("│")[2:4]] == ["16", "1"]
    assert "labs/pitfalls/ignoring_catchup/README.md" in said


def test_an_unknown_pitfall_is_named_with_those_there_are() -> None:
    with pytest.raises(CourseError, match=r"no pitfall 'large_xcon'.*\n.*large_xcom, not_idemp"):
        pitfalls.show("large_xcon")


def test_a_dag_that_does_not_import_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pitfalls"
    shutil.copytree(pitfalls.FOLDER, folder)
    (folder / "large_xcom" / "mended.py").write_text("from airflow.sdk import dag, nonsense\n")
    monkeypatch.setattr(pitfalls, "FOLDER", folder)
    with pytest.raises(CourseError, match=r"large_xcom/mended\.py does not import: .*nonsense"):
        pitfalls.measure(["ignoring_catchup"], print)


def test_both_are_measured_by_the_same_yardstick(figures: Any) -> None:
    assert list(figures) == pitfalls.names()
    for name in pitfalls.names():
        assert list(figures[name]["damage"]) == list(figures[name]["mended"])
