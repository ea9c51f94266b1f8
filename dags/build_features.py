"""
### Build point-in-time features and publish them in Feast

**What runs.** Each feature view is a table of facts with the moment at which each became known.
Only months whose data or SQL changed are built again, each view in a mapped task of its own;
then the definitions are registered in Feast and the online store is brought to the latest facts.

**How to start it.** By itself when the asset `flights` changes, or trigger it. A run that finds
nothing to build skips the rest and starts nothing further. Success updates the asset `features`,
which starts `train_delay_model`.

**When it fails.** A message about a month that has not landed: run `ingest_flights` for it.
A message about the feature store: see `feature_repo/`. A failed view leaves the others built;
clear the failed task and only its months are built again.
"""

from datetime import timedelta

from airflow.sdk import dag, task

from course_pipelines import DEFAULT_ARGS, FEATURES, FLIGHTS, Tag
from flightdelays.settings import FEATURE_VIEWS


@dag(
    schedule=[FLIGHTS],
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=[Tag.FEATURES, Tag.PRODUCTION],
    doc_md=__doc__,
)
def build_features():
    @task.short_circuit
    def find_stale_months() -> list[str]:
        """Months to build; an empty list skips everything below."""
        from flightdelays import features

        return features.stale_months()

    @task(map_index_template="{{ task.op_kwargs['view'] }}", pool="training")
    def build(view: str, months: list[str]) -> int:
        """Replace the months of one view in the lake; returns the number of facts."""
        from flightdelays import features

        return sum(features.build(view, month) for month in months)

    @task(outlets=[FEATURES], execution_timeout=timedelta(minutes=5))
    def publish(months: list[str]) -> list[str]:
        """Register the views in Feast and bring the online store to the latest facts."""
        from flightdelays import source, store

        views = store.apply()
        store.materialize(store.end_of_month(source.landed_months()[-1]))
        return views

    months = find_stale_months()
    build.partial(months=months).expand(view=list(FEATURE_VIEWS)) >> publish(months)


build_features()
