"""What unpausing starts: a start date in the past, and none."""

from datetime import datetime

from airflow.sdk import CronTriggerTimetable, dag, task

NIGHTLY = CronTriggerTimetable("0 3 * * *", timezone="UTC")


@task
def train() -> None:
    """Stands for a training."""


@dag(schedule=NIGHTLY, start_date=datetime(2013, 1, 1), catchup=True, tags=["lecture"])
def l02_first_run_catchup() -> None:
    train()


@dag(schedule=NIGHTLY, start_date=datetime(2013, 1, 1), catchup=False, tags=["lecture"])
def l02_first_run_past() -> None:
    train()


@dag(schedule=NIGHTLY, catchup=False, tags=["lecture"])
def l02_first_run_no_start() -> None:
    train()


l02_first_run_catchup()
l02_first_run_past()
l02_first_run_no_start()
