"""What a check may use: the learner's DAG, run in this process with faults planted where asked."""

import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from course.grading.loading import Parse, Source
from course.grading.recording import Recorder
from course.grading.runs import Failed, Instance, Run, size

PAUSE = 0.02
"""Seconds between two looks at a run in which nothing is ready."""


def task(number: int) -> pytest.MarkDecorator:
    """``@task(3)``: the check belongs to task 3 of the exercise."""
    return pytest.mark.task(number)


class Lesson:
    """A learner's file, and the means to run what it defines."""

    def __init__(
        self, source: Source, parse: Parse, dags: tuple[str, ...], folder: Path, data: Path
    ) -> None:
        self.source = source
        self.parse = parse
        self.folder = folder
        """A folder that belongs to this check alone."""
        self._dags = dags
        self._data = data
        self._runs: dict[str, Run] = {}
        self._lines: dict[str, int] = {}

    def shared(self, name: str, build: Callable[[Path], None]) -> Path:
        """A folder of data that is built once for all checks, and that none may change."""
        place = self._data / name
        if not place.exists():
            self._data.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=self._data))
            build(draft)
            # Of two that build at the same time, the first to be done wins.
            with suppress(OSError):
                draft.rename(place)
            shutil.rmtree(draft, ignore_errors=True)
        return place

    def lake(self, name: str = "main") -> Path:
        """Make the lake ``name`` the one that tasks use from now on; empty the first time."""
        from flightdelays.settings import get_settings

        place = self.folder / "lakes" / name
        place.mkdir(parents=True, exist_ok=True)
        os.environ["FLIGHTDELAYS_LAKE"] = str(place / "lake")
        os.environ["FLIGHTDELAYS_SITE"] = str(place / "site")
        os.environ["FLIGHTDELAYS_FEAST_REGISTRY"] = str(place / "feast" / "registry.db")
        os.environ["FLIGHTDELAYS_FEAST_ONLINE"] = str(place / "feast" / "online.db")
        os.environ["FLIGHTDELAYS_INCOMING"] = str(place / "incoming")
        get_settings.cache_clear()
        return place / "lake"

    def dag(self, dag_id: str = "") -> Any:
        """The DAG as Airflow loads it, anew at each call."""
        from airflow.dag_processing.dagbag import DagBag

        return DagBag(str(self.source.path)).dags[dag_id or self._dags[0]]

    def run(
        self,
        conf: Mapping[str, Any] | None = None,
        *,
        dag_id: str = "",
        fail: Mapping[str, int] | None = None,
        lake: str = "main",
        fresh: bool = False,
        logical_date: datetime | None = None,
        told: str = "",
    ) -> Run:
        """Run a DAG to its end; the same arguments give the same run, unless ``fresh``.

        ``fail`` makes the first tries of a task fail: ``{"fetch": 1}``, ``{"train[2]": 9}``.
        Retries come at once, whatever ``retry_delay`` says. ``told`` describes the run in
        messages.
        """
        key = json.dumps([dag_id, conf, fail, lake, str(logical_date)], sort_keys=True, default=str)
        if fresh or key not in self._runs:
            self._runs[key] = self._run(conf, dag_id, fail or {}, lake, logical_date, told)
        return self._runs[key]

    def _run(
        self,
        conf: Mapping[str, Any] | None,
        dag_id: str,
        fail: Mapping[str, int],
        lake: str,
        logical_date: datetime | None,
        told: str,
    ) -> Run:
        from airflow.exceptions import AirflowException

        self.lake(lake)
        dag = self.dag(dag_id)
        told = told or _words(dag.dag_id, conf, fail)
        recorder = Recorder(self.source, fail)
        try:
            with recorder.attached(dag), _brisk():
                ended = dag.test(
                    logical_date=logical_date or datetime.now(UTC),
                    run_conf=dict(conf) if conf is not None else None,
                )
        except AirflowException as error:
            raise Failed(
                ran=told,
                expected="that Airflow runs it",
                happened=f"{type(error).__name__}: {str(error).strip()}",
                where=self.source.name,
            ) from error
        finally:
            self._lines |= recorder.lines
        return self._collect(dag, ended, told, recorder)

    def place(self, where: str, number: int) -> str:
        """``where`` of a finding, made exact: with the line of the task, or the marker of it."""
        if not where:
            return self.source.todo(number)
        named = re.match(r"task (\w+)", where)
        line = self._lines.get(named[1]) if named else None
        return f"{self.source.name}:{line}, {where}" if line else where

    def _collect(self, dag: Any, ended: Any, told: str, recorder: Recorder) -> Run:
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            rows = session.scalars(
                select(XComModel).where(
                    XComModel.dag_id == ended.dag_id, XComModel.run_id == ended.run_id
                )
            ).all()
            sizes: dict[str, int] = {}
            returned: dict[tuple[str, int], Any] = {}
            for row in rows:
                label = row.task_id if row.map_index < 0 else f"{row.task_id}[{row.map_index}]"
                sizes[f"{label}.{row.key}"] = size(row.value)
                if row.key == "return_value":
                    returned[row.task_id, row.map_index] = _decoded(row.value)
        instances = [
            Instance(
                task_id=each.task_id,
                map_index=each.map_index,
                state=str(each.state or "none"),
                tries=each.try_number,
                name=each.rendered_map_index or str(each.map_index),
                seconds=each.duration or 0,
                returned=returned.get((each.task_id, each.map_index)),
                errors=recorder.errors.get((each.task_id, each.map_index), []),
            )
            for each in ended.get_task_instances()
        ]
        return Run(
            source=self.source,
            told=told,
            state=str(ended.state),
            instances=instances,
            xcoms=sizes,
            task_ids=list(dag.task_ids),
            run_id=ended.run_id,
        )


def _words(dag_id: str, conf: Mapping[str, Any] | None, fail: Mapping[str, int]) -> str:
    said = f"the DAG `{dag_id}`"
    if conf:
        said += " with " + ", ".join(f"{name}={value!r}" for name, value in conf.items())
    for label, times in fail.items():
        tries = "the first try" if times == 1 else f"the first {times} tries"
        said += f", {tries} of `{label}` made to fail"
    return said


def _decoded(value: Any) -> Any:
    """A value as the next task would get it; as it is stored, if it cannot be decoded."""
    from airflow.sdk.serde import deserialize

    try:
        return deserialize(value)
    except (ImportError, TypeError, ValueError):
        return value


@contextmanager
def _brisk() -> Iterator[None]:
    """Let ``dag.test()`` look again at once when nothing is ready, where it would wait a second.

    It waits each time that a failure has yet to be passed on to the tasks behind it; nobody but
    this process works on the run, so there is nothing to wait for.
    """
    original = time.sleep

    def sleep(seconds: float) -> None:
        asked = sys._getframe(1).f_globals.get("__name__")
        original(min(seconds, PAUSE) if asked == "airflow.sdk.definitions.dag" else seconds)

    time.sleep = sleep  # type: ignore[assignment]
    try:
        yield
    finally:
        time.sleep = original
