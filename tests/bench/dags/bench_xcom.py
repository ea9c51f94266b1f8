"""A value goes from one task to the next: through XCom, or as a file whose path goes through it.

Each task times its own part and returns the seconds. The value is random text, which neither
Parquet nor PostgreSQL can make much smaller.
"""

import time

from airflow.sdk import Param, dag, get_current_context, task

PART = 1_000
KEY = "value"


def text(length: int) -> str:
    """Random letters and digits."""
    import base64
    import os

    return base64.b64encode(os.urandom(length))[:length].decode()


@dag(schedule=None, params={"length": Param(1_000, type="integer")}, tags=["bench"])
def bench_xcom():
    @task
    def push() -> float:
        """From the value to the answer that it is stored."""
        context = get_current_context()
        value = text(context["params"]["length"])
        begin = time.perf_counter()
        context["ti"].xcom_push(key=KEY, value=value)
        return time.perf_counter() - begin

    @task
    def pull() -> float:
        """From the question to the value."""
        context = get_current_context()
        begin = time.perf_counter()
        value = context["ti"].xcom_pull(task_ids="push", key=KEY)
        seconds = time.perf_counter() - begin
        assert len(value) == context["params"]["length"]
        return seconds

    push() >> pull()


@dag(schedule=None, params={"length": Param(1_000, type="integer")}, tags=["bench"])
def bench_xcom_path():
    @task
    def push() -> float:
        """Write a table with as much text to the lake, and push its path."""
        import pyarrow as pa

        from flightdelays.lake import open_lake

        context = get_current_context()
        value = text(context["params"]["length"])
        parts = [value[begin : begin + PART] for begin in range(0, len(value), PART)]
        begin = time.perf_counter()
        lake = open_lake()
        path = lake.path("bench", "value.parquet")
        lake.write_table(path, pa.table({"text": parts}))
        context["ti"].xcom_push(key=KEY, value=path)
        return time.perf_counter() - begin

    @task
    def pull() -> float:
        """Pull the path and read the table."""
        import pyarrow.compute as pc

        from flightdelays.lake import open_lake

        context = get_current_context()
        begin = time.perf_counter()
        table = open_lake().read_table(context["ti"].xcom_pull(task_ids="push", key=KEY))
        seconds = time.perf_counter() - begin
        length = pc.sum(pc.utf8_length(table["text"])).as_py()
        assert length == context["params"]["length"]
        return seconds

    push() >> pull()


bench_xcom()
bench_xcom_path()
