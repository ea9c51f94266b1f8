"""A sensor that waits without a worker, gives up before the next run, and does not fail then."""

from datetime import timedelta

from airflow.providers.standard.sensors.filesystem import FileSensor
from airflow.sdk import dag, task


@dag(schedule="*/10 * * * *", catchup=False, tags=["lecture"])
def l07_wait_for_file() -> None:
    # [START wait]
    wait = FileSensor(
        task_id="wait_for_file",
        fs_conn_id="fs_l07",
        filepath="*.json",
        deferrable=True,
        poke_interval=5,
        timeout=timedelta(minutes=9).total_seconds(),
        soft_fail=True,
    )
    # [END wait]

    @task
    def take() -> str:
        return "the files are this run's"

    wait >> take()


l07_wait_for_file()
