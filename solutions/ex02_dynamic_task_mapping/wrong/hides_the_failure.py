"""Nobody finished, and `compare` says so in a green run: no alarm, and no winner.

Caught by: task 8, test_a_run_in_which_nobody_finishes_fails
"""

from datetime import timedelta

from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowSkipException

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
    @task
    def prepare() -> str:
        from flightdelays import practice_tournament

        return practice_tournament.prepare()

    @task
    def candidates(params: dict) -> list[str]:
        return params["models"]

    @task(map_index_template="{{ task.op_kwargs['model'] }}")
    def compete(flights: str, model: str) -> dict:
        from flightdelays import practice_tournament

        return practice_tournament.compete(flights, model)

    @task(trigger_rule="all_done")
    def compare(results: list[dict], params: dict) -> dict:
        from flightdelays import practice_tournament

        if params["models"] and not list(results):
            return {"winner": None, "standings": [], "missing": params["models"], "table": None}
        if not params["models"]:
            raise AirflowSkipException("there is nobody to compare")
        standings = sorted(results, key=lambda result: result["f1"], reverse=True)
        finished = [result["model"] for result in standings]
        return {
            "winner": finished[0],
            "standings": standings,
            "missing": [model for model in params["models"] if model not in finished],
            "table": practice_tournament.write_table(standings),
        }

    results = compete.partial(flights=prepare()).expand(model=candidates())
    compare(results)


dynamic_task_mapping()
