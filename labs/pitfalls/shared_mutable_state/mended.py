"""
### Mended: each task returns its own, one task joins

**What runs.** One mapped task a month counts the late flights and returns the number. `total`
gets all of them: Airflow keeps one XCom for each task instance, and nobody writes to another's.

**How to start it.** `make lab NAME=shared_mutable_state`. `seconds` is how long the work takes.

**When it fails.** A month that fails fails alone, and `total` does not start. Clear that one.
"""

from collections.abc import Iterable

from airflow.sdk import Param, dag, get_current_context, task

from course_pipelines import DEFAULT_ARGS


@dag(
    dag_id="pitfall_shared_mutable_state_mended",
    schedule=None,
    catchup=False,
    default_args=DEFAULT_ARGS | {"retries": 0},
    params={"seconds": Param(3, type="number", minimum=0)},
    tags=["pitfall"],
    doc_md=__doc__,
)
def pitfall():
    @task
    def count(month: int) -> int:
        """Late flights of a month."""
        import time

        import pyarrow.compute as pc

        from flightdelays import source

        flights = source.read_source("flights")
        delays = flights.filter(pc.equal(flights["month"], month))["arr_delay"]
        time.sleep(get_current_context()["params"]["seconds"])
        return pc.sum(pc.greater(delays, 15)).as_py()

    @task
    def total(late: Iterable[int]) -> dict[str, int]:
        """The numbers of all months, joined."""
        numbers = list(late)
        return {"months": len(numbers), "late": sum(numbers)}

    total(count.expand(month=[1, 2, 3, 4]))


pitfall()
