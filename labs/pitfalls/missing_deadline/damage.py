"""
### Pitfall: an `sla` that Airflow 3 ignores

**What runs.** `count` counts the flights of a month. It must be done within a second, says
`sla`, as it did in Airflow 2. Airflow 3 accepts the word, warns once while the file is parsed, and
never looks at it again.

**How to start it.** `make lab NAME=missing_deadline`.

**When it fails.** A late run is late in silence. `mended.py` beside this file has a deadline.
"""

from datetime import timedelta

from airflow.sdk import dag, task

import course_alerts
from course_pipelines import DEFAULT_ARGS


@dag(
    dag_id="pitfall_missing_deadline_damage",
    schedule=None,
    catchup=False,
    default_args=DEFAULT_ARGS | {"sla": timedelta(seconds=1)},
    sla_miss_callback=course_alerts.run_late,  # noqa: AIR311 - the pitfall itself
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
