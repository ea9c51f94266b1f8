"""Lecture 9: what it says of shared studies, of linting, of bundles, of pools and of the lock."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]

OLD_STYLE = """
from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, task

# [START old_style]
with DAG("old_style", schedule=None, default_args={"sla": timedelta(hours=1)}):  # found: nothing

    @task(sla=timedelta(hours=1))  # found: nothing
    def train():
        pass

    BashOperator(task_id="report", bash_command="true", sla=timedelta(hours=1))  # AIR311
    train()
# [END old_style]
"""


def air(text: str, folder: Path) -> dict[int, str]:
    """The findings of ruff's rules for Airflow: line and code."""
    path = folder / "dag_file.py"
    path.write_text(text, "utf-8")
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("ruff"), "check", "--isolated", "--select", "AIR"),
            *("--output-format", "concise", path),
        ],
        capture_output=True,
        text=True,
    )
    found = re.findall(r"^.*dag_file\.py:(\d+):\d+: (AIR\d+)", done.stdout, re.M)
    return {int(line): code for line, code in found}


# --- Searching -----------------------------------------------------------------------------


def test_workers_of_one_study_know_what_the_others_tried(snippet: Any) -> None:
    run = snippet("l09_shared_study").run()
    assert run.state == "success"
    assert sorted(each.returned for each in run.of("search")) == [0, 4, 8]
    best = run.one("best").returned
    assert best["workers"] == 3
    assert best["trials"] == 12
    assert best["worst"] < best["score"] <= 1


# --- Linting -------------------------------------------------------------------------------


def test_ruff_finds_the_sla_of_an_operator_and_misses_two_others(tmp_path: Path) -> None:
    lines = OLD_STYLE.splitlines()
    (found,) = air(OLD_STYLE, tmp_path).items()
    assert found[1] == "AIR311"
    assert "BashOperator(" in lines[found[0] - 1]
    missed = [line for line in lines if "sla=" in line or '"sla"' in line]
    assert len(missed) == 3


def test_ruff_finds_an_argument_that_is_gone(tmp_path: Path) -> None:
    text = 'from airflow.sdk import DAG\n\nDAG("old", schedule_interval="@daily")\n'
    assert air(text, tmp_path) == {3: "AIR301"}


@pytest.mark.filterwarnings("ignore")
def test_airflow_takes_all_three_and_makes_no_deadline_of_them(
    parsing: Callable[[str], Any],
) -> None:
    bag = parsing(OLD_STYLE)
    assert bag.import_errors == {}
    assert not bag.dags["old_style"].deadline


# --- Continuous integration ------------------------------------------------------------------


def test_the_workflow_runs_what_a_person_runs() -> None:
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/ci.yml").read_text("utf-8"))
    steps = {
        name: [step["run"] for step in job["steps"] if "run" in step]
        for name, job in workflow["jobs"].items()
    }
    assert "make lint" in steps["lint"]
    assert "make test" in steps["test"]
    assert "make demo" in steps["demo"]
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    # YAML reads `on` as true.
    assert {"push", "pull_request", "schedule"} <= set(workflow[True])


def test_every_line_of_the_lock_has_a_version_and_a_hash() -> None:
    entries = re.split(r"\n(?=\S)", (REPOSITORY / "requirements.txt").read_text("utf-8"))
    entries = [entry for entry in entries if not entry.startswith("#")]
    assert len(entries) > 100
    for entry in entries:
        assert re.match(r"[\w.\[\],-]+==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry


# --- Bundles -------------------------------------------------------------------------------


def test_a_folder_is_a_bundle_without_versions() -> None:
    from airflow.dag_processing.bundles.base import BaseDagBundle
    from airflow.dag_processing.bundles.local import LocalDagBundle

    assert LocalDagBundle.supports_versioning is False
    assert LocalDagBundle(name="x", path="/nowhere").get_current_version() is None
    assert "version" in BaseDagBundle.__init__.__kwdefaults__


def test_what_is_run_again_runs_as_it_was_unless_asked_otherwise() -> None:
    from airflow.configuration import conf
    from airflow.sdk import DAG

    # Neither True nor False: then a cleared task gets the old version, a backfill the new one.
    assert conf.get("core", "rerun_with_latest_version", fallback="unset") in ("unset", None)
    assert DAG("x", schedule=None).rerun_with_latest_version is None
    assert DAG("x", schedule=None, disable_bundle_versioning=True).disable_bundle_versioning


# --- Cost ----------------------------------------------------------------------------------


def test_a_deferred_task_leaves_its_place_in_the_pool() -> None:
    from airflow.models.pool import Pool
    from airflow.utils.state import TaskInstanceState

    usual = Pool(pool="training", slots=2, include_deferred=False)
    strict = Pool(pool="quota", slots=2, include_deferred=True)
    assert TaskInstanceState.DEFERRED not in usual.get_occupied_states()
    assert TaskInstanceState.DEFERRED in strict.get_occupied_states()
    assert TaskInstanceState.RUNNING in usual.get_occupied_states()
