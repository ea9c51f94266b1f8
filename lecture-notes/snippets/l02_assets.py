"""Producers and consumers of assets: all of them, any of them, or any of them and a clock."""

from typing import Any

from airflow.sdk import (
    Asset,
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    dag,
    get_current_context,
    task,
)

# [START assets]
FLIGHTS = Asset(name="l02_flights", uri="lake://l02/flights")
WEATHER = Asset(name="l02_weather", uri="lake://l02/weather")


@dag(schedule=None, catchup=False, tags=["lecture"])
def l02_assets_flights() -> None:
    @task(outlets=[FLIGHTS])
    def land() -> None:
        context: Any = get_current_context()
        context["outlet_events"][FLIGHTS].extra = {"month": "2013-01"}

    land()


@dag(schedule=(FLIGHTS | WEATHER), catchup=False, tags=["lecture"])
def l02_assets_any() -> None:
    @task
    def months() -> list[str]:
        events = get_current_context()["triggering_asset_events"]
        return [event.extra["month"] for event in events[FLIGHTS]]

    months()


# [END assets]
@dag(schedule=None, catchup=False, tags=["lecture"])
def l02_assets_weather() -> None:
    @task(outlets=[WEATHER])
    def land() -> None:
        pass

    land()


@dag(schedule=(FLIGHTS & WEATHER), catchup=False, tags=["lecture"])
def l02_assets_all() -> None:
    @task
    def join() -> None:
        pass

    join()


@dag(
    # [START or_time]
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("0 3 * * *", timezone="UTC"), assets=FLIGHTS
    ),
    # [END or_time]
    catchup=False,
    tags=["lecture"],
)
def l02_assets_or_time() -> None:
    @task
    def train() -> None:
        pass

    train()


l02_assets_flights()
l02_assets_weather()
l02_assets_any()
l02_assets_all()
l02_assets_or_time()
