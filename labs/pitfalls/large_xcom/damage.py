"""
### Pitfall: a month of flights through XCom

**What runs.** `extract` returns all flights of a month, `late_share` counts those that were late.
What a task returns is an XCom: every row goes through the API server into Airflow's own database.

**How to start it.** `make lab NAME=large_xcom`, or trigger it with another `month`.

**When it fails.** The API server or the database refuses the value, or both grow slow for
everybody. `mended.py` beside this file passes a path.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task

from course_pipelines import DEFAULT_ARGS


@dag(
    dag_id="pitfall_large_xcom_damage",
    schedule=None,
    catchup=False,
    default_args=DEFAULT_ARGS | {"retry_delay": timedelta(seconds=1)},
    params={"month": Param("2013-01", type="string", pattern=r"^2013-(0[1-9]|1[0-2])$")},
    tags=["pitfall"],
    doc_md=__doc__,
)
def pitfall():
    @task
    def extract() -> list[dict[str, Any]]:
        """All flights of the month, one dictionary each."""
        import pyarrow.compute as pc

        from flightdelays import source

        month = get_current_context()["params"]["month"]
        flights = source.read_source("flights")
        wanted = pc.equal(flights["month"], int(month[5:]))
        return flights.filter(wanted).to_pylist()

    @task
    def late_share(flights: list[dict[str, Any]]) -> float:
        """Share of the flights that arrived more than 15 minutes late."""
        delays = [row["arr_delay"] for row in flights if row["arr_delay"] is not None]
        return round(sum(delay > 15 for delay in delays) / len(delays), 4)

    late_share(extract())


pitfall()
