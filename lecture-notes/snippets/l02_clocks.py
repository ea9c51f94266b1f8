"""One cron expression, three meanings: a point in time, an interval, a partition."""

from datetime import datetime
from typing import Any

from airflow.sdk import (
    CronDataIntervalTimetable,
    CronPartitionTimetable,
    CronTriggerTimetable,
    dag,
    get_current_context,
    task,
)

# [START clocks]
MONTHLY = "0 0 1 * *"

POINT = CronTriggerTimetable(MONTHLY, timezone="UTC")
INTERVAL = CronDataIntervalTimetable(MONTHLY, timezone="UTC")
PARTITION = CronPartitionTimetable(MONTHLY, timezone="UTC", run_offset=-1, key_format="%Y-%m")
# [END clocks]


@task
def dates() -> dict[str, str]:
    """What the run says about time."""
    context: Any = get_current_context()
    names = ("logical_date", "data_interval_start", "data_interval_end", "partition_key", "ds")
    return {name: str(context.get(name, "absent")) for name in names}


@dag(schedule=MONTHLY, start_date=datetime(2013, 1, 1), catchup=False, tags=["lecture"])
def l02_clocks_string() -> None:
    dates()


@dag(schedule=POINT, start_date=datetime(2013, 1, 1), catchup=False, tags=["lecture"])
def l02_clocks_point() -> None:
    dates()


@dag(
    schedule=INTERVAL,
    start_date=datetime(2013, 1, 1),
    catchup=False,
    max_active_runs=4,
    tags=["lecture"],
)
def l02_clocks_interval() -> None:
    dates()


@dag(schedule=PARTITION, start_date=datetime(2013, 1, 1), catchup=False, tags=["lecture"])
def l02_clocks_partition() -> None:
    dates()


l02_clocks_string()
l02_clocks_point()
l02_clocks_interval()
l02_clocks_partition()
