"""What every exercise must bring, apart from what running it proves."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from course.config import REPOSITORY
from course.errors import CourseError
from course.grading import hints
from course.grading.catalogue import Exercise, catalogue, find, read

NAMES = [
    "ex01_first_training_dag",
    "ex02_dynamic_task_mapping",
    "ex03_event_driven_training",
    "ex04_gpu_pod",
    "ex05_feature_store",
    "ex06_monitoring",
    "capstone",
]
SECTIONS = ("Scenario", "Tasks", "Check", "What you will see", "Further reading")
each = pytest.mark.parametrize("exercise", catalogue(), ids=lambda exercise: exercise.name)


def test_there_are_six_and_a_capstone() -> None:
    assert [exercise.name for exercise in catalogue()] == NAMES


@pytest.mark.parametrize("typed", ["2", "02", "ex02", "EX02", "ex02_dynamic_task_mapping"])
def test_an_exercise_is_found_however_it_is_typed(typed: str) -> None:
    assert find(typed).name == "ex02_dynamic_task_mapping"


def test_the_capstone_is_found_by_its_name() -> None:
    assert find("capstone").number == "capstone"


def test_an_unknown_exercise_is_named() -> None:
    with pytest.raises(CourseError, match="no exercise '9'; there are: 1, 2, 3, 4, 5, 6, capstone"):
        find("9")


def test_a_wrong_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "exercise.toml").write_text('title = "x"\nminutes = 0\ndags = ["x"]\ntasks = ["x"]')
    with pytest.raises(CourseError, match=r"exercise\.toml: minutes: "):
        read(tmp_path)


@each
def test_there_are_three_hints_for_each_task(exercise: Exercise) -> None:
    found = hints.read(exercise)
    assert len(found) == len(exercise.tasks)
    for levels in found.values():
        assert len(set(levels)) == hints.LEVELS
        # The first says where to look, not what to write.
        assert "```" not in levels[0]


@each
def test_the_page_has_its_sections_and_tasks(exercise: Exercise) -> None:
    text = (exercise.folder / "README.md").read_text(encoding="utf-8")
    for section in SECTIONS:
        assert f"\n## {section}\n" in text, section
    heading = text.splitlines()[0]
    assert heading == f"# {exercise.heading}"
    tasks = text.split("\n## Tasks\n")[1].split("\n## ")[0]
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", tasks, re.M)]
    assert numbers == list(range(1, len(exercise.tasks) + 1))
    assert f"{exercise.minutes} minutes" in text
    assert f"make check EX={exercise.number}" in text


@each
def test_the_starter_has_a_marker_for_each_task(exercise: Exercise) -> None:
    markers = re.findall(r"TODO (\d+)", exercise.starter.read_text(encoding="utf-8"))
    assert sorted(set(map(int, markers))) == list(range(1, len(exercise.tasks) + 1))


@each
def test_there_are_right_and_wrong_variants(exercise: Exercise) -> None:
    assert exercise.solution.is_file()
    assert (exercise.solutions / "README.md").is_file()
    assert len(list((exercise.solutions / "also").glob("*.py"))) >= 2
    assert len(list((exercise.solutions / "wrong").glob("*.py"))) >= 4


@pytest.mark.skipif("CI" not in os.environ, reason="a learner's own file may be committed")
@each
def test_the_file_in_the_folder_is_the_starter(exercise: Exercise) -> None:
    name = exercise.file.relative_to(REPOSITORY)
    committed = subprocess.run(
        ["git", "show", f"HEAD:{name}"], cwd=REPOSITORY, capture_output=True, check=True
    )
    assert committed.stdout == exercise.starter.read_bytes()
