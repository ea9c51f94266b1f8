"""
### Compute a new feature for all past months

**What runs.** One run computes one month of one feature view: that of its data interval, or of
the parameter `month`. A month needs the raw data of itself and of the month before, so the runs
may come in any order and side by side, and a month that is built again is the same file. The run
that finds no month of the view left to build publishes the view in Feast; other views are not
touched. The asset `features` is not updated, for twelve months would start twelve trainings, and
of a model that does not read the view yet: whoever adds it to the feature service starts
`build_features`, which registers that, and with it one training.

**How to start it.** Write the view (`feature_repo/README.md`), unpause this DAG, and let Airflow
create the runs: `.venv/bin/course airflow backfill create --dag-id backfill_feature
--from-date 2013-01-01 --to-date 2013-12-31 --max-active-runs 2 --reprocess-behavior completed
--dag-run-conf '{"view": "dest_delays"}'`. A backfill counts its own `--max-active-runs`, not
the DAG's. Airflow keeps one run a month: without `--reprocess-behavior completed` it leaves out
the months that were computed for another view. Months that have not landed are skipped, and
so is what the schedule starts: it is there because only a DAG with a clock can be backfilled.

**When it fails.** The message names the view, the file or the month. Mend the query or the
definition and create the backfill again; what is built already is built again, to the same
bytes. A failed `publish` leaves all months built: clear it.
"""

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import (
    CronDataIntervalTimetable,
    Param,
    TriggerRule,
    dag,
    get_current_context,
    task,
)
from airflow.sdk.exceptions import AirflowSkipException

from course_pipelines import DEFAULT_ARGS, MONTH, Tag


@dag(
    schedule=CronDataIntervalTimetable("0 0 1 * *", timezone="UTC"),
    start_date=datetime(2013, 1, 1),
    catchup=False,
    max_active_runs=2,
    default_args=DEFAULT_ARGS,
    params={
        "view": Param(
            None,
            type=["null", "string"],
            description="feature view to compute: a query in feature_repo/, without .sql",
        ),
        "month": Param(
            None,
            **MONTH,
            description="month to compute, YYYY-MM; empty: that of the data interval",
        ),
    },
    tags=[Tag.FEATURES, Tag.PRODUCTION],
    doc_md=__doc__,
)
def backfill_feature():
    @task
    def choose() -> dict[str, str]:
        """View and month of the run; a month that has not landed is skipped in a backfill."""
        from flightdelays import backfill, source

        context = get_current_context()
        run_type, params = context["dag_run"].run_type, context["params"]
        if run_type == "scheduled" and params["view"] is None:
            skip("the schedule names no feature view: create a backfill, or trigger a run")
        interval = context.get("data_interval_start")
        month = params["month"] or (interval and f"{interval:%Y-%m}")
        backfill.require(params["view"], month)
        landed = source.landed_months()
        if run_type == "backfill" and month not in landed:
            skip(f"{month} has not landed; landed so far: {', '.join(landed) or 'none'}")
        return {"view": params["view"], "month": month}

    @task(pool="training")
    def build(chosen: dict[str, str]) -> dict[str, Any]:
        """Replace the month of the view in the lake: its facts, and whether the view is whole."""
        from flightdelays import backfill

        return backfill.build(chosen["view"], chosen["month"])

    @task.branch
    def whole_view_gate(built: dict[str, Any]) -> str:
        """Publish once no month of the view is left to build."""
        return "publish" if built["whole"] else "report"

    @task(execution_timeout=timedelta(minutes=5))
    def publish(chosen: dict[str, str]) -> str:
        """Register the view in Feast and serve it; returns the month up to which it is known."""
        from flightdelays import backfill

        return backfill.publish(chosen["view"])

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def report(chosen: dict[str, str], built: dict[str, Any]) -> str:
        """Path of the verdict; the page for people lies beside it."""
        from flightdelays import backfill

        return backfill.report(chosen["view"], chosen["month"], built, run_name())

    chosen = choose()
    built = build(chosen)
    gate = whole_view_gate(built)
    verdict = report(chosen, built)
    gate >> publish(chosen) >> verdict
    gate >> verdict


def run_name() -> str:
    """Name of the run for files, the same at every try."""
    return get_current_context()["run_id"]


def skip(sentence: str) -> None:
    """Skip the task, and with it the rest of the run, with a sentence in its log."""
    print(f"nothing to compute: {sentence}")
    raise AirflowSkipException(sentence)


backfill_feature()
