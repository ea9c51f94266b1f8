"""A DAG for each entry of a list: a factory, small enough to read at once."""

from zlib import crc32

from airflow.sdk import CronTriggerTimetable, dag, get_parsing_context, task

MARKETS = {"ewr_united": ["UA"], "jfk_delta": ["DL", "9E"], "lga_us_airways": ["US"]}


# [START factory]
def make(dag_id: str, carriers: list[str]) -> None:
    minute = crc32(dag_id.encode()) % 240  # its own, and the same at each parse

    @dag(
        dag_id=dag_id,
        schedule=CronTriggerTimetable(f"{minute % 60} {4 + minute // 60} * * *", timezone="UTC"),
        catchup=False,
        tags=["lecture"],
    )
    def market() -> None:
        @task
        def train() -> str:
            return f"a model for {', '.join(carriers)}"

        train()

    market()


only = get_parsing_context().dag_id  # a task parses the file for one DAG, its own
for name, carriers in MARKETS.items():
    if only in (None, f"l10_factory_{name}"):
        make(f"l10_factory_{name}", carriers)
# [END factory]
