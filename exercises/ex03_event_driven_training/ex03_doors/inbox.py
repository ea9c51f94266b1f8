"""The folder in which files arrive, and a sensor that waits for them."""

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from course.grading import Lesson, Run
from ex03_doors.broker import connect

SOON = 1.0
"""Seconds that stand for the timeout of a sensor, whatever the learner's is."""


class Wait(NamedTuple):
    """How a sensor of a run waited."""

    run: Run
    timeout: float
    """Seconds after which it would have given up by itself."""
    held: float
    """Seconds of its longest stay in a worker, where its timeout was one second."""


class Inbox:
    """The incoming folder of a lake, and runs of `ex03_on_file` that find it so."""

    def __init__(self, lesson: Lesson, lake: str) -> None:
        self._lesson = lesson
        self._lake = lake
        lesson.lake(lake)
        incoming = Path(os.environ["FLIGHTDELAYS_INCOMING"])
        self.folder = incoming / "ex03"
        self.folder.mkdir(parents=True, exist_ok=True)
        connect("fs_incoming", "fs", {"path": str(incoming)})

    def put(self, name: str, content: str) -> None:
        """Let a file arrive, whole."""
        (self.folder / name).write_text(content, encoding="utf-8")

    def holding(self, text: str) -> list[Path]:
        """The files with this text in them, wherever below the incoming folder."""
        files = [path for path in self.folder.parent.rglob("*") if path.is_file()]
        return [path for path in files if text in path.read_text("utf-8", errors="replace")]

    def run(self, told: str) -> Wait:
        """Run `ex03_on_file`; its sensor gives up after a second, as Airflow lets it."""
        from airflow.sdk.bases.sensor import BaseSensorOperator
        from airflow.sdk.definitions import dag as module

        timeouts: list[float] = []
        stays: list[float] = []
        expired: set[str] = set()
        load, run_trigger = self._lesson.dag, module._run_inline_trigger

        def hurried(dag_id: str = "") -> Any:
            found = load(dag_id)
            for sensor in found.tasks:
                if isinstance(sensor, BaseSensorOperator):
                    timeouts.append(sensor.timeout)
                    sensor.timeout, sensor.poke_interval = SOON, 0.1
                    sensor.execute = _timed(sensor.execute, stays)
                    sensor.resume_execution = _resumed(sensor.resume_execution, expired)
            return found

        def limited(trigger: Any, ti: Any) -> Any:
            events = trigger.run

            async def within() -> Any:
                with suppress(TimeoutError):
                    yield await asyncio.wait_for(anext(events()), SOON)
                    return
                expired.add(ti.task_id)

            trigger.run = within
            return run_trigger(trigger, ti)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self._lesson, "dag", hurried)
            patch.setattr(module, "_run_inline_trigger", limited)
            run = self._lesson.run(
                {}, dag_id="ex03_on_file", lake=self._lake, fresh=True, told=told
            )
        return Wait(run, max(timeouts, default=0.0), max(stays, default=0.0))


def _timed(function: Any, stays: list[float]) -> Any:
    def timed(*args: Any, **kwargs: Any) -> Any:
        begin = time.monotonic()
        try:
            return function(*args, **kwargs)
        finally:
            stays.append(time.monotonic() - begin)

    return timed


def _resumed(function: Any, expired: set[str]) -> Any:
    """What Airflow calls when a task wakes up; after a timeout with these arguments."""

    def resumed(next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        if context["ti"].task_id in expired:
            return function("__fail__", {"error": "Trigger timeout"}, context)
        return function(next_method, next_kwargs, context)

    return resumed
