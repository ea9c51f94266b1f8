"""
### Land one month of flights

**What runs.** One run lands one month: flights, weather, planes and airports are read, checked
and written to the lake as one partition. The month is that of the run's data interval, so
Airflow's own backfill lands any range, in parallel and in any order. Landing a month again
replaces it: the partition is the same file, and nothing is appended.

**How to start it.** `make demo` lands January to September 2013. By hand: trigger it with the
parameter `month` set to, say, `2013-10`, or backfill a range with
`ARGS="backfill create --dag-id ingest_flights --from-date 2013-10-01 --to-date 2013-12-31"`
to `make airflow`. Unpause it first: the runs of a paused DAG wait.

**When it fails.** The message names the file and the column, or the path. Wrong data fail at
once and leave the lake as it was; nothing of the month is half-written. Mend the file, clear
the task.
"""

from datetime import datetime

from airflow.sdk import CronDataIntervalTimetable, Param, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from course_pipelines import DEFAULT_ARGS, FLIGHTS, MONTH, Tag


@dag(
    # [START schedule]
    schedule=CronDataIntervalTimetable("0 0 1 * *", timezone="UTC"),
    start_date=datetime(2013, 1, 1),
    catchup=False,
    max_active_runs=4,
    # [END schedule]
    default_args=DEFAULT_ARGS,
    params={
        "month": Param(
            None,
            **MONTH,
            description="month to land, YYYY-MM; empty: that of the data interval",
        )
    },
    tags=[Tag.DATA, Tag.PRODUCTION],
    doc_md=__doc__,
)
def ingest_flights():
    @task(outlets=[FLIGHTS])
    def land() -> dict[str, int]:
        """Replace the month in the lake; returns the rows of each table."""
        from flightdelays import source
        from flightdelays.errors import NotPublishedError

        # [START month]
        context = get_current_context()
        interval = context.get("data_interval_start")
        month = context["params"]["month"] or (interval and f"{interval:%Y-%m}")
        if month is None:
            raise ValueError("a run without a data interval needs the parameter month (YYYY-MM)")
        # [END month]
        try:
            manifest = source.land(month)
        except NotPublishedError as error:
            # The schedule runs on for ever, the data end with 2013: nothing new is no failure.
            if context["dag_run"].run_type == "scheduled":
                print(f"nothing to land: {error}")
                raise AirflowSkipException from error
            raise
        for warning in manifest["warnings"]:
            print(f"note: {warning}")
        context["outlet_events"][FLIGHTS].extra = {"month": month}
        return {name: entry["rows"] for name, entry in manifest["tables"].items()}

    land()


ingest_flights()
