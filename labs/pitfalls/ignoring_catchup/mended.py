"""
### Mended: no catching up, one run at a time

**What runs.** Every morning `train` would train on the flights until then. Unpaused, it makes
one run, the last that is due. The past is asked for on purpose, with a limit: `airflow backfill
create --dag-id pitfall_ignoring_catchup_mended --from-date … --to-date … --max-active-runs 2`.

**How to start it.** `make lab NAME=ignoring_catchup` counts the runs and starts none.

**When it fails.** The next morning's run waits until this one is done.
"""

from datetime import datetime

from airflow.sdk import CronTriggerTimetable, dag, task

from course_pipelines import DEFAULT_ARGS


@dag(
    dag_id="pitfall_ignoring_catchup_mended",
    schedule=CronTriggerTimetable("0 6 * * *", timezone="UTC"),
    start_date=datetime(2013, 1, 1),
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["pitfall"],
    doc_md=__doc__,
)
def pitfall():
    @task
    def train() -> int:
        """Flights to train on."""
        from flightdelays import source

        return source.read_source("flights").num_rows

    train()


pitfall()
