"""What the labs do to a running stack, and how they undo it."""

import shutil
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx

from course.api import FINISHED, Airflow, AirflowError
from course.config import REPOSITORY, Config
from course.follow import wait_for
from course.state import State

Json = dict[str, Any]

SOURCE = REPOSITORY / "labs" / "troubleshooting"
PATIENCE = 180
"""Seconds that Airflow may take for what takes it a few."""


class Scene:
    """A running stack in which one lab plays; ``say`` reports a step to the person."""

    def __init__(self, config: Config, state: State, name: str, say: Callable[[str], None]) -> None:
        self.config, self.state, self.name, self.say = config, state, name, say
        self.airflow, self.url = Airflow.of(state), state.url("airflow")
        self.folder = config.labs / name

    def put_files(self) -> None:
        """Copy what the lab plants into the bundle ``labs``; files that are there are renewed."""
        ignore = shutil.ignore_patterns("__pycache__")
        source = SOURCE / self.name / "planted"
        shutil.copytree(source, self.folder, dirs_exist_ok=True, ignore=ignore)
        self.say(f"its files lie in {self.folder}")

    def await_dag(self, dag_id: str) -> Json:
        """The DAG, once Airflow has read it."""
        dag = wait_for(
            lambda: (
                found if (found := self.airflow.dag(dag_id)) and not found["is_stale"] else None
            ),
            seconds=PATIENCE,
            problem=f"Airflow did not read the DAG {dag_id} in {self.folder}.",
            fix="make doctor; a stack that was started before the labs came needs: make stop start",
        )
        self.say(f"Airflow has read {dag_id}")
        return dag

    def await_absence(self, dag_id: str) -> None:
        """Return once Airflow does not list the DAG (any longer)."""
        wait_for(
            lambda: True if (dag := self.airflow.dag(dag_id)) is None or dag["is_stale"] else None,
            seconds=PATIENCE,
            problem=f"Airflow does not notice that it is to read {dag_id} no longer.",
            fix="make status, then the same command again",
        )

    def run(self, dag_id: str) -> str:
        """Id of a run of the DAG that is at work; starts one if there is none."""
        self.airflow.pause(dag_id, paused=False)
        for run in self.airflow.runs(dag_id):
            if run["state"] not in FINISHED:
                return str(run["dag_run_id"])
        run_id = self.airflow.trigger(dag_id)
        self.say(f"a run of {dag_id} is started")
        return run_id

    def task(self, dag_id: str, run_id: str, task_id: str) -> Json:
        """One task instance of a run; its state is None while there is none."""
        for task in self.airflow.task_instances(dag_id, run_id):
            if task["task_id"] == task_id:
                return task
        return {"state": None}

    def remove_files(self) -> None:
        """Remove what was copied."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def forget(self, dag_id: str) -> None:
        """End the runs of a DAG whose file is removed, and delete it with all that it left."""
        if self.airflow.dag(dag_id) is None:
            return
        for run in self.airflow.runs(dag_id):
            if run["state"] not in FINISHED:
                path = f"/api/v2/dags/{dag_id}/dagRuns/{quote(run['dag_run_id'], safe='')}"
                self.airflow.request("PATCH", path, json={"state": "failed"})
        # Until Airflow has noticed that the file is gone, it would bring the DAG back.
        self.await_absence(dag_id)
        wait_for(
            lambda: True if self._delete(f"/api/v2/dags/{dag_id}") else None,
            seconds=PATIENCE,
            problem=f"Airflow does not delete {dag_id}: one of its tasks does not end.",
            fix=f"look at {self.url}/dags/{dag_id}",
        )
        self.say(f"{dag_id} is deleted with its runs")

    def delete_pool(self, name: str) -> None:
        """Delete a pool, if there is one."""
        if self._delete(f"/api/v2/pools/{name}"):
            self.say(f"the pool {name} is deleted")

    def _delete(self, path: str) -> bool:
        """Delete; False while tasks are at work in it. What is not there counts as deleted."""
        try:
            self.airflow.request("DELETE", path)
        except AirflowError as error:
            if error.status == httpx.codes.CONFLICT:
                return False
            if error.status != httpx.codes.NOT_FOUND:
                raise
        return True
