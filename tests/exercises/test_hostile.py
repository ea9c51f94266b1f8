"""Files that hang, end Python, take all memory or are no DAG get a sentence, never a traceback."""

import time
from pathlib import Path

import psutil
import pytest

from course.grading.catalogue import Exercise, read
from course.grading.grader import Grader
from course.grading.report import Report

pytestmark = pytest.mark.proof

TOML = """
title = "Small"
minutes = 1
dags = ["small"]
seconds = 60
megabytes = 600
tasks = ["work succeeds", "work returns 1"]
"""

CHECKS = """
from course.grading import Failed, Lesson, task


@task(1)
def test_work_succeeds(lesson: Lesson) -> None:
    lesson.run().succeeded("work")


@task(2)
def test_work_returns_1(lesson: Lesson) -> None:
    got = lesson.run().returned("work")
    if got != 1:
        raise Failed(ran="the DAG", expected="1", happened=f"{got!r}")
"""

DAG = """
from airflow.sdk import dag, task
{top}

@dag(dag_id="small", schedule=None, catchup=False)
def small():
    # TODO 1: work
    @task
    def work():
        {body}

    work()


small()
"""


@pytest.fixture
def exercise(tmp_path: Path) -> Exercise:
    """One of two tasks, with tight limits."""
    folder = tmp_path / "ex90_small"
    folder.mkdir()
    (folder / "exercise.toml").write_text(TOML)
    (folder / "checks.py").write_text(CHECKS)
    return read(folder)


def check(grader: Grader, exercise: Exercise, text: str) -> Report:
    exercise.file.write_text(text)
    if "while True" in text:
        # This one is waited for to the end; the others have time, however busy the machine is.
        exercise = exercise.model_copy(update={"seconds": 20})
    return grader.check(exercise, exercise.file)


def dag(top: str = "", body: str = "return 1") -> str:
    return DAG.format(top=top, body=body)


def test_a_file_that_behaves_passes(grader: Grader, exercise: Exercise) -> None:
    assert check(grader, exercise, dag()).passed


def test_markers_may_be_removed(grader: Grader, exercise: Exercise) -> None:
    report = check(grader, exercise, dag(body="return 2").replace("# TODO 1: work", ""))
    assert [task.passed for task in report.tasks] == [True, False]
    assert report.tasks[1].finding
    assert report.tasks[1].finding.where == "small.py"


@pytest.mark.parametrize(
    ("text", "happened", "where"),
    [
        (dag(top="import pandaz"), "No module named 'pandaz'", "small.py:3"),
        (dag(top="value = 1 +"), "Python cannot read it: invalid syntax", "small.py:3"),
        (dag(top="import sys; sys.exit(3)"), "it ends Python", "small.py:3"),
        (dag(top="while True: pass"), "it was still being imported after", "small.py:3"),
        (dag(top="1 / 0"), "ZeroDivisionError: division by zero", "small.py:3"),
        ("", "no DAG at all", "small.py"),
        (dag().replace("\nsmall()", ""), "no DAG at all", "small.py"),
        (dag() + dag().replace('"small"', '"other"'), "`other` is one too many", "small.py"),
        (dag().replace('"small"', '"mine"'), "was `small` renamed to `mine`?", "small.py"),
        (dag(top="import os; os._exit(0)"), "the file ended Python itself", "small.py"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 60 else "",
)
def test_a_file_that_is_no_dag_is_explained(
    grader: Grader, exercise: Exercise, text: str, happened: str, where: str
) -> None:
    report = check(grader, exercise, text)
    assert report.broken == []
    assert report.problem
    assert happened in report.problem.happened
    assert report.problem.where == where
    assert not report.passed


@pytest.mark.parametrize(
    ("body", "happened"),
    [
        (
            "while True: pass",
            "it was still running after 20 s, and was stopped, at `while True: pass`",
        ),
        ("import os; os._exit(0)", "the file ended Python itself"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "Python was ended by SIGKILL"),
    ],
)
def test_a_task_that_never_comes_back_is_named(
    grader: Grader, exercise: Exercise, body: str, happened: str
) -> None:
    report = check(grader, exercise, dag(body=body))
    assert report.broken == []
    assert report.problem
    assert happened in report.problem.happened


@pytest.mark.parametrize(
    ("body", "happened"),
    [
        ("import sys; sys.exit(1)", "`work` raised SystemExit"),
        ("raise ValueError('no')", "`work` raised ValueError: no"),
        ("rows = [bytes(10**8) for _ in range(30)]", "`work` raised MemoryError"),
    ],
)
def test_a_task_that_fails_is_the_learners_finding(
    grader: Grader, exercise: Exercise, body: str, happened: str
) -> None:
    report = check(grader, exercise, dag(body=body))
    assert report.problem is None
    assert report.broken == []
    finding = report.tasks[0].finding
    assert finding
    assert happened in finding.happened
    assert finding.where == "small.py:10 (TODO 1), task work"


def test_memory_that_another_process_takes_counts_as_well(
    grader: Grader, exercise: Exercise
) -> None:
    hog = "import time; rows = b'x' * 900_000_000; time.sleep(60)"
    body = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hog!r}])"
    report = check(grader, exercise, dag(body=body))
    assert report.problem
    assert "it took more than 600 MB of memory" in report.problem.happened


def test_a_renamed_task_is_named(grader: Grader, exercise: Exercise) -> None:
    report = check(grader, exercise, dag().replace("work()", "labour()"))
    finding = report.tasks[0].finding
    assert finding
    assert finding.happened == "the DAG has no such task; it has `labour`"


def test_processes_that_a_file_starts_end_with_the_check(
    grader: Grader, exercise: Exercise, tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    body = (
        "import subprocess; p = subprocess.Popen(['sleep', '300']); "
        f"open({str(note)!r}, 'w').write(str(p.pid)); return 1"
    )
    assert check(grader, exercise, dag(body=body)).passed
    pid = int(note.read_text())
    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "it is still there"
        time.sleep(0.05)


def test_nothing_of_one_file_reaches_the_next(grader: Grader, exercise: Exercise) -> None:
    spoil = "import os, builtins; os.environ['SPOILT'] = '1'; builtins.spoilt = 1; os.chdir('/')"
    assert check(grader, exercise, dag(top=spoil)).passed
    look = "import os, builtins; return 1 - ('SPOILT' in os.environ or hasattr(builtins, 'spoilt'))"
    assert check(grader, exercise, dag(body=look)).passed


def test_a_check_that_crashes_is_ours(grader: Grader, exercise: Exercise) -> None:
    exercise.checks.write_text(CHECKS.replace("if got != 1:", "if got.missing:"))
    report = check(grader, exercise, dag())
    assert report.problem is None
    assert len(report.broken) == 1
    assert "AttributeError" in report.broken[0]
    assert report.tasks[0].passed
    assert not report.passed


def test_checks_that_cannot_be_read_are_ours(grader: Grader, exercise: Exercise) -> None:
    exercise.checks.write_text("import nothing_like_this")
    report = check(grader, exercise, dag())
    assert "nothing_like_this" in report.broken[0]
    assert not report.passed
