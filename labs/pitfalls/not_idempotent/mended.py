"""
### Mended: a task that replaces its partition

**What runs.** `load` collects the two halves of a month and then writes the partition of that
month, whole or not at all. Another run of the same month replaces the same file.

**How to start it.** `make lab NAME=not_idempotent`. With `interrupted` the first try breaks off
between the halves; nothing has been written by then.

**When it fails.** The month is as it was before. Clear the task.
"""

from datetime import timedelta

from airflow.sdk import Param, dag, get_current_context, task

from course_pipelines import DEFAULT_ARGS


@dag(
    dag_id="pitfall_not_idempotent_mended",
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
        """Replace the month; returns its rows."""
        import pyarrow as pa
        import pyarrow.compute as pc

        from flightdelays import source
        from flightdelays.errors import ServiceError
        from flightdelays.lake import open_lake

        context = get_current_context()
        lake = open_lake()
        path = lake.partition("labs/not_idempotent/mended", context["params"]["month"])
        number = int(context["params"]["month"][5:])
        flights = source.read_source("flights")
        month = flights.filter(pc.equal(flights["month"], number))
        half = month.num_rows // 2
        # [START replace]
        pages = []
        for page in (month.slice(0, half), month.slice(half)):
            pages.append(page)
            if context["params"]["interrupted"] and context["ti"].try_number == 1:
                raise ServiceError("the connection broke after the first page, as it was asked to")
        # The file is written beside its place and moved there: no reader sees half of it.
        lake.write_table(path, pa.concat_tables(pages))
        # [END replace]
        return month.num_rows

    load()


pitfall()
