"""What stands around the checks of exercise 6: a metrics server, a message service, the clock.

The metrics server and the message service are the ends of the two lines that leave Airflow
(`flightdelays.practice_receiver`); all before them is Airflow's own. The clock looks for missed
deadlines as the scheduler does, at a time that a check chooses, and runs their callbacks as the
triggerer and the workers do.
"""

import ast
import asyncio
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from course.grading import Failed, Lesson, Run
from flightdelays.practice_receiver import MINE, PREFIX, Metric, Receiver

MONTHS = (1, 2, 6, 7)
"""Months that the checks train on or judge on."""


class Watched(NamedTuple):
    """A run, with what left Airflow while it ran."""

    run: Run
    metrics: list[Metric]
    messages: list[str]

    def trained(self) -> dict[str, Any]:
        """What `train` returned: rows, seconds and auc."""
        value = self.run.returned("train")
        if not isinstance(value, dict) or not all(
            isinstance(value.get(name), int | float) for name in ("rows", "seconds", "auc")
        ):
            raise Failed(
                ran=self.run.told,
                expected="that `train` returns what `practice_monitoring.train` returns",
                happened=f"it returned {value!r:.200}",
                where="task train",
            )
        return value

    def latest(self, name: str, kind: str, noun: str) -> Metric:
        """The last metric of this name that the run sent; it must be of this kind."""
        found = [metric for metric in self.metrics if metric.name == PREFIX + name]
        if not found:
            mine = sorted({metric.name for metric in self.metrics if MINE in metric.name})
            sent = ", ".join(f"`{each.removeprefix(PREFIX)}`" for each in mine)
            raise Failed(
                ran=self.run.told,
                expected=f"the metric `{name}` at the metrics server",
                happened=f"it did not come; of yours came {sent or 'none'}",
            )
        if found[-1].kind != kind:
            raise Failed(
                ran=self.run.told,
                expected=f"that `{name}` is a {noun}",
                happened=f"it came as `{found[-1].kind}`: StatsD writes g for a gauge, ms for a "
                "timer, c for a counter",
            )
        return found[-1]


@pytest.fixture(scope="session")
def receiver(lesson: Lesson) -> Iterator[Receiver]:
    """Both ends; Airflow's own clients lead to them while the checks run."""
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

    made = Receiver()
    os.environ.update(made.environment())
    os.environ["FLIGHTDELAYS_SOURCE"] = str(lesson.shared("ex06-source-v1", _four_months))
    # A task's process does this at its start; here tasks run in the process of the check.
    stats.initialize(factory=get_stats_factory(), export_legacy_names=False)
    yield made
    made.close()


