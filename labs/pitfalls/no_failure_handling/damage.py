"""
### Pitfall: nobody planned for a failure

**What runs.** `prepare` makes a working file, `ask_service` asks a service, `clean_up` removes
the file. There is no second try, nobody is told, and the clean-up is a task like any other: it
runs when all went well.

**How to start it.** `make lab NAME=no_failure_handling`. `plant` is a fault of the service: `flaky`
fails once, `failure` every time.

**When it fails.** At the first hiccup, in silence, leaving its file. `mended.py` beside this
file tries again, tells people and always cleans up.
"""

from datetime import timedelta

from airflow.sdk import Param, dag, get_current_context, task


@dag(
    dag_id="pitfall_no_failure_handling_damage",
    schedule=None,
    catchup=False,
    default_args={
        "owner": "ml-platform@example.com",
        "retries": 0,
        "execution_timeout": timedelta(minutes=10),
    },
    params={"plant": Param("none", enum=["none", "flaky", "failure"])},
    tags=["pitfall"],
    doc_md=__doc__,
)
def pitfall():
    @task
    def prepare() -> str:
        """Path of a working file: the flights of January."""
        import pyarrow.compute as pc

        from flightdelays import source
        from flightdelays.lake import file_name, open_lake

        lake = open_lake()
        run = file_name(get_current_context()["run_id"])
        path = lake.path("labs", "no_failure_handling", "damage", f"{run}.parquet")
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

    @task
    def clean_up(path: str) -> None:
        """Remove the working file."""
        from flightdelays.lake import open_lake

        open_lake().remove_file(path)

    path = prepare()
    ask_service(path) >> clean_up(path)


pitfall()
