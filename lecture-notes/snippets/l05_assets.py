"""A producer that says what it has made, an asset that is a function, and a reader of both."""

from collections.abc import Iterator

from airflow.sdk import Asset, Metadata, asset, dag, get_current_context, task

FLIGHTS = Asset(name="l05_flights", uri="lake://lecture/flights")


@dag(schedule=None, catchup=False, tags=["lecture"])
def l05_assets_land() -> None:
    # [START producer]
    @task(outlets=[FLIGHTS])
    def land(month: str) -> Iterator[Metadata]:
        yield Metadata(FLIGHTS, extra={"month": month, "rows": 27_000})

    # [END producer]
    land("2013-09")


@dag(schedule=[FLIGHTS], catchup=False, tags=["lecture"])
def l05_assets_train() -> None:
    # [START consumer]
    @task(inlets=[FLIGHTS])
    def newest() -> str:
        context = get_current_context()
        woken_by = context["triggering_asset_events"].get(FLIGHTS, [])
        known = context["inlet_events"][FLIGHTS]
        event = woken_by[-1] if woken_by else known[-1]
        return event.extra["month"]

    # [END consumer]
    newest()


# [START decorator]
@asset(schedule=None, uri="lake://lecture/airports", tags=["lecture"])
def l05_assets_airports() -> int:
    return len(["EWR", "JFK", "LGA"])


# [END decorator]
l05_assets_land()
l05_assets_train()
