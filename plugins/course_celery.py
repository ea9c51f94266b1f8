"""Celery's settings in the stack in containers: the provider's own, and imports before the fork.

Named by ``[celery] celery_config_options``, so scheduler and workers import it; as a plugin it is
passed over (``.airflowignore``). Each task is a fork of a Celery process, which is a fork of the
worker's main process: what that one has imported, no task imports again.
"""

import multiprocessing
import multiprocessing.process
from typing import Any

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG
from celery.signals import worker_init, worker_process_init

from warm_imports import import_named

# [START warm]
CONFIG: dict[str, Any] = {
    **DEFAULT_CELERY_CONFIG,
    # A task is asked for when a process is free, so a second worker gets its share.
    "worker_prefetch_multiplier": 1,
    "broker_connection_retry_on_startup": True,
}


@worker_init.connect
def warm(**_: Any) -> None:
    """Runs once in the main process of a worker, before it forks its pool."""
    import_named()


# [END warm]


@worker_process_init.connect
def let_tasks_start_processes(**_: Any) -> None:
    """Runs in each process of the pool: Dask, for one, starts processes from within a task.

    Celery's own multiprocessing keeps the key of a process in a class of its own, which the
    standard library's refuses to hand to a new process.
    """
    process = multiprocessing.current_process()
    key = multiprocessing.process.AuthenticationString(process.authkey)  # type: ignore[attr-defined]
    process._config["authkey"] = key  # type: ignore[attr-defined]
