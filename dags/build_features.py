"""
### Build point-in-time features and publish them in Feast

**What runs.** Each feature view is a table of facts with the moment at which each became known;
the views are the queries in `feature_repo/`. Only months whose data or SQL changed are built
again, each view that has such months in a mapped task of its own; then the definitions are
registered in Feast and the online store is brought to the latest facts.

**How to start it.** By itself when the asset `flights` changes, or trigger it: after the feature
service in `feature_repo/definitions.py` was changed, for example. A run that finds nothing to
build and nothing to register skips the rest and starts nothing further. Success updates the asset
`features`, which starts `train_delay_model`.

**When it fails.** A message about a month that has not landed: run `ingest_flights` for it.
A message about a query, a definition or the feature store: see `feature_repo/`. A failed view
leaves the others built; clear the failed task and only its months are built again.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import TriggerRule, dag, task

from course_pipelines import DEFAULT_ARGS, FEATURES, FLIGHTS, Tag


@dag(
    schedule=[FLIGHTS],
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=[Tag.FEATURES, Tag.PRODUCTION],
    doc_md=__doc__,
)
def build_features():
    @task
    def find_stale() -> list[dict[str, Any]]:
        """The views that have months to build, each with these months."""
        from flightdelays import features

        stale = features.stale()
        return [{"view": view, "months": months} for view, months in stale.items() if months]

    @task(map_index_template="{{ task.op_kwargs['view'] }}", pool="training")
    def build(view: str, months: list[str]) -> int:
        """Replace the months of one view in the lake; returns the number of facts."""
        from flightdelays import features

        return sum(features.build(view, month) for month in months)

    @task.short_circuit
    def anything_new(stale: list[dict[str, Any]]) -> bool:
        """Whether to publish: something is built, or the model is to read other views."""
        from flightdelays import store

        return bool(stale) or not store.service_is_registered()

    # With nothing to build the mapped task is skipped, and the definitions may still be new.
    @task(
        outlets=[FEATURES],
        execution_timeout=timedelta(minutes=5),
        trigger_rule=TriggerRule.NONE_FAILED,
    )
    def publish() -> list[str]:
        """Register the views in Feast and bring the online store to the latest facts."""
        from flightdelays import source, store

        views = store.apply()
        store.materialize(store.end_of_month(source.landed_months()[-1]))
        return views

    stale = find_stale()
    [build.expand_kwargs(stale), anything_new(stale)] >> publish()


build_features()
