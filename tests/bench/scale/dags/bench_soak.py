"""The soak's own load: short runs every minute, and tasks that fail in three ways."""

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

TASKS = 8


@dag(
    schedule=CronTriggerTimetable("* * * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=3,
    tags=["bench"],
)
def bench_soak():
    """Mapped tasks whose results are joined."""

    @task
    def square(number: int) -> int:
        return number * number

    @task
    def add(numbers: list[int]) -> int:
        return sum(numbers)

    add(square.expand(number=list(range(TASKS))))


@dag(
    schedule=CronTriggerTimetable("*/2 * * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=3,
    default_args={"retries": 1, "retry_delay": timedelta(seconds=3)},
    tags=["bench"],
)
def bench_soak_failures():
    """One task gets over its failure, one loses its process, one never succeeds."""

    def first_try() -> bool:
        return get_current_context()["ti"].try_number == 1

    @task
    def flaky() -> None:
        if first_try():
            raise RuntimeError("the first try fails, as planned")

    @task
    def killed() -> None:
        import os
        import signal

        if first_try():
            os.kill(os.getpid(), signal.SIGKILL)

    @task(retries=0)
    def broken() -> None:
        raise RuntimeError("fails for good, as planned")

    flaky()
    killed()
    broken()


bench_soak()
bench_soak_failures()
