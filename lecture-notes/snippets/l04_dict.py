"""An annotation decides how many XComs a returned dictionary becomes."""

from airflow.sdk import dag, task


@dag(schedule=None, catchup=False, tags=["lecture"])
def l04_dict() -> None:
    # [START dict]
    @task
    def split() -> dict[str, str]:
        return {"train": "lake/train.parquet", "test": "lake/test.parquet"}

    @task(multiple_outputs=False)
    def split_once() -> dict[str, str]:
        return {"train": "lake/train.parquet", "test": "lake/test.parquet"}

    @task
    def fit(path: str) -> str:
        return path

    parts = split()
    fit(parts["train"])  # reads one XCom, not the dictionary
    split_once()
    # [END dict]


l04_dict()
