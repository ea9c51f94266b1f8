"""A task in another Python: its function travels as text and takes nothing else along."""

import sys

from airflow.sdk import dag, task

THRESHOLD = 0.5


@dag(schedule=None, catchup=False, tags=["lecture"])
def l05_elsewhere() -> None:
    # [START elsewhere]
    @task.external_python(python=sys.executable, expect_airflow=False)
    def fit(source: str) -> dict[str, object]:
        import os  # what it needs, it imports itself

        return {"source": source, "sees_threshold": "THRESHOLD" in globals(), "pid": os.getpid()}

    # [END elsewhere]
    @task
    def here() -> int:
        import os

        return os.getpid()

    fit("runs/1/training_set.parquet")
    here()


l05_elsewhere()
