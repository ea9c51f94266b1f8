"""
### Mended: an asset and a contract between two DAGs

**What runs.** The source publishes the asset `pitfall_summary`: the event says where the summary
lies. The consumer is started by that event and reads the place from it. What a summary holds is
written down once, in `CONTRACT`, and checked by the source before it publishes.

**How to start it.** `make lab NAME=tight_coupling`. Run the source with `change` set to `moved`:
the consumer follows. Set to `renamed`: the source fails, and the consumer keeps the last good
summary.

**When it fails.** The message names the file and the key that is missing. Mend the source; the
consumer needs nothing.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, Param, dag, get_current_context, task

from course_pipelines import DEFAULT_ARGS

DAG_ID = "pitfall_tight_coupling_mended"
SUMMARY = Asset(name="pitfall_summary", uri="lake://labs/tight_coupling/summary", group="labs")
CONTRACT = ("month", "late_share")


@dag(
    dag_id=f"{DAG_ID}_source",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS | {"retry_delay": timedelta(seconds=1)},
    params={
        "month": Param("2013-01", type="string", pattern=r"^2013-(0[1-9]|1[0-2])$"),
        "change": Param("none", enum=["none", "moved", "renamed"]),
    },
    tags=["pitfall"],
    doc_md=__doc__,
)
def source_pipeline():
    @task(outlets=[SUMMARY])
    def summarise() -> None:
        """Write the summary of the month and publish its path."""
        import pyarrow.compute as pc

        from flightdelays import source
        from flightdelays.errors import DataError
        from flightdelays.lake import open_lake

        context = get_current_context()
        params = context["params"]
        flights = source.read_source("flights")
        month = flights.filter(pc.equal(flights["month"], int(params["month"][5:])))
        share = round(pc.mean(pc.greater(month["arr_delay"].drop_null(), 15)).as_py(), 4)
        name = "summary" if params["change"] == "moved" else "late"
        key = "delayed" if params["change"] == "renamed" else "late_share"
        summary = {"month": params["month"], key: share}
        lake = open_lake()
        path = lake.path("labs", "tight_coupling", "mended", f"{name}-{params['month']}.json")
        missing = [name for name in CONTRACT if name not in summary]
        if missing:
            raise DataError(
                f"{path}: {', '.join(missing)} promised by CONTRACT in {__file__} but not there: "
                "write it, or agree on another contract with the readers of the asset"
            )
        lake.write_json(path, summary)
        context["outlet_events"][SUMMARY].extra = {"path": path}

    summarise()


@dag(
    dag_id=DAG_ID,
    schedule=[SUMMARY],
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    default_args=DEFAULT_ARGS | {"retry_delay": timedelta(seconds=1)},
    tags=["pitfall"],
    doc_md=__doc__,
)
def consumer():
    @task(inlets=[SUMMARY])
    def report() -> dict[str, Any]:
        """What the published summary says."""
        from flightdelays.lake import open_lake

        event = get_current_context()["inlet_events"][SUMMARY][-1]
        summary = open_lake().read_json(event.extra["path"])
        return {name: summary[name] for name in CONTRACT}

    report()


source_pipeline()
consumer()
