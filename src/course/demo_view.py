"""What a person sees while the demo works: a live picture, or plain lines where there is none."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from pydantic import BaseModel
from rich.console import Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from course.console import console

DONE = {"success", "skipped", "failed", "upstream_failed", "removed"}
COLOURS = {"success": "green", "running": "yellow", "failed": "red", "upstream_failed": "red"}


class Step(BaseModel):
    """One step of the demo."""

    title: str
    started: float
    seconds: float | None = None
    detail: str = ""
    reused: bool = False


def label(task: dict[str, Any]) -> str:
    """Name of a task instance, with the name of its map index, or its number, if it is mapped."""
    name = str(task["task_id"])
    if task["map_index"] < 0:
        return name
    # Before it is rendered, and for DAGs without a template, there is only the number.
    return f"{name}[{task['rendered_map_index'] or task['map_index']}]"


class View:
    """Shows steps and tasks; on anything but a terminal every change is a line."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._tasks: list[dict[str, Any]] = []
        self._seen: dict[str, str] = {}
        self._live = Live(console=console, get_renderable=self._picture, refresh_per_second=4)

    def __enter__(self) -> "View":
        if console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if console.is_terminal:
            self._live.stop()

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Leave the terminal to a question."""
        if console.is_terminal:
            self._live.stop()
        yield
        if console.is_terminal:
            self._live.start()

    def begin(self, title: str) -> None:
        """A step starts."""
        self._tasks, self._seen = [], {}
        self.steps.append(Step(title=title, started=time.monotonic()))
        self._line(f"{title} …")

    def detail(self, text: str) -> None:
        """What the current step is at."""
        step = self.steps[-1]
        if step.detail != text:
            step.detail = text
            self._line(f"    {text}")

    def tasks(self, tasks: list[dict[str, Any]]) -> None:
        """The task instances of the current step."""
        self._tasks = sorted(tasks, key=lambda task: (task["start_date"] or "9", task["task_id"]))
        for task in self._tasks:
            name = f"{task['dag_run_id']} {label(task)}"
            state = task["state"] or "waiting"
            known = self._seen.get(name)
            self._seen[name] = state
            if state != known and state in {"running", *DONE}:
                took = f" after {task['duration']:.1f} s" if task["duration"] else ""
                self._line(f"    {label(task)}: {state}{took}")

    def end(self, text: str, *, reused: bool = False) -> None:
        """The current step is over."""
        step = self.steps[-1]
        step.seconds = time.monotonic() - step.started
        step.detail, step.reused = text, reused
        self._tasks = []
        self._line(f"    {text} ({step.seconds:.0f} s)")

    def _line(self, text: str) -> None:
        if not console.is_terminal:
            console.print(text, markup=False, soft_wrap=True)

    def _picture(self) -> RenderableType:
        table = Table(box=None, show_header=False, padding=(0, 1))
        for _ in range(2):
            table.add_column()
        table.add_column(justify="right")
        for step in self.steps:
            over = step.seconds is not None
            seconds = step.seconds if over else time.monotonic() - step.started
            mark: RenderableType = Text("✓", "green") if over else Spinner("dots")
            words = Text.assemble(step.title, (f"  {step.detail}", "dim"))
            table.add_row(mark, words, f"{seconds:.0f} s")
        return Group(table, self._task_table())

    def _task_table(self) -> Table:
        table = Table(box=None, show_header=False, padding=(0, 1))
        # A screen holds about this many; the ones that ended first give way.
        for task in self._tasks[-14:]:
            state = task["state"] or "waiting"
            duration = f"{task['duration']:.1f} s" if task["duration"] else ""
            name = Text(f"    {label(task)}")
            table.add_row(name, Text(state, COLOURS.get(state, "dim")), duration)
        return table
