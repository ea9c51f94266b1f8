"""What may be returned, what each value becomes in XCom, and what is refused."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from airflow.sdk import dag, task


@dataclass
class Score:
    """Written without complaint; refused when it is read."""

    model: str
    auc: float


class Model:
    """Nothing that Airflow knows how to write."""


@dag(schedule=None, catchup=False, tags=["lecture"])
def l04_types() -> None:
    # [START types]
    @task
    def plain() -> list[Any]:
        return ["2013-01", 0.76, None, date(2013, 1, 1), {"EWR", "JFK"}, (1, 2)]

    @task
    def score() -> Score:  # a dataclass
        return Score("forest", 0.75)

    @task
    def fitted() -> Model:  # an object of your own
        return Model()

    @task
    def read(value: Any) -> str:
        return repr(value)

    read(plain())  # the same values again, a date among them
    read.override(task_id="read_score")(score())  # ImportError, in the task that reads
    fitted()  # TypeError, in the task that returns
    # [END types]


l04_types()
