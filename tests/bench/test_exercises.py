"""How long a learner waits for a verdict: cold, at a save in watch mode, and a class of thirty."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from course.config import BIN, load_config
from course.grading.catalogue import Exercise, catalogue, find
from course.grading.classroom import grade, submissions
from course.grading.grader import Grader

COLD_ROUNDS = 3
WARM_ROUNDS = 5
CLASS = 30
each = pytest.mark.parametrize("exercise", catalogue(), ids=lambda exercise: exercise.name)


@pytest.fixture(scope="module", autouse=True)
def _prepared() -> None:
    """What is made once for all checks is there: only a learner's very first check makes it."""
    with Grader(load_config().root / "grader") as grader:
        for exercise in catalogue():
            assert grader.check(exercise, exercise.solution).passed


@each
def test_a_check_from_cold(figure: Any, exercise: Exercise) -> None:
    """`course check`, from the command to its verdict, on the solution: every run is made."""
    times = []
    for _ in range(COLD_ROUNDS):
        begin = time.perf_counter()
        subprocess.run(
            [str(BIN / "course"), "check", exercise.number, "--file", str(exercise.solution)],
            check=True,
            capture_output=True,
        )
        times.append(time.perf_counter() - begin)
    target = "40" if exercise.number == "3" else "20"
    figure(f"check_cold_{exercise.number}", times, "s", target)


@pytest.fixture(scope="module")
def warm(exercise: Exercise) -> Iterator[Grader]:
    """As `course watch` has it: warm for this exercise."""
    with Grader(load_config().root / "grader", exercise.warm) as running:
        running.wait()
        yield running


@pytest.mark.parametrize(
    "exercise", catalogue(), ids=lambda exercise: exercise.name, scope="module"
)
def test_a_verdict_at_a_save(figure: Any, exercise: Exercise, warm: Grader) -> None:
    times = []
    for _ in range(WARM_ROUNDS):
        report = warm.check(exercise, exercise.solution)
        assert report.passed
        times.append(report.seconds)
    figure(f"check_warm_{exercise.number}", times, "s", "3 + the models")


def test_a_class_of_thirty(figure: Any, tmp_path: Path) -> None:
    exercise = find("2")
    variants = [
        exercise.solution,
        *sorted((exercise.solutions / "also").glob("*.py")),
        *sorted((exercise.solutions / "wrong").glob("*.py")),
    ]
    for number in range(CLASS):
        shutil.copy(variants[number % len(variants)], tmp_path / f"learner{number:02}.py")
    begin = time.perf_counter()
    grades = grade(
        load_config().root / "grader", submissions(tmp_path, exercise), jobs=2, say=lambda _: None
    )
    figure("grade_thirty", time.perf_counter() - begin, "s", "300")
    assert len(grades) == CLASS
    assert 0 < sum(each.passed for each in grades) < CLASS
