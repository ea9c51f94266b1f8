"""
### Pitfall: a DAG that reads another's private file

**What runs.** Two DAGs of two teams. The source computes the share of late flights of a month
at four o'clock and keeps it in a file of its own. The consumer knows the path of that file and
hopes that it is ready at five.

**How to start it.** `make lab NAME=tight_coupling`. Run the source with `change` set to `moved`,
as if its team had tidied up: it writes to another file. Set to `renamed`, another key.

**When it fails.** After a move nothing fails: the old file is still there, and the consumer
reports last month's figures as this month's. After a renaming it is the consumer that breaks,
and its team that is called. `mended.py` beside this file has an asset and a contract.
"""

from datetime import datetime
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task

from course_pipelines import DEFAULT_ARGS

DAG_ID = "pitfall_tight_coupling_damage"


@dag(
    dag_id=f"{DAG_ID}_source",
    schedule="0 4 * * *",
    start_date=datetime(2013, 1, 1),
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    default_args=DEFAULT_ARGS | {"retries": 0},
    params={
        "month": Param("2013-01", type="string", pattern=r"^2013-(0[1-9]|1[0-2])$"),
        "change": Param("none", enum=["none", "moved", "renamed"]),
    },
    tags=["pitfall"],
    doc_md=__doc__,
)
def source_pipeline():
    @task
    def summarise() -> None:
        """Write the summary of the month to a working file."""
        import pyarrow.compute as pc

        from flightdelays import source
        from flightdelays.lake import open_lake

        params = get_current_context()["params"]
        flights = source.read_source("flights")
        month = flights.filter(pc.equal(flights["month"], int(params["month"][5:])))
        share = round(pc.mean(pc.greater(month["arr_delay"].drop_null(), 15)).as_py(), 4)
        name = "summary.json" if params["change"] == "moved" else "late.json"
        key = "delayed" if params["change"] == "renamed" else "late_share"
        lake = open_lake()
        path = lake.path("labs", "tight_coupling", "damage", name)
        lake.write_json(path, {"month": params["month"], key: share})

    summarise()


@dag(
    dag_id=DAG_ID,
    schedule="0 5 * * *",
    start_date=datetime(2013, 1, 1),
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    default_args=DEFAULT_ARGS | {"retries": 0},
    tags=["pitfall"],
    doc_md=__doc__,
)
def consumer():
    @task
    def report() -> dict[str, Any]:
        """What the other team's working file says."""
        from flightdelays.lake import open_lake

        lake = open_lake()
        summary = lake.read_json(lake.path("labs", "tight_coupling", "damage", "late.json"))
        return {"month": summary["month"], "late_share": summary["late_share"]}

    report()


source_pipeline()
consumer()
