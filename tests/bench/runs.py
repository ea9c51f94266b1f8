"""What measurements of several pipelines share: a year of data, and waiting for runs to end."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from course.api import FINISHED
from course.sandbox import Sandbox
from flightdelays import features, source, store
from flightdelays.lake import months_between
from flightdelays.settings import Settings

EVENT, TRAIN, MONITOR, BUILD = (
    "retrain_on_event",
    "train_delay_model",
    "monitor_drift",
    "build_features",
)
YEAR = months_between("2013-01", "2013-12")


def wait(
    condition: Callable[[], Any], seconds: float = 300, every: float = 0.2, what: str = "Waited"
) -> Any:
    """The first true value of ``condition``, which is asked ``every`` so many seconds.

    TimeoutError that says ``what`` did not happen.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(every)
    return value


def moment(entry: dict[str, Any], key: str) -> datetime:
    """A moment as Airflow has recorded it."""
    return datetime.fromisoformat(entry[key])


def newest(stack: Sandbox, dag_id: str, since: datetime) -> dict[str, Any] | None:
    """The newest run of a DAG, if it was queued after a moment."""
    for run in stack.api.runs(dag_id, order_by="-run_after")[:1]:
        if moment(run, "queued_at") > since:
            return dict(run)
    return None


def tasks(stack: Sandbox, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
    """The task instances of a run by their task; of a mapped task the last."""
    return {entry["task_id"]: entry for entry in stack.api.task_instances(dag_id, run_id)}


def finished(
    stack: Sandbox, dag_id: str, since: datetime, seconds: float = 300, every: float = 0.2
) -> dict[str, Any]:
    """The run that followed a moment, once it has ended."""

    def ended() -> dict[str, Any] | None:
        run = newest(stack, dag_id, since)
        return run if run and run["state"] in FINISHED else None

    return dict(wait(ended, seconds, every))


def year(stack: Sandbox) -> Settings:
    """The settings of the tasks; the whole year is landed and built, Feast and Airflow know it."""
    found = stack.settings
    for month in YEAR:
        source.land(month, found)
    for view, months in features.stale(found).items():
        for month in months:
            features.build(view, month, found)
    store.apply(found)
    for dag_id in (EVENT, TRAIN, MONITOR, BUILD):
        wait(lambda dag_id=dag_id: stack.api.dag(dag_id))
    return found
