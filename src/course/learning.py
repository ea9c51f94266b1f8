"""The commands of a learner and of an instructor: check, watch, hint, solution, quiz, grade."""

from pathlib import Path
from typing import Annotated

import typer

from course.config import load_config
from course.console import console, picture, progress
from course.errors import CourseError

commands = typer.Typer()

Number = Annotated[str, typer.Argument(help="1 to 6, or capstone")]


@commands.command()
def check(
    exercise: Number,
    file: Annotated[
        Path | None, typer.Option(help="another file than the one in the exercise's folder")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print the report as JSON")] = False,
    svg: Annotated[
        Path | None, typer.Option(help="save what is shown as a picture, for a page or a slide")
    ] = None,
) -> None:
    """Run your DAG in a real Airflow and say which tasks of the exercise are done."""
    from course.grading import progress as keeping
    from course.grading.catalogue import find
    from course.grading.grader import Grader
    from course.grading.view import show

    config, found = load_config(), find(exercise)
    if json:
        with Grader(config.root / "grader") as grader:
            report = grader.check(found, file or found.file)
    else:
        with (
            console.status("Warming up Airflow") as status,
            Grader(config.root / "grader", say=status.update) as grader,
        ):
            report = grader.check(found, file or found.file, say=status.update)
    if file is None:
        standing = keeping.load(config)
        standing.note(report)
        keeping.save(config, standing)
    if json:
        typer.echo(report.model_dump_json(indent=2))
    else:
        console.print(show(found, report))
    if svg:
        picture(show(found, report), f"make check EX={found.number}", svg)
    raise typer.Exit(0 if report.passed else 1)


@commands.command()
def watch(
    exercise: Number,
    poll: Annotated[
        bool, typer.Option("--poll", help="look for changes, where no file events arrive")
    ] = False,
) -> None:
    """Check your file at each save; keys for hint, list, reset and quit."""
    from course.grading.catalogue import find
    from course.grading.watching import watch as start

    start(load_config(), find(exercise), poll=poll)


@commands.command()
def hint(
    exercise: Number,
    step: Annotated[int, typer.Argument(help="number of the task")],
    level: Annotated[int, typer.Option(help="1 to 3; the next one if left out")] = 0,
) -> None:
    """Show the next hint for a task, from general to specific."""
    from rich.markdown import Markdown

    from course.grading import hints
    from course.grading import progress as keeping
    from course.grading.catalogue import find
    from course.grading.hints import next_level

    config, found = load_config(), find(exercise)
    standing = keeping.load(config)
    text = hints.hint(found, step, level or 1)
    if not level:
        level = next_level(standing, found, step)
        text = hints.hint(found, step, level)
        keeping.save(config, standing)
    console.print(f"Task {step}, hint {level} of {hints.LEVELS}:", style="bold")
    console.print(Markdown(text))


@commands.command()
def reset(exercise: Number) -> None:
    """Put the starter back; your file is kept beside it."""
    from course.grading.catalogue import find
    from course.grading.workbook import reset as put_back

    found = find(exercise)
    kept = put_back(found)
    if kept:
        console.print(f"The starter is back. Your file is {kept}", soft_wrap=True)
    else:
        console.print(f"{found.file} is the starter.", soft_wrap=True)


@commands.command()
def solution(
    exercise: Number,
    anyway: Annotated[bool, typer.Option("--anyway", help="before yours passes")] = False,
) -> None:
    """Show in what your file and our solution differ."""
    from rich.syntax import Syntax

    from course.grading import progress as keeping
    from course.grading.catalogue import find
    from course.grading.workbook import difference

    found = find(exercise)
    if not anyway and keeping.load(load_config()).of(found.name).solved is None:
        raise CourseError(
            "The solution is for after your own: your file has not passed yet.",
            f"make check EX={found.number}; or, all the same: "
            f"make solution EX={found.number} ANYWAY=1",
        )
    lines = difference(found)
    if lines:
        console.print(Syntax("\n".join(lines), "diff", background_color="default"))
    else:
        console.print("Your file is the solution, word for word.")
    console.print(f"Why ours is as it is: {found.solutions / 'README.md'}", soft_wrap=True)


@commands.command(name="progress")
def show_progress() -> None:
    """Show how far you are in each exercise."""
    from course import quiz_view
    from course.grading import progress as keeping
    from course.grading.view import bar, overview

    standing = keeping.load(load_config())
    console.print(overview(standing))
    console.print(bar(standing))
    if taken := quiz_view.overview(standing):
        console.print(taken)


@commands.command()
def quiz(
    topic: Annotated[
        str, typer.Argument(help="design, scheduling, …, or all; asks you if left out")
    ] = "",
    count: Annotated[int | None, typer.Option(min=1, help="how many, drawn by chance")] = None,
) -> None:
    """Check what you know: questions, with an explanation of each answer."""
    from course.quiz_view import play

    play(load_config(), topic, count)


@commands.command()
def grade(
    folder: Annotated[Path, typer.Argument(help="a folder for each learner, or LEARNER.py files")],
    exercise: Annotated[str, typer.Argument(help="1 to 6, or capstone; all if left out")] = "",
    out: Annotated[
        Path | None, typer.Option(help="where grades.csv and grades.html go; DIR if left out")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="how many are graded at a time")] = 2,
) -> None:
    """Grade a folder of submissions into one table, as CSV and HTML."""
    from course.grading.catalogue import find
    from course.grading.classroom import grade as grade_all
    from course.grading.classroom import submissions, write_csv, write_html

    found = submissions(folder, find(exercise) if exercise else None)
    with progress(f"Grading {len(found)} submissions") as say:
        grades = grade_all(load_config().root / "grader", found, jobs, say)
    place = out or folder
    place.mkdir(parents=True, exist_ok=True)
    write_csv(grades, place / "grades.csv")
    write_html(grades, place / "grades.html")
    passed = sum(each.passed for each in grades)
    console.print(
        f"{passed} of {len(grades)} pass all tasks: {place / 'grades.html'}", soft_wrap=True
    )
