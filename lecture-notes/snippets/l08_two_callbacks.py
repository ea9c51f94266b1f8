"""The two callbacks of a failure: one knows the exception, the other knows the run."""

from typing import Any

from airflow.sdk import dag, task

TOLD: list[str] = []


# [START callbacks]
def task_failed(context: Any) -> None:
    ti = context["ti"]
    TOLD.append(f"{ti.task_id}, try {ti.try_number}: {context['exception']!r}, see {ti.log_url}")


def run_failed(context: Any) -> None:
    TOLD.append(f"{context['dag'].dag_id}: {context['reason']}")


# [END callbacks]


@dag(
    schedule=None,
    catchup=False,
    tags=["lecture"],
    default_args={"retries": 1, "on_failure_callback": task_failed},
    on_failure_callback=run_failed,
)
def l08_two_callbacks() -> None:
    @task
    def fit() -> None:
        raise ValueError("no rows for 2013-13")

    fit()


l08_two_callbacks()
