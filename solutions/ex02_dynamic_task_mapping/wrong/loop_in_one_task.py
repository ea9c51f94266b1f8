"""One task trains all models in a loop: one log, one try for all, and nothing runs side by side.

Caught by: task 3, test_each_candidate_has_an_instance
"""

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
    @task
    def prepare() -> str:
        from flightdelays import practice_tournament

        return practice_tournament.prepare()

    @task
    def candidates(params: dict) -> list[str]:
        return params["models"]

    @task
    def compete(flights: str, models: list[str]) -> list[dict]:
        from flightdelays import practice_tournament

        return [practice_tournament.compete(flights, model) for model in models]

    @task(trigger_rule="all_done_min_one_success")
    def compare(results: list[dict], params: dict) -> dict:
        from flightdelays import practice_tournament

        standings = sorted(results, key=lambda result: result["f1"], reverse=True)
        finished = [result["model"] for result in standings]
        return {
            "winner": finished[0],
            "standings": standings,
            "missing": [model for model in params["models"] if model not in finished],
            "table": practice_tournament.write_table(standings),
        }

    results = compete(prepare(), candidates())
    compare(results)


dynamic_task_mapping()
