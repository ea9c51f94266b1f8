"""Says something, waits as long as it is told to, and says something else."""

import time
from typing import Any

from airflow.sdk import dag, get_current_context, task


@dag(schedule=None, catchup=False, tags=["live"])
def live_probe() -> None:
    """One task."""

    @task
    def speak() -> None:
        context: Any = get_current_context()
        print("the probe speaks", flush=True)
        time.sleep((context["dag_run"].conf or {}).get("seconds", 0))
        print("the probe has spoken", flush=True)

    speak()


live_probe()
