"""A task that takes as long as it is told, and steps one after the other."""

import time
from datetime import timedelta
from typing import Any

from airflow.sdk import dag, get_current_context, task


@dag(schedule=None, catchup=False, tags=["stack"])
def stack_probe() -> None:
    """One task, tried again at once."""

    @task(retries=3, retry_delay=timedelta(seconds=2))
    def hold() -> None:
        context: Any = get_current_context()
        print(f"try {context['ti'].try_number}", flush=True)
        time.sleep((context["dag_run"].conf or {}).get("seconds", 0))

    hold()


@dag(schedule=None, catchup=False, tags=["stack"])
def stack_steps() -> None:
    """Steps that use the lake, the feature store and the broker; what is away for a moment is
    there again at a later try."""

    @task(retries=5, retry_delay=timedelta(seconds=5))
    def step(number: int) -> int:
        from flightdelays import store
        from flightdelays.lake import open_lake

        lake = open_lake()
        path = lake.path("probe", f"{number}.json")
        lake.write_json(path, {"number": number})
        assert lake.read_json(path) == {"number": number}
        assert store.open_store().list_feature_views()
        time.sleep(2)
        return number

    before = step.override(task_id="step_1")(1)
    for number in range(2, 7):
        after = step.override(task_id=f"step_{number}")(number)
        before >> after
        before = after


stack_probe()
stack_steps()
