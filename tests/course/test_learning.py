"""The learner's and the instructor's commands, apart from the grading itself."""

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from course.cli import app
from course.config import Config
from course.errors import CourseError
from course.grading import classroom, hints, progress, watching, workbook
from course.grading.catalogue import Exercise, catalogue, find
from course.grading.report import CheckResult, Finding, Report, TaskVerdict


@pytest.fixture
def exercise(tmp_path: Path) -> Exercise:
    """Exercise 1, with a folder of its own for the learner's file."""
    own = tmp_path / "exercises" / "ex01_first_training_dag"
    own.mkdir(parents=True)
    for name in ("exercise.toml", "hints.md"):
        (own / name).write_bytes((find("1").folder / name).read_bytes())
    copy = find("1").model_copy(update={"folder": own})
    copy.file.write_bytes(copy.starter.read_bytes())
    return copy


def report(*, passed: bool, name: str = "ex01_first_training_dag") -> Report:
    finding = None if passed else Finding(ran="it", expected="1", happened="2", where="f.py:3")
    outcome = "passed" if passed else "failed"
    check = CheckResult(task=1, name="test_x", outcome=outcome, seconds=0, finding=finding)
    task = TaskVerdict(number=1, title="fetch", checks=[check])
    return Report(exercise=name, file="f.py", tasks=[task])


def test_progress_is_kept(config: Config) -> None:
    standing = progress.load(config)
    standing.note(report(passed=False))
    standing.note(report(passed=True))
    progress.save(config, standing)
    again = progress.load(config).of("ex01_first_training_dag")
    assert (again.passed, again.checks) == ([1], 2)
    assert again.solved


def test_what_was_solved_stays_solved(config: Config) -> None:
    standing = progress.Progress()
    standing.note(report(passed=True))
    solved = standing.of("ex01_first_training_dag").solved
    standing.note(report(passed=False))
    assert standing.of("ex01_first_training_dag").solved == solved
    assert standing.of("ex01_first_training_dag").passed == []


def test_damaged_progress_is_named(config: Config) -> None:
    config.root.mkdir(parents=True, exist_ok=True)
    progress.place(config).write_text('{"exercises": {"x": {"checks": "many"}}}')
    with pytest.raises(CourseError, match=r"progress\.json cannot be read: exercises\.x\.checks"):
        progress.load(config)


def test_a_reset_keeps_the_learners_file(exercise: Exercise) -> None:
    assert workbook.reset(exercise) is None
    for content in ("mine", "mine again"):
        exercise.file.write_text(content)
        kept = workbook.reset(exercise)
        assert kept
        assert kept.read_text() == content
        assert exercise.file.read_bytes() == exercise.starter.read_bytes()
    # Airflow must not take what is kept for a DAG file.
    assert list(exercise.folder.glob("*.py")) == [exercise.file]


def test_the_difference_to_the_solution(exercise: Exercise) -> None:
    assert any(
        line.startswith("+") and "trigger_rule" in line for line in workbook.difference(exercise)
    )
    exercise.file.write_bytes(exercise.solution.read_bytes())
    assert workbook.difference(exercise) == []


def test_hints_go_from_one_level_to_the_next(exercise: Exercise) -> None:
    standing = progress.Progress()
    levels = [hints.next_level(standing, exercise, 3) for _ in range(4)]
    assert levels == [1, 2, 3, 3]
    assert len({hints.hint(exercise, 3, level) for level in levels}) == 3


@pytest.mark.parametrize("missing", ["### Hint 2\n", "## Task 2\n"])
def test_a_missing_hint_is_named(exercise: Exercise, missing: str) -> None:
    text = exercise.hints.read_text()
    exercise.hints.write_text(text.replace(missing, "", 1))
    with pytest.raises(CourseError, match=r"hints\.md: .*needs hints 1 to 3|must be hints for"):
        hints.read(exercise)


def test_a_hint_for_no_task_is_refused(exercise: Exercise) -> None:
    with pytest.raises(CourseError, match="has the tasks 1 to 7, not 9"):
        hints.hint(exercise, 9, 1)


def test_the_solution_is_for_afterwards(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_HOME", str(config.root))
    refused = CliRunner().invoke(app, ["solution", "1"])
    assert refused.exit_code == 1
    shown = CliRunner().invoke(app, ["solution", "1", "--anyway"])
    assert shown.exit_code == 0
    assert "+++ solution" in shown.output


def test_submissions_are_found_in_folders_and_as_files(tmp_path: Path) -> None:
    (tmp_path / "ada" / "week1").mkdir(parents=True)
    (tmp_path / "ada" / "week1" / "first_training_dag.py").write_text("")
    (tmp_path / "grace.py").write_text("")
    one = find("1")
    assert [each.learner for each in classroom.submissions(tmp_path, one)] == ["ada", "grace"]
    assert [each.learner for each in classroom.submissions(tmp_path, None)] == ["ada"]


def test_two_files_of_one_learner_are_named(tmp_path: Path) -> None:
    for week in ("a", "b"):
        (tmp_path / "ada" / week).mkdir(parents=True)
        (tmp_path / "ada" / week / "first_training_dag.py").write_text("")
    with pytest.raises(CourseError, match=r"holds first_training_dag\.py 2 times"):
        classroom.submissions(tmp_path, None)


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="There is no submission in"):
        classroom.submissions(tmp_path, None)
    with pytest.raises(CourseError, match="is not a folder"):
        classroom.submissions(tmp_path / "none", None)


def test_the_table_of_grades_is_harmless(tmp_path: Path) -> None:
    grades = [
        classroom.Grade(
            learner="=cmd()",
            exercise="ex01_first_training_dag",
            file="f.py",
            done=1,
            tasks=7,
            passed=False,
            first="2 <script>alert(1)</script>",
            problem="",
            seconds=3.2,
        )
    ]
    classroom.write_csv(grades, tmp_path / "grades.csv")
    classroom.write_html(grades, tmp_path / "grades.html")
    with (tmp_path / "grades.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["learner"] == "'=cmd()"
    page = (tmp_path / "grades.html").read_text()
    assert "<script>" not in page
    assert "1 of 7" in page


def test_progress_shows_every_exercise(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_HOME", str(config.root))
    shown = CliRunner().invoke(app, ["progress"], env={"COLUMNS": "120"})
    assert shown.exit_code == 0
    for each in catalogue():
        assert each.title.split()[0] in shown.output


def test_a_network_drive_is_looked_at_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    part = psutil.disk_partitions(all=True)[0]
    remote = part._replace(mountpoint="/mnt/share", fstype="nfs4")
    local = part._replace(mountpoint="/", fstype="ext4")
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: [local, remote])
    assert watching.needs_polling(Path("/mnt/share/course/exercises"))
    assert not watching.needs_polling(Path("/home/ada/course/exercises"))
