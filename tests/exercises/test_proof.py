"""The proof of every exercise, three ways: starter, right variants, wrong variants."""

import re
from pathlib import Path

import pytest

from course.grading.catalogue import Exercise, catalogue
from course.grading.grader import Grader

pytestmark = pytest.mark.proof
CAUGHT = re.compile(r"^Caught by: task (\d+), (test_\w+)$", re.M)


def variants(folder: str) -> list[object]:
    return [
        pytest.param(exercise, path, id=f"{exercise.name}-{path.stem}")
        for exercise in catalogue()
        for path in sorted((exercise.solutions / folder).glob("*.py"))
    ]


each_exercise = pytest.mark.parametrize("exercise", catalogue(), ids=lambda each: each.name)


@each_exercise
def test_the_starter_fails_every_task_for_its_own_reason(
    grader: Grader, exercise: Exercise
) -> None:
    report = grader.check(exercise, exercise.starter)
    assert report.problem is None
    assert report.broken == []
    assert [task.number for task in report.tasks if task.passed] == []
    findings = [task.finding for task in report.tasks]
    assert None not in findings
    reasons = {(f.expected, f.happened) for f in findings if f}
    assert len(reasons) == len(report.tasks)


@each_exercise
def test_the_solution_passes(grader: Grader, exercise: Exercise) -> None:
    _passes(grader, exercise, exercise.solution)


@pytest.mark.parametrize(("exercise", "path"), variants("also"))
def test_another_right_one_passes(grader: Grader, exercise: Exercise, path: Path) -> None:
    _passes(grader, exercise, path)


def _passes(grader: Grader, exercise: Exercise, path: Path) -> None:
    report = grader.check(exercise, path)
    assert report.problem is None
    assert report.broken == []
    assert {task.number: task.finding for task in report.tasks if not task.passed} == {}
    assert report.passed


@pytest.mark.parametrize(("exercise", "path"), variants("wrong"))
def test_a_wrong_one_fails_where_it_is_wrong(
    grader: Grader, exercise: Exercise, path: Path
) -> None:
    caught = CAUGHT.search(path.read_text(encoding="utf-8"))
    assert caught, f"{path} does not say which check finds it"
    report = grader.check(exercise, path)
    assert report.problem is None
    assert report.broken == []
    first = report.first
    assert first is not None, f"{path.name} passes"
    failed = [check.name for check in first.checks if check.outcome == "failed"]
    # The first task that is open is the one whose hint a learner is sent to.
    assert (first.number, failed[0]) == (int(caught[1]), caught[2]), first.finding
