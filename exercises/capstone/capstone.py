"""Capstone: from a month of flights to a deployed model, in one DAG."""

from airflow.sdk import Param, dag, task

GATE = 0.60


@dag(
    dag_id="capstone",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["exercise"],
    params={
        "month": Param("2013-01", type="string", pattern=r"^\d{4}-(0[1-9]|1[0-2])$"),
        "models": Param(["bayes", "logistic"], type="array", minItems=1),
    },
    # TODO 7: failures that waiting may mend are tried again; working files never stay.
    # TODO 8: a failed run tells people, and so does one that is not done in half an hour.
    default_args={"owner": "you@example.com"},
)
def capstone() -> None:
    # TODO 1: land the month, build its features, and publish them in Feast.
    @task
    def land(params: dict) -> str:
        return ""

    # TODO 2: add `training_set`.

    # TODO 3: add `train`, once for each model.

    # TODO 4: add `evaluate`, which finds the best of those that were trained.

    # TODO 5: decide between `deploy` and `alert`.

    # TODO 6: add `report`.

    # TODO 9: run it twice.

    land()


capstone()
