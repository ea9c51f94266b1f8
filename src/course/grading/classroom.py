"""An instructor's view: a folder of submissions, graded side by side into one table."""

import csv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape
from pydantic import BaseModel

from course.errors import CourseError
from course.grading.catalogue import Exercise, catalogue
from course.grading.grader import Grader, Say
from course.grading.report import Report

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"


class Submission(BaseModel):
    """One file that a learner handed in."""

    learner: str
    exercise: Exercise
    file: Path


class Grade(BaseModel):
    """What a submission reached."""

    learner: str
    exercise: str
    file: str
    done: int
    tasks: int
    passed: bool
    first: str
    """The first task that is not done, and why."""
    problem: str
    """Why the file could not be checked to the end, if it could not."""
    seconds: float


def submissions(folder: Path, exercise: Exercise | None) -> list[Submission]:
    """What was handed in: ``LEARNER/**/file.py``, or ``LEARNER.py`` when the exercise is named."""
    if not folder.is_dir():
        raise CourseError(f"{folder} is not a folder.", "make grade DIR=submissions EX=2")
    found = list(_in_folders(folder, exercise))
    if exercise:
        found += [
            Submission(learner=path.stem, exercise=exercise, file=path)
            for path in folder.glob("*.py")
        ]
    if not found:
        wanted = [exercise] if exercise else list(catalogue())
        names = ", ".join(each.file_name for each in wanted)
        raise CourseError(
            f"There is no submission in {folder}.",
            f"a folder for each learner with {names} in it; or LEARNER.py and the exercise: "
            f"make grade DIR={folder} EX=2",
        )
    return sorted(found, key=lambda each: (each.learner, each.exercise.name))


def _in_folders(folder: Path, exercise: Exercise | None) -> Iterator[Submission]:
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        for each in [exercise] if exercise else catalogue():
            files = sorted(place.rglob(each.file_name))
            if len(files) > 1:
                raise CourseError(
                    f"{place} holds {each.file_name} {len(files)} times: {files[0]}, {files[1]}",
                    "leave only the one to be graded",
                )
            if files:
                yield Submission(learner=place.name, exercise=each, file=files[0])


def grade(home: Path, found: list[Submission], jobs: int, say: Say) -> list[Grade]:
    """Grade all, ``jobs`` at a time, each in a process of its own with the usual limits."""
    modules = {name for each in found for name in each.exercise.warm}
    with Grader(home, sorted(modules), say) as grader, ThreadPoolExecutor(jobs) as pool:

        def one(each: Submission) -> Grade:
            result = _grade(each, grader.check(each.exercise, each.file))
            say(f"{result.learner}, {each.exercise.heading}: {result.done} of {result.tasks}")
            return result

        return list(pool.map(one, found))


def _grade(submission: Submission, report: Report) -> Grade:
    first = report.first
    finding = first.finding if first else None
    return Grade(
        learner=submission.learner,
        exercise=submission.exercise.name,
        file=str(submission.file),
        done=report.done,
        tasks=len(report.tasks),
        passed=report.passed,
        first=f"{first.number} {first.title}: {finding.happened}" if first and finding else "",
        problem=report.problem.happened if report.problem else "\n".join(report.broken),
        seconds=report.seconds,
    )


def write_csv(grades: list[Grade], path: Path) -> None:
    """One line for each submission. What a spreadsheet would run as a formula is made text."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(Grade.model_fields))
        writer.writeheader()
        for each in grades:
            row = each.model_dump()
            writer.writerow({name: _text(value) for name, value in row.items()})


def _text(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(tuple("=+-@")) else value


def write_html(grades: list[Grade], path: Path) -> None:
    """The same as a page."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=select_autoescape(["html.j2"])
    )
    page = environment.get_template("grades.html.j2").render(grades=grades)
    path.write_text(page, encoding="utf-8")
