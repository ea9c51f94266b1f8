"""Lecture 6: what it says of gates, branches, clean-ups and of facts from the future."""

import re
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("auc", [0.756, 0.719])
def test_one_outcome_is_skipped_and_the_report_is_written(snippet: Any, auc: float) -> None:
    run = snippet("l06_branch").run({"auc": auc})
    taken, other = ("deploy", "alert") if auc >= 0.74 else ("alert", "deploy")
    assert run.state == "success"
    assert run.states[taken] == "success"
    assert run.states[other] == "skipped"
    assert run.one("report").returned == "written"


def test_the_stock_trigger_rule_skips_what_joins_a_branch(snippet: Any) -> None:
    assert snippet("l06_branch").run({"auc": 0.756}).states["impatient_report"] == "skipped"


def test_after_a_failure_there_is_no_report(snippet: Any) -> None:
    run = snippet("l06_branch").run({"auc": 0.756}, fail={"deploy": 1})
    assert run.state == "failed"
    assert run.states["report"] == "upstream_failed"


def test_a_plain_task_does_not_clean_up_after_a_failure(snippet: Any) -> None:
    run = snippet("l06_clean_up").run(dag_id="l06_clean_up_plain")
    assert run.states["clean_up"] == "upstream_failed"
    assert run.state == "failed"


def test_a_teardown_runs_and_the_run_has_failed(snippet: Any) -> None:
    run = snippet("l06_clean_up").run(dag_id="l06_clean_up_teardown")
    assert run.states == {"prepare": "success", "train": "failed", "clean_up": "success"}
    assert run.state == "failed"


def test_a_last_task_that_always_runs_turns_the_failed_run_green(snippet: Any) -> None:
    run = snippet("l06_clean_up").run(dag_id="l06_clean_up_all_done")
    assert run.states == {"prepare": "success", "train": "failed", "clean_up": "success"}
    assert run.state == "success"


def test_a_teardown_that_fails_does_not_fail_the_run(snippet: Any) -> None:
    lesson = snippet("l06_clean_up")
    run = lesson.run({"broken": False}, dag_id="l06_clean_up_teardown", fail={"clean_up": 9})
    assert run.states["clean_up"] == "failed"
    assert run.state == "success"


def test_every_step_of_the_lecture_is_a_task_of_the_pipeline(parsing: Any) -> None:
    page = (REPOSITORY / "lecture-notes/06-production-training.md").read_text("utf-8")
    diagram = page.split("```mermaid")[1].split("```")[0]
    drawn = set(re.findall(r"[a-z]+(?:_[a-z]+)*", diagram)) - {"flowchart", "if", "passed", "not"}
    text = (REPOSITORY / "dags/train_delay_model.py").read_text("utf-8")
    (dag,) = parsing(text).dags.values()
    assert set(dag.task_ids) <= drawn


def test_the_pipeline_ends_with_a_teardown_and_tries_the_quality_gate_once(parsing: Any) -> None:
    text = (REPOSITORY / "dags/train_delay_model.py").read_text("utf-8")
    (dag,) = parsing(text).dags.values()
    assert [each.task_id for each in dag.tasks if each.is_teardown] == ["clean_up"]
    assert {each.task_id for each in dag.tasks if each.retries == 0} == {"quality_gate"}
    assert dag.max_active_runs == 1
