"""Who is told when a pipeline fails, is late, tries again or succeeds: callbacks for any DAG.

- `task_failed`, a task's `on_failure_callback`: after its last try, in the worker: error and log.
- `task_retried`, a task's `on_retry_callback`: after any other try, in the worker.
- `run_failed`, a DAG's `on_failure_callback`, in the dag-processor: what no task has told, for
  example that the run timed out or that no task can run any more.
- `run_succeeded`, a DAG's `on_success_callback`, in the dag-processor.
- `run_late`, `AsyncCallback` of a `DeadlineAlert`, in the triggerer: the deadline has passed.

A failed run alerts once, however many of its tasks and callbacks notice (`flightdelays.alerts`);
cleared and failed again, it alerts again. Where the messages go is the connection's affair
(`course_notifier`). An alert that cannot be delivered is an error in the log of whoever sent it.
"""

import asyncio
import importlib
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import course_metrics

log = logging.getLogger(__name__)


def task_failed(context: Any) -> None:
    """A task failed for good."""
    ti = context["ti"]
    _send(
        _key(context, "failed"), "failure", f"Failed: {ti.dag_id}, task {ti.task_id}", _try(context)
    )


def task_retried(context: Any) -> None:
    """A try failed, another one follows."""
    ti = context["ti"]
    name = f"retry_{ti.task_id}_{ti.map_index}_{ti.try_number}"
    title = f"Trying again: {ti.dag_id}, task {ti.task_id}"
    _send(_key(context, name), "info", title, _try(context))


def run_failed(context: Any) -> None:
    """A run failed; silent if one of its tasks has told so."""
    dag_id, run_id = context["dag"].dag_id, context["run_id"]
    body = f"run: {run_id}\nreason: {context['reason']}\npage: {_page(dag_id, run_id)}"
    _send(_key(context, "failed"), "failure", f"Failed: {dag_id}", body)


def run_succeeded(context: Any) -> None:
    """A run succeeded."""
    dag_id, run_id = context["dag"].dag_id, context["run_id"]
    body = f"run: {run_id}\npage: {_page(dag_id, run_id)}"
    _send(_key(context, "succeeded"), "success", f"Succeeded: {dag_id}", body)


async def run_late(context: Mapping[str, Any]) -> None:
    """A run missed its deadline; silent if it has failed, which was told already.

    ``context`` is the short one of deadline alerts: ``dag_run`` and ``deadline`` as dictionaries.
    """
    run, deadline = context["dag_run"], context["deadline"]
    dag_id, run_id = run["dag_id"], run["dag_run_id"]
    # Airflow drops the deadline of a run that succeeds, but keeps that of one that fails.
    if run["state"] == "failed":
        log.info("%s of %s is past its deadline and has failed: told already", run_id, dag_id)
        return
    title = f"Late: {dag_id}"
    body = (
        f"run: {run_id}\nstate: {run['state']}\nqueued: {run['queued_at']}\n"
        f"deadline: {deadline['deadline_time']}\npage: {_page(dag_id, run_id)}"
    )
    # Imports take a second, for which the triggerer's event loop must not stop.
    alerts = await asyncio.to_thread(importlib.import_module, "flightdelays.alerts")
    notifier = await asyncio.to_thread(_notifier, "warning", title, body)
    # A trigger whose triggerer died is started again in another one.
    with alerts.once((dag_id, run_id, f"late_{deadline['id']}"), title) as first:
        if first:
            await notifier
            # The first metric of a process looks up the address of the server, which may take long.
            await asyncio.to_thread(course_metrics.send_late, dag_id)


def _send(key: tuple[str, ...], kind: str, title: str, body: str) -> None:
    from flightdelays import alerts

    with alerts.once(key, title) as first:
        if first:
            _notifier(kind, title, body)({})
        else:
            log.info("%s of run %s has been told already", title, key[1])


def _notifier(kind: str, title: str, body: str) -> Any:
    # Apprise is loaded when there is something to say.
    from apprise import NotifyType

    from course_notifier import CourseNotifier

    return CourseNotifier(title=title, body=body, notify_type=NotifyType(kind))


def _key(context: Any, name: str) -> tuple[str, ...]:
    """DAG, run, and the name of the message, numbered anew when the run is cleared."""
    # A callback of a run without any task instance has no `dag_run`.
    cleared = getattr(context.get("dag_run"), "clear_number", None)
    return context["dag"].dag_id, context["run_id"], f"{name}_{cleared or 0}"


def _try(context: Any) -> str:
    ti, error = context["ti"], context.get("exception")
    kind = f"{type(error).__name__}: " if isinstance(error, BaseException) else ""
    return (
        f"run: {ti.run_id}\ntry: {ti.try_number} of {ti.max_tries + 1}\n"
        f"error: {kind}{error}\nlog: {ti.log_url}"
    )


def _page(dag_id: str, run_id: str) -> str:
    from airflow.sdk.configuration import conf

    base = conf.get("api", "base_url", fallback="http://localhost:8080").rstrip("/")
    return f"{base}/dags/{quote(dag_id)}/runs/{quote(run_id)}"
