"""The results of mapped tasks reach the task that collects them one by one."""

from typing import Any

from airflow.sdk import Param, dag, get_current_context, task


@dag(
    schedule=None,
    catchup=False,
    params={"models": Param(3, type="integer", minimum=0)},
    tags=["lecture"],
)
def l04_mapped() -> None:
    # [START mapped]
    @task
    def models() -> list[int]:
        return list(range(get_current_context()["params"]["models"]))

    @task
    def compete(number: int) -> dict[str, Any]:
        return {"model": number, "f1": number / 10}

    @task
    def best(results: Any) -> list[Any]:
        kind = type(results).__name__  # nothing is fetched yet
        return [kind, len(results), max(results, key=lambda each: each["f1"])["model"]]

    best(compete.expand(number=models()))
    # [END mapped]


l04_mapped()