def _four_months(folder: Path) -> None:
    """A source with every row of a few months, for the checks to read less."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    from flightdelays.source import read_source

    for name in ("flights", "weather"):
        table = read_source(name)
        kept = table.filter(pc.is_in(table["month"], pa.array(MONTHS, pa.int32())))
        csv.write_csv(kept, folder / f"{name}.csv")


class Watch:
    """Runs the DAG, and tells what left Airflow meanwhile."""

    def __init__(self, lesson: Lesson, receiver: Receiver) -> None:
        self._lesson = lesson
        self._receiver = receiver
        self._runs: dict[str, Watched] = {}

    def run(
        self,
        conf: Mapping[str, Any],
        *,
        told: str,
        fail: Mapping[str, int] | None = None,
        lake: str = "main",
    ) -> Watched:
        """Run it; ``told`` describes the run to people, and the same words give the same run."""
        if told not in self._runs:
            self._receiver.metrics()
            self._receiver.messages()
            run = self._lesson.run(conf, told=told, fail=fail, lake=lake, fresh=True)
            self._runs[told] = Watched(run, self._receiver.metrics(), self._receiver.messages())
        return self._runs[told]


@pytest.fixture(scope="session")
def watch(lesson: Lesson, receiver: Receiver) -> Watch:
    """Runs the DAG, and tells what left Airflow meanwhile."""
    return Watch(lesson, receiver)


class Clock:
    """Runs that are queued and end, and a scheduler that looks at their deadlines."""

    def __init__(self, lesson: Lesson, receiver: Receiver) -> None:
        self._lesson = lesson
        self._receiver = receiver
        self.due: list[datetime] = []
        """The deadlines of the run that was queued last."""
        self.errors: list[str] = []
        """What the callbacks ended with that did not succeed."""

    def queue(self, run_id: str, logical_date: datetime) -> datetime:
        """Create a run as Airflow does; returns when it was queued."""
        from airflow.utils.session import create_session
        from airflow.utils.state import DagRunState
        from airflow.utils.types import DagRunTriggeredByType, DagRunType

        dag = self._lesson.dag()
        try:
            with create_session() as session:
                _store(dag, session)
                run = _stored(dag.dag_id, session).create_dagrun(
                    run_id=run_id,
                    logical_date=logical_date,
                    data_interval=(logical_date, logical_date),
                    run_after=logical_date,
                    run_type=DagRunType.MANUAL,
                    triggered_by=DagRunTriggeredByType.TEST,
                    state=DagRunState.QUEUED,
                    session=session,
                )
                session.flush()
                session.refresh(run)
                run.state = DagRunState.RUNNING
                self.due = [deadline.deadline_time for deadline in run.deadlines]
                queued_at: datetime = run.queued_at
        except Exception as error:
            raise Failed(
                ran="the DAG, stored and queued as Airflow does it",
                expected="a DAG whose deadline Airflow can store and evaluate",
                happened=f"{type(error).__name__}: {str(error)[:300]}",
            ) from error
        return queued_at

    def finish(self, run_id: str) -> None:
        """Let every task of a run succeed now, and Airflow end the run."""
        from airflow.models.dagrun import DagRun
        from airflow.utils.session import create_session
        from airflow.utils.state import DagRunState, TaskInstanceState
        from sqlalchemy import select

        with create_session() as session:
            run = session.scalars(select(DagRun).where(DagRun.run_id == run_id)).one()
            run.dag = _stored(run.dag_id, session)
            run.state = DagRunState.RUNNING
            for instance in run.get_task_instances(session=session):
                instance.state = TaskInstanceState.SUCCESS
            session.flush()
            run.update_state(session=session, execute_callbacks=False)

    def look(self, now: datetime) -> list[str]:
        """Look for missed deadlines as if it were ``now``; returns the messages that came of it."""
        from airflow.models.callback import Callback
        from airflow.models.deadline import Deadline
        from airflow.utils.session import create_session
        from airflow.utils.state import CallbackState
        from sqlalchemy import select

        self._receiver.messages()
        with create_session() as session:
            missed = select(Deadline).where(Deadline.deadline_time < now, ~Deadline.missed)
            for deadline in session.scalars(missed).all():
                deadline.handle_miss(session)
            session.flush()
            due = (CallbackState.QUEUED, CallbackState.PENDING)
            for callback in session.scalars(select(Callback).where(Callback.state.in_(due))).all():
                with self._elsewhere():
                    self._call(callback, session)
        return self._receiver.messages()

    def _call(self, callback: Any, session: Any) -> None:
        import structlog
        from airflow.models.callback import TriggererCallback
        from airflow.sdk._shared.module_loading import import_string
        from airflow.sdk.execution_time.callback_supervisor import execute_callback
        from airflow.utils.state import CallbackState

        if isinstance(callback, TriggererCallback):
            trigger = import_string(callback.trigger.classpath)(**callback.trigger.kwargs)
            asyncio.run(_drive(trigger, callback, session))
        else:
            path = self._lesson.source.path
            # A worker puts the folder of the DAG there itself.
            sys.path.append(str(path.parent))
            done, error = execute_callback(
                callback.data["path"],
                callback.data["kwargs"],
                path.name,
                path.parent,
                structlog.get_logger("callback"),
            )
            callback.state = CallbackState.SUCCESS if done else CallbackState.FAILED
            callback.output = error
        if callback.state != CallbackState.SUCCESS:
            self.errors.append(_last_line(str(callback.output)))

    @contextmanager
    def _elsewhere(self) -> Iterator[None]:
        """As in a process that has not read the learner's file, and cannot import it."""
        own, folder = str(self._lesson.source.path), str(self._lesson.source.path.parent)
        paths = list(sys.path)
        sys.path[:] = [path for path in paths if path != folder]
        kept = {
            name: module
            for name, module in list(sys.modules.items())
            if getattr(module, "__file__", None) == own
        }
        for name in kept:
            del sys.modules[name]
        try:
            yield
        finally:
            sys.path[:] = paths
            sys.modules.update(kept)


def _store(dag: Any, session: Any) -> None:
    """Put a DAG into the database, as the dag-processor does."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    bag = DagBag(os.devnull)
    bag.dags[dag.dag_id] = dag
    DagBundlesManager().sync_bundles_to_db(session=session)
    session.flush()
    sync_bag_to_db(bag, "dags-folder", None, session=session)
    session.flush()


def _stored(dag_id: str, session: Any) -> Any:
    """A DAG as the scheduler reads it from the database."""
    from airflow.models.dagbag import DBDagBag

    dag = DBDagBag().get_latest_version_of_dag(dag_id, session=session)
    if dag is None:
        raise LookupError("it could not be stored; is every argument of the callback plain data?")
    return dag


def _last_line(output: str) -> str:
    """The exception with which a callback ended, without the traceback that is before it."""
    head, found, trace = output.partition(": [")
    if not found:
        return output
    return f"{head}: {ast.literal_eval('[' + trace)[-1].strip()}"


async def _drive(trigger: Any, callback: Any, session: Any) -> None:
    async for event in trigger.run():
        callback.handle_event(event, session)


@pytest.fixture(scope="session")
def clock(lesson: Lesson, receiver: Receiver) -> Clock:
    """Runs, deadlines, and the time of day."""
    lesson.lake("deadlines")
    return Clock(lesson, receiver)
