"""Tasks that do nothing: what is measured is all that Airflow does around them."""

from airflow.sdk import dag, task

TASKS = 200


@dag(schedule=None, max_active_tasks=TASKS, tags=["bench"])
def bench_many():
    """As many at a time as the executor takes."""

    @task
    def nothing(number: int) -> None:
        pass

    nothing.expand(number=list(range(TASKS)))


@dag(schedule=None, tags=["bench"])
def bench_one():
    """A single one."""

    @task
    def nothing() -> None:
        pass

    nothing()


@dag(schedule=None, tags=["bench"])
def bench_elsewhere():
    """One that the scheduler never starts, for its pool has no slot: somebody else runs it."""

    @task(pool="bench_closed")
    def nothing() -> None:
        pass

    nothing()


bench_many()
bench_one()
bench_elsewhere()
