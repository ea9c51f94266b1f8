"""Two deadlines: an absolute one, and one that follows what the runs usually take."""

from datetime import timedelta

from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference, dag, task

import course_alerts


@dag(
    schedule=None,
    catchup=False,
    tags=["lecture"],
    # [START deadlines]
    deadline=[
        DeadlineAlert(
            name="done half an hour after it was queued",
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=timedelta(minutes=30),
            callback=AsyncCallback(course_alerts.run_late),
        ),
        DeadlineAlert(
            name="five minutes longer than the last ten runs took on average",
            reference=DeadlineReference.AVERAGE_RUNTIME(max_runs=10, min_runs=3),
            interval=timedelta(minutes=5),
            callback=AsyncCallback(course_alerts.run_late),
        ),
    ],
    # [END deadlines]
)
def l08_deadlines() -> None:
    @task
    def train() -> float:
        return 0.75

    train()


l08_deadlines()
