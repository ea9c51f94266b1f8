"""How the API server of the laptop stack reads task logs: from the disk, and only from there.

While a task runs, Airflow also asks the log server of the machine that runs it. That is this
machine, where the file lies already, and the log servers are switched off because they listen on
every address; without this each look at a running task ends in "Could not read served logs".
"""

from copy import deepcopy
from typing import Any

from airflow.config_templates.airflow_local_settings import DEFAULT_LOGGING_CONFIG
from airflow.utils.log.file_task_handler import FileTaskHandler


class DiskTaskHandler(FileTaskHandler):
    """Reads what the tasks of this machine wrote."""

    def _read_from_logs_server(self, ti: Any, worker_log_rel_path: str) -> Any:
        return [], []


LOGGING_CONFIG = deepcopy(DEFAULT_LOGGING_CONFIG)
LOGGING_CONFIG["handlers"]["task"]["class"] = "course.task_logs.DiskTaskHandler"
