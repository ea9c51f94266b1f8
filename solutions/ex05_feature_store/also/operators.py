"""The two DAGs with operators and a `with` block; the join is one of pandas instead of Feast's."""

from datetime import timedelta

from airflow.providers.standard.operators.python import PythonOperator, ShortCircuitOperator
from airflow.sdk import DAG, Asset, Param, get_current_context

CARRIER_DELAYS = Asset(name="ex05_carrier_delays", uri="lake://practice/carrier_delays")
COMMON = {
    "catchup": False,
    "max_active_runs": 1,
    "doc_md": __doc__,
    "tags": ["exercise"],
    "params": {"month": Param("2013-01", type="string")},
    "default_args": {
        "owner": "you@example.com",
        "retries": 2,
        "retry_delay": timedelta(seconds=5),
    },
}
MONTH = "{{ ti.xcom_pull(task_ids='month') }}"
TABLE = "{{ ti.xcom_pull(task_ids='training_set') }}"


def is_needed(month: str) -> bool:
    """Whether the month has to be built."""
    from flightdelays.practice_features import is_built

    return not is_built(month)


def build_month(month: str) -> int:
    """Number of facts that were built."""
    from flightdelays import features
    from flightdelays.practice_features import VIEW

    return features.build(VIEW, month)


def publish_month(month: str) -> None:
    """Bring the online store to the end of the month, and say so."""
    from flightdelays import store
    from flightdelays.practice_features import VIEW

    store.apply(view=VIEW)
    # Reads back as far as a fact may be old, which is never before the month.
    store.materialize(store.end_of_month(month), view=VIEW)
    get_current_context()["outlet_events"][CARRIER_DELAYS].extra = {"month": month}


def find_month() -> str:
    """The latest month that an update named, else the one asked for."""
    context = get_current_context()
    named = [
        event.extra["month"]
        for events in context["triggering_asset_events"].values()
        for event in events
    ]
    return max(named, default=context["params"]["month"])


def make_training_set(month: str) -> str:
    """Path of the month's departures with the latest fact at or before each."""
    import pandas as pd

    from flightdelays import features, practice_features
    from flightdelays.lake import open_lake, previous_month

    lake = open_lake()
    view = features.table(practice_features.VIEW)
    months = [m for m in (previous_month(month), month) if m in lake.months(view)]
    facts = pd.concat([pd.read_parquet(lake.partition(view, m)) for m in months])
    rows = practice_features.departures(month)
    for frame in (facts, rows):
        frame["event_timestamp"] = frame["event_timestamp"].astype("datetime64[us, UTC]")
    joined = pd.merge_asof(
        rows.sort_values("event_timestamp", kind="stable"),
        facts.sort_values("event_timestamp"),
        on="event_timestamp",
        by="carrier",
        tolerance=timedelta(hours=3),
    )
    return practice_features.save(joined, month)


def check_freshness(table: str) -> None:
    """End the run if more than a twentieth of the departures has no features."""
    from airflow.sdk.exceptions import AirflowFailException

    from flightdelays.practice_features import missing

    if missing(table) > 0.05:
        raise AirflowFailException(f"too many departures of {table} have no features")


def fit_model(table: str) -> float:
    """AUC on the end of the month."""
    from flightdelays.practice_features import COLUMNS, KNOWN, fit

    return fit(table, [*COLUMNS, *KNOWN])


def compare_stores(month: str) -> dict[str, float]:
    """The features of UA that are served; an exception if the lake has others."""
    import pandas as pd

    from flightdelays import store
    from flightdelays.practice_features import COLUMNS, REFERENCES

    feast = store.open_store()
    asked = pd.DataFrame({"carrier": ["UA"], "event_timestamp": [store.end_of_month(month)]})
    offline = feast.get_historical_features(entity_df=asked, features=REFERENCES).to_df()
    online = feast.get_online_features(features=REFERENCES, entity_rows=[{"carrier": "UA"}]).to_df()
    pd.testing.assert_frame_equal(online[list(COLUMNS)], offline[list(COLUMNS)])
    return {name: float(online[name].iloc[0]) for name in COLUMNS}


with DAG(dag_id="ex05_build_features", schedule=None, **COMMON):
    asked = {"month": "{{ params.month }}"}
    needed = ShortCircuitOperator(task_id="needed", python_callable=is_needed, op_kwargs=asked)
    build = PythonOperator(task_id="build", python_callable=build_month, op_kwargs=asked)
    publish = PythonOperator(
        task_id="publish", python_callable=publish_month, op_kwargs=asked, outlets=[CARRIER_DELAYS]
    )
    needed >> build >> publish

with DAG(dag_id="ex05_train", schedule=CARRIER_DELAYS, **COMMON):
    found = {"month": MONTH}
    made = {"table": TABLE}
    month = PythonOperator(task_id="month", python_callable=find_month)
    table = PythonOperator(
        task_id="training_set", python_callable=make_training_set, op_kwargs=found
    )
    check = PythonOperator(task_id="check", python_callable=check_freshness, op_kwargs=made)
    train = PythonOperator(task_id="train", python_callable=fit_model, op_kwargs=made)
    serve = PythonOperator(task_id="serve", python_callable=compare_stores, op_kwargs=found)
    month >> table >> check >> train >> serve
