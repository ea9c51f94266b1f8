"""Follows dag runs to their end, and explains a failure with the log of the task at fault."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from course.api import FINISHED, Airflow
from course.demo_view import View, label
from course.errors import CourseError

POLL = 1.0
LOG_LINES = 25

Json = dict[str, Any]
T = TypeVar("T")


def run_url(base: str, dag_id: str, run_id: str) -> str:
    """Address of a run in Airflow's pages."""
    return f"{base}/dags/{dag_id}/runs/{run_id}"


def follow(airflow: Airflow, base: str, view: View, dag_id: str, run_id: str) -> Json:
    """Show the tasks of a run until it ends; return the run, or raise if it failed."""
    while True:
        run = airflow.run(dag_id, run_id)
        view.tasks(airflow.task_instances(dag_id, run_id))
        if run["state"] == "failed":
            raise failure(airflow, base, dag_id, run_id)
        if run["state"] in FINISHED:
            return run
        time.sleep(POLL)


def failure(airflow: Airflow, base: str, dag_id: str, run_id: str) -> CourseError:
    """What failed in a run, with the end of its log."""
    tasks = airflow.task_instances(dag_id, run_id)
    failed = [task for task in tasks if task["state"] == "failed"]
    where = run_url(base, dag_id, run_id)
    if not failed:
        return CourseError(f"The run {run_id} of {dag_id} failed without a failed task.", where)
    parts = []
    for task in failed:
        # One entry may hold several lines; the marks by which the pages fold lines say nothing.
        text = "\n".join(airflow.log(task)).splitlines()
        lines = [line for line in text if not line.startswith("::")][-LOG_LINES:]
        parts.append(
            f"Task {label(task)} of {dag_id} failed (run {run_id}). The end of its log:\n"
            + "\n".join(f"    {line}" for line in lines)
        )
    return CourseError("\n".join(parts), f"look at {where}")


def wait_for(find: Callable[[], T | None], seconds: float, problem: str, fix: str) -> T:
    """Ask until there is an answer; CourseError with ``problem`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        found = find()
        if found is not None:
            return found
        if time.monotonic() > deadline:
            raise CourseError(problem, fix)
        time.sleep(POLL)
