"""
### Mended: the path of a month of flights through XCom

**What runs.** `extract` writes the flights of a month into the lake and returns where they lie;
`late_share` reads the one column that it needs from there.

**How to start it.** `make lab NAME=large_xcom`, or trigger it with another `month`.

**When it fails.** The message names the path. The file of a month is replaced by the next run.
"""

from datetime import timedelta

from airflow.sdk import Param, dag, get_current_context, task

from course_pipelines import DEFAULT_ARGS


@dag(
    dag_id="pitfall_large_xcom_mended",
    schedule=None,
    catchup=False,
    default_args=DEFAULT_ARGS | {"retry_delay": timedelta(seconds=1)},
    params={"month": Param("2013-01", type="string", pattern=r"^2013-(0[1-9]|1[0-2])$")},
    tags=["pitfall"],
    doc_md=__doc__,
)
def pitfall():
    @task
    def extract() -> str:
        """Path of the flights of the month, a Parquet file in the lake."""
        import pyarrow.compute as pc

        from flightdelays import source
        from flightdelays.lake import open_lake

        lake = open_lake()
        month = get_current_context()["params"]["month"]
        path = lake.partition("labs/large_xcom", month)
        flights = source.read_source("flights")
        lake.write_table(path, flights.filter(pc.equal(flights["month"], int(month[5:]))))
        return path

    @task
    def late_share(path: str) -> float:
        """Share of the flights that arrived more than 15 minutes late."""
        import pyarrow.compute as pc

        from flightdelays.lake import open_lake

        delays = open_lake().read_table(path)["arr_delay"].drop_null()
        return round(pc.mean(pc.greater(delays, 15)).as_py(), 4)

    late_share(extract())


pitfall()
