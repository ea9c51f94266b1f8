"""TaskFlow: a call is a dependency, a return value is an XCom, a loop would run too early."""

from airflow.sdk import Param, dag, get_current_context, task


@dag(
    schedule=None,
    catchup=False,
    params={"month": Param("2013-09", pattern=r"^\d{4}-\d{2}$")},
    tags=["lecture"],
)
def l05_taskflow() -> None:
    # [START taskflow]
    @task(retries=2)
    def land() -> str:
        month = get_current_context()["params"]["month"]
        return f"raw/{month}.parquet"

    @task(multiple_outputs=True)
    def split(path: str) -> dict[str, str]:
        return {"train": f"{path}.train", "test": f"{path}.test"}

    @task
    def fit(train: str) -> str:
        return f"model of {train}"

    parts = split(land())
    fit(parts["train"])
    # [END taskflow]


l05_taskflow()
