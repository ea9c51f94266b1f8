"""A nightly run by New York's clock, and the same by UTC."""

from airflow.sdk import CronTriggerTimetable, dag, task


@task
def train() -> None:
    """Stands for a training."""


# [START time_zone]
NEW_YORK = CronTriggerTimetable("0 3 * * *", timezone="America/New_York")
# [END time_zone]


@dag(schedule=NEW_YORK, catchup=False, tags=["lecture"])
def l02_time_zones_new_york() -> None:
    train()


@dag(schedule="0 3 * * *", catchup=False, tags=["lecture"])
def l02_time_zones_string() -> None:
    train()


l02_time_zones_new_york()
l02_time_zones_string()
