"""An Airflow to experiment in: what the measures of the pitfalls do and look at.

Runs in a process whose environment names an Airflow home of its own (`course.pitfalls` starts
it). Everything here is Airflow's own: `dag.test()`, the scheduler's loop, the triggers of the
triggerer, the executor, the timetables and the tables of the database.
"""

import asyncio
import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.api.common.trigger_dag import trigger_dag
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
from airflow.executors.local_executor import LocalExecutor
from airflow.jobs.job import Job, run_job
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models import DagModel, DagRun, Deadline, Pool, TaskInstance, Trigger
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.xcom import XComModel
from airflow.sdk._shared.module_loading import import_string
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from airflow.utils.types import DagRunTriggeredByType
from sqlalchemy import LargeBinary, cast, func, select

Figures = dict[str, int | float | str]
PATIENCE = 120
"""Seconds that the API server has to start, and a run of its own processes to end."""


class Laboratory:
    """The Airflow of this process."""

    def __init__(self, alerts: Path) -> None:
        initdb()
        manager = DagBundlesManager()
        with create_session() as session:
            manager.sync_bundles_to_db(session=session)
        (bundle,) = manager.get_all_dag_bundles()
        bundle.initialize()
        bag = BundleDagBag(dag_folder=bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
        if bag.import_errors:
            reasons = [
                f"{file} does not import: {trace.strip().splitlines()[-1]}"
                for file, trace in bag.import_errors.items()
            ]
            raise RuntimeError("; ".join(reasons))
        sync_bag_to_db(bag, bundle.name, bundle.version)
        self._dags = bag.dags
        # ``dag.test()`` keeps the parameters of one call for the next one.
        self._defaults = {dag_id: dag.params.dump() for dag_id, dag in bag.dags.items()}
        self._alerts = alerts
        self._server = ExitStack()
        self._server_runs = False

    def close(self) -> None:
        """End what was started for the experiments."""
        self._server.close()

    def run(self, dag_id: str, **params: Any) -> DagRun:
        """A run to its end, task by task in this process."""
        conf = self._defaults[dag_id] | params
        return self._dags[dag_id].test(logical_date=datetime.now(UTC), run_conf=conf)

    def succeed(self, dag_id: str, **params: Any) -> DagRun:
        """A run that must succeed; RuntimeError with its id if it does not."""
        run = self.run(dag_id, **params)
        if run.state != "success":
            raise RuntimeError(f"{dag_id}, run {run.run_id}: {run.state}")
        return run

    def run_in_processes(self, dag_id: str) -> DagRun:
        """A run to its end in which each task is a process, at work beside the others."""
        if not self._server_runs:
            self._server.enter_context(_api_server())
            self._server_runs = True
        command = ["airflow", "dags", "test", "--use-executor", dag_id]
        with subprocess.Popen(command, start_new_session=True) as process:
            try:
                if process.wait(PATIENCE) != 0:
                    raise RuntimeError(f"{dag_id} could not be run")
            except subprocess.TimeoutExpired:
                # Seen on a busy machine: the run is over, and the executor's workers do not end.
                os.killpg(process.pid, signal.SIGKILL)
        with create_session() as session:
            return session.scalars(select(DagRun).where(DagRun.dag_id == dag_id)).one()

    def trigger(self, dag_id: str) -> None:
        """A run that waits for the scheduler, as after a click on "Trigger"."""
        trigger_dag(dag_id, triggered_by=DagRunTriggeredByType.TEST)

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler work on the DAG."""
        self._pause(dag_id, False)

    def pause(self, dag_id: str) -> None:
        """Hide the DAG from the scheduler."""
        self._pause(dag_id, True)

    def scheduler(self, loops: int, pause: float = 0) -> None:
        """Airflow's scheduler, while no worker has a free slot; seconds of pause after a loop."""
        with create_session() as session:
            slots = session.scalar(select(Pool).where(Pool.pool == Pool.DEFAULT_POOL_NAME))
            slots.slots = 0
        runner = SchedulerJobRunner(
            job=Job(),
            num_runs=loops,
            scheduler_idle_sleep_time=pause,
            executors=[LocalExecutor(parallelism=1)],
        )
        run_job(job=runner.job, execute_callable=runner._execute)

    def triggerer(self) -> None:
        """Run every waiting trigger until its last event, as the triggerer does."""

        async def exhaust(trigger: Any) -> None:
            async for _ in trigger.run():
                pass

        with create_session() as session:
            waiting = [(row.classpath, row.kwargs) for row in session.scalars(select(Trigger))]
        for classpath, kwargs in waiting:
            asyncio.run(exhaust(import_string(classpath)(**kwargs)))

    def runs_due(self, dag_id: str) -> list[datetime]:
        """When each run that the timetable owes until now would have started, in order."""
        dag = SerializedDagModel.get_dag(dag_id)
        now, due = datetime.now(UTC), []
        info = dag.next_dagrun_info(last_automated_run_info=None)
        while info is not None and info.run_after <= now:
            due.append(info.run_after)
            info = dag.next_dagrun_info(last_automated_run_info=info)
        return due

    def count_runs(self, dag_id: str, **columns: str) -> int:
        """Runs of the DAG in the database that have these values."""
        query = select(func.count()).select_from(DagRun).filter_by(dag_id=dag_id, **columns)
        with create_session() as session:
            return session.scalar(query)

    def missed_deadlines(self, dag_id: str) -> int:
        """Deadlines of the DAG's runs that the scheduler has found missed."""
        query = select(func.count()).select_from(Deadline).join(DagRun)
        with create_session() as session:
            return session.scalar(query.where(DagRun.dag_id == dag_id, Deadline.missed))

    def instances(self, run: DagRun, task_id: str, state: str) -> int:
        """Instances of a task in the run that are in this state."""
        found = run.get_task_instances()
        return sum(ti.task_id == task_id and ti.state == state for ti in found)

    def tries(self, run: DagRun, task_id: str) -> int:
        """How often a task of the run has been tried."""
        with create_session() as session:
            return session.scalars(
                select(TaskInstance.try_number).filter_by(
                    dag_id=run.dag_id, run_id=run.run_id, task_id=task_id
                )
            ).one()

    def xcom(self, run: DagRun, task_id: str) -> Any:
        """What a task of the run returned."""
        query = XComModel.get_many(
            run_id=run.run_id, dag_ids=run.dag_id, task_ids=task_id, key="return_value"
        )
        with create_session() as session:
            return XComModel.deserialize_value(session.scalars(query).one())

    def xcom_bytes(self, run: DagRun) -> int:
        """Size of all that the run keeps in the table of XComs."""
        size = func.sum(func.length(cast(XComModel.value, LargeBinary)))
        with create_session() as session:
            return session.scalar(
                select(size).where(XComModel.dag_id == run.dag_id, XComModel.run_id == run.run_id)
            )

    def alerts(self) -> list[dict[str, str]]:
        """The messages sent so far."""
        if not self._alerts.exists():
            return []
        return [json.loads(line) for line in self._alerts.read_text("utf-8").splitlines()]

    def _pause(self, dag_id: str, paused: bool) -> None:
        with create_session() as session:
            session.get_one(DagModel, dag_id).is_paused = paused


@contextmanager
def _api_server() -> Iterator[None]:
    """The server through which the tasks of an executor talk to the database."""
    address = f"http://127.0.0.1:{os.environ['AIRFLOW__API__PORT']}/api/v2/version"
    with subprocess.Popen(["airflow", "api-server"]) as server:
        try:
            deadline = time.monotonic() + PATIENCE
            while not _answers(address):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the API server did not answer at {address}")
                time.sleep(0.3)
            yield
        finally:
            server.terminate()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):  # noqa: S310 - always http, see above
            return True
    except OSError:
        return False
