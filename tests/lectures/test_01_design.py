"""Lecture 1: what it says of dependencies, joins, clean-up, and of parsing a file."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from course.config import REPOSITORY

SNIPPETS = REPOSITORY / "lecture-notes" / "snippets"


def test_three_checks_fan_out_and_join(snippet: Any) -> None:
    run = snippet("l01_fan_out").run()
    assert run.state == "success"
    assert run.states["check__1"] == "success"
    assert run.one("publish").returned == 14 + 14 + 13


def test_a_check_that_fails_stops_the_join_and_not_the_other_checks(snippet: Any) -> None:
    run = snippet("l01_fan_out").run(fail={"check": 1})
    assert run.state == "failed"
    assert run.states == {
        "land": "success",
        "check": "failed",
        "check__1": "success",
        "check__2": "success",
        "publish": "upstream_failed",
    }


def test_one_success_does_not_wait_for_the_longer_side(snippet: Any) -> None:
    run = snippet("l01_early_join").run()
    assert run.state == "success"
    assert run.one("publish_early").returned == ["flights"]
    assert run.one("publish").returned == ["flights", "weather"]


def test_one_success_hides_that_the_other_side_failed(snippet: Any) -> None:
    run = snippet("l01_early_join").run(fail={"stations": 1})
    assert run.states["weather"] == run.states["publish"] == "upstream_failed"
    assert run.states["publish_early"] == "success"


OUTCOMES = {
    # What happens in the run, and the states of the joins by their rule.
    "deployed": {"auc": 0.76},
    "alerted": {"auc": 0.72},
}
JOINS = ("report", "report_all_success", "report_one_success", "report_all_done")


@pytest.mark.parametrize("conf", OUTCOMES.values(), ids=OUTCOMES)
def test_a_skipped_side_skips_all_success_and_not_the_rules_for_branches(
    snippet: Any, conf: dict[str, float]
) -> None:
    run = snippet("l01_branch_join").run(conf)
    assert sorted([run.states["deploy"], run.states["alert"]]) == ["skipped", "success"]
    assert [run.states[name] for name in JOINS] == ["success", "skipped", "success", "success"]


def test_a_failed_side_stops_the_report_and_only_all_done_goes_on(snippet: Any) -> None:
    run = snippet("l01_branch_join").run(fail={"deploy": 1})
    assert run.states["deploy"] == "failed"
    stopped = "upstream_failed"
    assert [run.states[name] for name in JOINS] == [stopped, "skipped", stopped, "success"]


def test_a_last_task_that_always_runs_makes_a_failed_run_green(snippet: Any) -> None:
    run = snippet("l01_clean_up").run(dag_id="l01_clean_up_always", fail={"train": 1})
    assert run.states == {"train": "failed", "clean_up": "success"}
    assert run.state == "success"


def test_a_teardown_runs_too_and_the_run_counts_as_failed(snippet: Any) -> None:
    run = snippet("l01_clean_up").run(dag_id="l01_clean_up_teardown", fail={"train": 1})
    assert run.states == {"train": "failed", "clean_up": "success"}
    assert run.state == "failed"


def test_a_teardown_that_fails_does_not_decide_about_the_run(snippet: Any) -> None:
    run = snippet("l01_clean_up").run(dag_id="l01_clean_up_teardown", fail={"clean_up": 1})
    assert run.states == {"train": "success", "clean_up": "failed"}
    assert run.state == "success"


def test_what_stands_outside_of_tasks_is_computed_at_each_parse(snippet: Any) -> None:
    def parsed() -> str:
        dag = snippet("l01_parse_time").dag()
        return dag.get_task("name_the_model").python_callable.__globals__["READ_AT"]

    assert parsed() != parsed()
    run = snippet("l01_parse_time").run()
    assert run.one("compare").returned is True


MOVING_START = """
from datetime import datetime
from airflow.sdk import dag, task

@dag(schedule=None, start_date=datetime.now())
def moving():
    @task
    def train(): ...
    train()

moving()
"""


def test_a_clock_in_the_arguments_of_a_dag_is_warned_of_and_makes_another_dag_each_time(
    parsing: Callable[[str], Any], tmp_path: Path
) -> None:
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.utils.dag_version_inflation_checker import check_dag_file_stability

    def digest() -> str:
        dag = parsing(MOVING_START).dags["moving"]
        return SerializedDagModel.hash(DagSerialization.to_dict(dag))

    assert digest() != digest()
    result = check_dag_file_stability(tmp_path / "dag_file.py")
    assert result.get_formatted_warnings(["moving"])
    assert not check_dag_file_stability(SNIPPETS / "l01_fan_out.py").get_formatted_warnings(["x"])


def test_a_cycle_is_refused(parsing: Callable[[str], Any]) -> None:
    bag = parsing(
        MOVING_START.replace("    train()\n", "    a, b = train(), train()\n    a >> b >> a\n")
    )
    assert "moving" not in bag.dags
    (error,) = bag.import_errors.values()
    assert "cycle" in error.lower()


ASKS_THE_DATABASE = """
from airflow.sdk.execution_time.supervisor import block_orm_access
block_orm_access()  # as each task's process does before it runs the task
from airflow.models import DagRun
from airflow.utils.session import create_session
with create_session() as session:
    session.query(DagRun).count()
"""


def test_a_task_cannot_reach_the_metadata_database() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ASKS_THE_DATABASE], capture_output=True, text=True, check=False
    )
    assert ended.returncode
    assert "Direct database access" in ended.stderr
