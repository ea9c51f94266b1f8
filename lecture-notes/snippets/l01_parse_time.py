"""What is computed while the file is read, and what while the task runs."""

from datetime import UTC, datetime

from airflow.sdk import dag, task

# [START parse_time]
READ_AT = datetime.now(UTC).isoformat()  # at each parse, in each process that parses


@dag(schedule=None, catchup=False, tags=["lecture"])
def l01_parse_time() -> None:
    @task
    def name_the_model() -> str:
        return datetime.now(UTC).isoformat()  # once, when the task runs

    # [END parse_time]
    @task
    def compare(named: str) -> bool:
        return named > READ_AT

    compare(name_the_model())


l01_parse_time()
