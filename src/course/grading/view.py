"""How a report looks on a terminal."""

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from course.grading.catalogue import Exercise, catalogue
from course.grading.progress import Progress
from course.grading.report import Finding, Report, TaskVerdict


def show(exercise: Exercise, report: Report) -> RenderableType:
    """The tasks with ✓ or ✗, and what is wrong with the first that is not done."""
    parts: list[RenderableType] = [Text(exercise.heading, style="bold")]
    first = None if report.problem else report.first
    for task in report.tasks:
        parts.append(_line(task, unknown=report.problem is not None and not task.checks))
        if first is task and task.finding:
            parts.append(
                _finding(task.finding, f"make hint EX={exercise.number} STEP={task.number}")
            )
        parts += [
            Text(f"     not run: {check.note}", style="dim")
            for check in task.checks
            if check.outcome == "skipped"
        ]
    if report.problem:
        parts += [Text(), Text("The file could not be checked to the end:", style="red bold")]
        parts.append(_finding(report.problem))
    for trace in report.broken:
        parts += [
            Text(),
            Text("A check of the course crashed. That is our mistake, not yours:", style="magenta"),
            Padding(Text(trace.strip(), style="dim"), (0, 0, 0, 2)),
        ]
    parts += [Text(), _summary(exercise, report)]
    return Group(*parts)


def _line(task: TaskVerdict, *, unknown: bool) -> Text:
    if unknown:
        return Text.assemble(("· ", "dim"), f"{task.number}  {task.title}")
    mark = ("✓ ", "green") if task.passed else ("✗ ", "red")
    return Text.assemble(mark, f"{task.number}  {task.title}")


def _finding(finding: Finding, hint: str = "") -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    rows = {
        "ran": finding.ran,
        "expected": finding.expected,
        "happened": finding.happened,
        "where": finding.where,
        "hint": hint,
    }
    for name, value in rows.items():
        if value:
            grid.add_row(name, Text(value))
    return Padding(grid, (0, 0, 1, 5))


def _summary(exercise: Exercise, report: Report) -> Text:
    total = len(report.tasks)
    if report.passed:
        return Text.assemble(
            (f"All {total} tasks are done", "bold green"),
            f" ({report.seconds:.1f} s). Compare with ours: make solution EX={exercise.number}",
        )
    text = f"{report.done} of {total} tasks are done ({report.seconds:.1f} s)."
    if report.problem or report.broken:
        text += f" What was printed: {report.log}"
    return Text(text)


def bar(progress: Progress) -> RenderableType:
    """One line over all exercises."""
    done = sum(progress.of(exercise.name).solved is not None for exercise in catalogue())
    grid = Table.grid(padding=(0, 1))
    grid.add_row(
        "Course",
        ProgressBar(total=len(catalogue()), completed=done, width=30),
        f"{done} of {len(catalogue())} solved",
    )
    return grid


def overview(progress: Progress) -> RenderableType:
    """A table of all exercises."""
    table = Table(box=None, pad_edge=False)
    for name in ("exercise", "tasks", "checks", "hints", "solved"):
        table.add_column(name, no_wrap=True)
    for exercise in catalogue():
        standing = progress.of(exercise.name)
        solved = f"{standing.solved:%d %b}" if standing.solved else ""
        table.add_row(
            Text.assemble(
                ("✓ " if solved else "  ", "green"), exercise.heading.removeprefix("Exercise ")
            ),
            f"{len(standing.passed)} of {len(exercise.tasks)}",
            str(standing.checks or ""),
            str(sum(standing.hints.values()) or ""),
            solved,
        )
    return table
