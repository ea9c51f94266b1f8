"""
### Pitfall: a task that appends

**What runs.** `load` reads the flights of a month in two halves, as from a service that sends
pages, and appends each half to a table as it comes.

**How to start it.** `make lab NAME=not_idempotent`. With `interrupted` the first try breaks off
between the halves, and the retry does what a retry does: all of it again.

**When it fails.** It looks as if nothing had: every run is green, and the table holds some
flights twice. `mended.py` beside this file replaces the month.
"""

from datetime import timedelta

from airflow.sdk import Param, dag, get_current_context, task

from course_pipelines import DEFAULT_ARGS


@dag(
    dag_id="pitfall_not_idempotent_damage",
    schedule=None,
    catchup=False,
    default_args=DEFAULT_ARGS | {"retry_delay": timedelta(seconds=1)},
    params={
        "month": Param("2013-01", type="string", pattern=r"^2013-(0[1-9]|1[0-2])$"),
        "interrupted": Param(False, type="boolean", description="the first try breaks off"),
    },
    tags=["pitfall"],
    doc_md=__doc__,
)
def pitfall():
    @task
    def load() -> int:
        """Append the month; returns the rows of the table."""
        import pyarrow as pa
        import pyarrow.compute as pc

        from flightdelays import source
        from flightdelays.errors import ServiceError
        from flightdelays.lake import open_lake

        context = get_current_context()
        lake = open_lake()
        path = lake.path("labs", "not_idempotent", "damage", "flights.parquet")
        number = int(context["params"]["month"][5:])
        flights = source.read_source("flights")
        month = flights.filter(pc.equal(flights["month"], number))
        half = month.num_rows // 2
        for page in (month.slice(0, half), month.slice(half)):
            table = pa.concat_tables([lake.read_table(path), page]) if lake.exists(path) else page
            lake.write_table(path, table)
            if context["params"]["interrupted"] and context["ti"].try_number == 1:
                raise ServiceError("the connection broke after the first page, as it was asked to")
        return table.num_rows

    load()


pitfall()
