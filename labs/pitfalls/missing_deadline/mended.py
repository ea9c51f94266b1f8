"""
### Mended: a deadline alert

**What runs.** `count` counts the flights of a month. The run must be done one second after it was
queued; if it is not, the scheduler finds the missed deadline and the triggerer sends the alert.

**How to start it.** `make lab NAME=missing_deadline`.

**When it fails.** No alert came: the callback must be an `async` function in `plugins/`, and the
connection `apprise_default` must name an address. It logs in the triggerer.
"""

from datetime import timedelta

from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference, dag, task

import course_alerts
from course_pipelines import DEFAULT_ARGS


@dag(
    dag_id="pitfall_missing_deadline_mended",
    schedule=None,
    catchup=False,
    default_args=DEFAULT_ARGS,
    deadline=[
        DeadlineAlert(
            name="done within a second",
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=timedelta(seconds=1),
            callback=AsyncCallback(course_alerts.run_late),
        )
    ],
    tags=["pitfall"],
    doc_md=__doc__,
)
def pitfall():
    @task
    def count() -> int:
        """Flights of January."""
        import pyarrow.compute as pc

        from flightdelays import source

        return pc.sum(pc.equal(source.read_source("flights")["month"], 1)).as_py()

    count()


pitfall()
