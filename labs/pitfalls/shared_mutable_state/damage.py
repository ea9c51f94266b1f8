"""
### Pitfall: parallel tasks that change one thing

**What runs.** One mapped task a month counts the late flights. Each adds its number to a list of
this module, and to a file: read, add, write. `total` sums up what it finds.

**How to start it.** `make lab NAME=shared_mutable_state`. `seconds` is how long the work between
reading and writing takes.

**When it fails.** It does not: every task is green. A task is a process of its own, so the list
that `total` sees is empty; and of tasks that read the file before another has written, the last
one to write wins. In `dag.test()`, one process and one task at a time, both work. `mended.py`
beside this file returns and joins.
"""

from airflow.sdk import Param, dag, get_current_context, task

from course_pipelines import DEFAULT_ARGS

COUNTED: list[int] = []


@dag(
    dag_id="pitfall_shared_mutable_state_damage",
    schedule=None,
    catchup=False,
    default_args=DEFAULT_ARGS | {"retries": 0},
    params={"seconds": Param(3, type="number", minimum=0)},
    tags=["pitfall"],
    doc_md=__doc__,
)
def pitfall():
    @task
    def count(month: int) -> None:
        """Add the late flights of a month to what all months share."""
        import time

        import pyarrow.compute as pc

        from flightdelays import source
        from flightdelays.lake import open_lake

        lake = open_lake()
        path = lake.path("labs", "shared_mutable_state", "late.json")
        late = lake.read_json(path) if lake.exists(path) else {}
        flights = source.read_source("flights")
        delays = flights.filter(pc.equal(flights["month"], month))["arr_delay"]
        time.sleep(get_current_context()["params"]["seconds"])
        late[str(month)] = pc.sum(pc.greater(delays, 15)).as_py()
        lake.write_json(path, late)
        COUNTED.append(month)

    @task
    def total() -> dict[str, int]:
        """What the list and the file hold when all months are counted."""
        from flightdelays.lake import open_lake

        lake = open_lake()
        late = lake.read_json(lake.path("labs", "shared_mutable_state", "late.json"))
        return {"in_list": len(COUNTED), "months": len(late), "late": sum(late.values())}

    count.expand(month=[1, 2, 3, 4]) >> total()


pitfall()
