"""
### Mended: retries, an alert, a teardown

**What runs.** `prepare` makes a working file, `ask_service` asks a service, `clean_up` removes
the file. A service that fails is asked three times; a try that cannot help, because the data are
wrong, is spared (`retry_policy` in `plugins/course_pipelines.py`). Who fails for good tells
people, and the clean-up is a teardown: it runs whatever has happened.

**How to start it.** `make lab NAME=no_failure_handling`. `plant` is a fault of the service: `flaky`
fails once, `failure` every time.

**When it fails.** The alert names the log. The working file is gone; clear the whole run.
"""

from datetime import timedelta

from airflow.sdk import Param, dag, get_current_context, setup, task, teardown

import course_alerts
from course_pipelines import DEFAULT_ARGS


@dag(
    dag_id="pitfall_no_failure_handling_mended",
    schedule=None,
    catchup=False,
    default_args=DEFAULT_ARGS
    | {
        "retry_delay": timedelta(seconds=1),
        "on_failure_callback": course_alerts.task_failed,
    },
    on_failure_callback=course_alerts.run_failed,
    params={"plant": Param("none", enum=["none", "flaky", "failure"])},
    tags=["pitfall"],
    doc_md=__doc__,
)
def pitfall():
    @setup
    def prepare() -> str:
        """Path of a working file: the flights of January."""
        import pyarrow.compute as pc

        from flightdelays import source
        from flightdelays.lake import file_name, open_lake

        lake = open_lake()
        run = file_name(get_current_context()["run_id"])
        path = lake.path("labs", "no_failure_handling", "mended", f"{run}.parquet")
        flights = source.read_source("flights")
        lake.write_table(path, flights.filter(pc.equal(flights["month"], 1)))
        return path

    @task
    def ask_service(path: str) -> int:
        """Flights that the service has taken."""
        from flightdelays import faults
        from flightdelays.lake import open_lake

        context = get_current_context()
        faults.plant(context["params"]["plant"], context["ti"].try_number)
        return open_lake().read_table(path).num_rows

    @teardown
    def clean_up(path: str) -> None:
        """Remove the working file."""
        from flightdelays.lake import open_lake

        open_lake().remove_file(path)

    path = prepare()
    ask_service(path) >> clean_up(path)


pitfall()
