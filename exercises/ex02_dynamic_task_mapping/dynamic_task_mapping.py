"""Exercise 2: let as many models compete as the run asks for, and find the best by F1."""

from datetime import timedelta

from airflow.sdk import Param, dag, task

MODELS = [
    "never_late",
    "bayes",
    "logistic",
    "balanced_logistic",
    "tree",
    "balanced_tree",
    "forest",
    "balanced_forest",
    "nearest",
]


@dag(
    dag_id="ex02_dynamic_task_mapping",
    schedule=None,
    catchup=False,
    doc_md=__doc__,
    tags=["exercise"],
    params={
        "models": Param(
            ["bayes", "logistic", "balanced_logistic", "tree"],
            description="models that compete",
            type="array",
            items={"enum": MODELS},
            examples=MODELS,  # what the form in the UI offers
            uniqueItems=True,
        )
    },
    default_args={
        "owner": "you@example.com",
        "retries": 2,
        "retry_delay": timedelta(seconds=5),
    },
)
def dynamic_task_mapping() -> None:
    # TODO 1: return the path that `practice_tournament.prepare` gives.
    @task
    def prepare() -> str:
        return ""

    # TODO 2: return the names of the models that the run asks for.
    @task
    def candidates(params: dict) -> list[str]:
        return []

    # TODO 3: add `compete`, with one mapped instance for each candidate.

    # TODO 4: let each instance of `compete` carry the name of its model.

    # TODO 5: add `compare`, which waits for all candidates and goes on without those that failed.

    # TODO 6: let `compare` return the winner by F1, the standings, and who is missing.

    # TODO 7: let `compare` write the table as well, and return its path.

    # TODO 8: start it with no model at all, and think of a run in which every candidate fails.

    prepare()
    candidates()


dynamic_task_mapping()
