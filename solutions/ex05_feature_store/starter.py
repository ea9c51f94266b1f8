"""Exercise 5: publish a month of features in Feast, and train on them as soon as they are there."""

from datetime import timedelta

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
    # TODO 1: build the facts of the month that the run asks for; skip what is built already.
    @task
    def build(params: dict) -> int:
        return 0

    # TODO 2: add `publish`: register the view, and bring the online store to the month's end.

    # TODO 3: let the run update the asset, with the month, when (and only when) it has published.

    build()


@dag(
    dag_id="ex05_train",
    # TODO 4: start this DAG whenever the asset is updated, and find out for which month.
    schedule=None,
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["exercise"],
    params={"month": MONTH},
    default_args=DEFAULT_ARGS,
)
def train_on_features() -> None:
    @task
    def month() -> str:
        return ""

    # TODO 5: add `training_set`: the month's departures, with what was known at each moment.

    # TODO 6: add `check`, which ends the run if too many features are missing.

    # TODO 7: add `train`, which fits the model on what is known before departure.

    # TODO 8: add `serve`, which compares the online store with the offline one.

    month()


build_features()
train_on_features()
