"""
### Pitfall: a start date in the past, and catching up

**What runs.** Every morning `train` would train on the flights until then. It starts in 2013 and
catches up: whoever unpauses it asks for one run for each day since.

**How to start it.** `make lab NAME=ignoring_catchup` counts the runs and starts none. Leave it
paused elsewhere.

**When it fails.** Sixteen runs at once (`max_active_runs_per_dag`) fill every slot for hours, and
each has the data of today. `mended.py` beside this file starts one.
"""

from datetime import datetime

from airflow.sdk import CronTriggerTimetable, dag, task

from course_pipelines import DEFAULT_ARGS


@dag(
    dag_id="pitfall_ignoring_catchup_damage",
    schedule=CronTriggerTimetable("0 6 * * *", timezone="UTC"),
    start_date=datetime(2013, 1, 1),
    catchup=True,
    is_paused_upon_creation=True,
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
