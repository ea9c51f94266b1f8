"""The materialization ends today and not at the end of the month, so Feast takes all months to come
for published, and the next incremental one reads nothing.

Caught by: task 2, test_the_online_store_knows_the_end_of_the_month
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import Asset, Param, dag, task

CARRIER_DELAYS = Asset(name="ex05_carrier_delays", uri="lake://practice/carrier_delays")
MONTH = Param("2013-01", type="string", pattern=r"^\d{4}-(0[1-9]|1[0-2])$")
MAX_MISSING = 0.05
CARRIER = "UA"
DEFAULT_ARGS = {
    "owner": "you@example.com",
    "retries": 2,
    "retry_delay": timedelta(seconds=5),
}


@dag(
    dag_id="ex05_build_features",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["exercise"],
    params={"month": MONTH},
    default_args=DEFAULT_ARGS,
)
def build_features() -> None:
    @task
    def build(params: dict) -> int:
        from airflow.sdk.exceptions import AirflowSkipException

        from flightdelays import features
        from flightdelays.practice_features import VIEW, is_built

        month = params["month"]
        if is_built(month):
            raise AirflowSkipException(f"{month} is built from the data as they are")
        return features.build(VIEW, month)

    @task(outlets=[CARRIER_DELAYS])
    def publish(params: dict, outlet_events: dict) -> None:
        from flightdelays import store
        from flightdelays.practice_features import VIEW

        store.apply(view=VIEW)
        feast = store.open_store()
        view = feast.get_feature_view(VIEW)
        until = datetime.now(UTC)
        if view.materialization_intervals:
            feast.materialize_incremental(until, feature_views=[VIEW])
        else:
            # Without a past, incremental would begin at today's clock less the TTL.
            feast.materialize(datetime(2013, 1, 1, tzinfo=UTC), until, feature_views=[VIEW])
        outlet_events[CARRIER_DELAYS].extra = {"month": params["month"]}

    build() >> publish()


@dag(
    dag_id="ex05_train",
    schedule=[CARRIER_DELAYS],
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["exercise"],
    params={"month": MONTH},
    default_args=DEFAULT_ARGS,
)
def train_on_features() -> None:
    @task
    def month(params: dict, triggering_asset_events: dict) -> str:
        events = triggering_asset_events[CARRIER_DELAYS]
        return events[-1].extra["month"] if events else params["month"]

    @task
    def training_set(month: str) -> str:
        from flightdelays import practice_features, store

        job = store.open_store().get_historical_features(
            entity_df=practice_features.departures(month), features=practice_features.REFERENCES
        )
        return practice_features.save(job.to_df(), month)

    @task
    def check(table: str) -> float:
        from airflow.sdk.exceptions import AirflowFailException

        from flightdelays.practice_features import missing

        share = missing(table)
        if share > MAX_MISSING:
            raise AirflowFailException(f"{share:.0%} of the flights have no features: build them")
        return share

    @task
    def train(table: str) -> float:
        from flightdelays.practice_features import COLUMNS, KNOWN, fit

        return fit(table, [*KNOWN, *COLUMNS])

    @task
    def serve(month: str) -> dict[str, float]:
        import pandas as pd

        from flightdelays import store
        from flightdelays.practice_features import COLUMNS, REFERENCES

        feast = store.open_store()
        asked = pd.DataFrame({"carrier": [CARRIER], "event_timestamp": [store.end_of_month(month)]})
        found = feast.get_historical_features(entity_df=asked, features=REFERENCES).to_df()
        served = feast.get_online_features(
            features=REFERENCES, entity_rows=[{"carrier": CARRIER}]
        ).to_dict()
        offline = {name: found[name].iloc[0] for name in COLUMNS}
        online = {name: served[name][0] for name in COLUMNS}
        if online != offline:
            raise ValueError(f"{CARRIER} is {online} online and {offline} offline")
        return online

    name = month()
    table = training_set(name)
    checked = check(table)
    checked >> train(table)
    checked >> serve(name)


build_features()
train_on_features()
