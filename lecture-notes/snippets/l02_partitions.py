"""A partitioned asset, and two DAGs that listen to it: only one of them is started."""

from typing import Any

from airflow.sdk import (
    Asset,
    CronPartitionTimetable,
    PartitionedAssetTimetable,
    dag,
    get_current_context,
    task,
)

# [START partitions]
FACTS = Asset(name="l02_facts", uri="lake://l02/facts")


@dag(
    schedule=CronPartitionTimetable("0 0 1 * *", timezone="UTC", run_offset=-1, key_format="%Y-%m"),
    catchup=False,
    tags=["lecture"],
)
def l02_partitions_land() -> None:
    @task(outlets=[FACTS])
    def land() -> str:
        context: Any = get_current_context()
        return context["partition_key"]  # "2013-01"

    land()


@dag(schedule=PartitionedAssetTimetable(assets=FACTS), catchup=False, tags=["lecture"])
def l02_partitions_started() -> None:
    @task
    def build() -> str:
        context: Any = get_current_context()
        return context["partition_key"]

    build()


# [END partitions]
@dag(schedule=[FACTS], catchup=False, tags=["lecture"])
def l02_partitions_not_started() -> None:
    @task
    def build() -> None:
        pass

    build()


l02_partitions_land()
l02_partitions_started()
l02_partitions_not_started()
