"""Import heavy libraries once, before anything is forked that runs tasks.

A task of the LocalExecutor is a fork of a worker, and a worker is a fork of the scheduler:
what the scheduler has imported, every task has without waiting for it. pandas, scikit-learn,
MLflow and Feast take 2 to 7 seconds each, so a run of ten short tasks spends most of its time
on imports otherwise. The price: a larger process takes longer to fork, some hundredths of a
second for each task (``labs/scale``). The libraries are those that ``COURSE_WARM_IMPORTS``
names, separated by commas, set for the scheduler alone; without that variable nothing happens.
With the CeleryExecutor the main process of a worker is that ancestor, and ``course_celery`` does
the same there. It is of no use where each task starts from nothing (KubernetesExecutor, macOS).
"""

import importlib
import logging
import multiprocessing
import os
import time
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

log = logging.getLogger(__name__)


def import_named() -> None:
    """Import what ``COURSE_WARM_IMPORTS`` names, where tasks are forks of this process."""
    # Taken out of the environment: the tasks forked from here have nothing left to import.
    names = [name for name in os.environ.pop("COURSE_WARM_IMPORTS", "").split(",") if name]
    if not names or multiprocessing.get_start_method() != "fork":
        return
    from airflow.sdk.listener import get_listener_manager

    begin = time.perf_counter()
    for name in names:
        importlib.import_module(name)
    # Each task asks the plugins for listeners, and would read the folder of the plugins for it.
    get_listener_manager()
    log.info("imported %s in %.1f s", ", ".join(names), time.perf_counter() - begin)


class WarmImports:
    """Listens for the start of the component, before it forks anything."""

    @hookimpl
    def on_starting(self, component: Any) -> None:
        """The scheduler starts, and so does every other component."""
        import_named()


class WarmImportsPlugin(AirflowPlugin):
    """Registers the listener."""

    name = "warm_imports"
    listeners = [WarmImports()]  # noqa: RUF012 - Airflow's own interface
