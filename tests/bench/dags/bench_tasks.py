"""Tasks that do nothing, or sleep: what is measured is all that Airflow does around them."""

import time

from airflow.sdk import dag, get_current_context, get_parsing_context, task


@dag(schedule=None, max_active_tasks=1000, tags=["bench"])
def bench_many():
    """As many at a time as the executor takes."""

    @task
    def numbers() -> list[int]:
        return list(range(get_current_context()["dag_run"].conf.get("tasks", 200)))

    @task
    def nothing(number: int) -> None:
        time.sleep(get_current_context()["dag_run"].conf.get("seconds", 0))

    nothing.expand(number=numbers())


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


# A task parses the file for its own DAG; the others would be work for nothing.
only = get_parsing_context().dag_id
for make in (bench_many, bench_one, bench_elsewhere):
    if only in (None, make.__name__):
        make()
