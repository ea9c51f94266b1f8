"""The winner has the best accuracy: most flights are on time, and who never cries wolf looks good.

Caught by: task 6, test_the_winner_has_the_best_f1
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

    @task(map_index_template="{{ task.op_kwargs['model'] }}")
    def compete(flights: str, model: str) -> dict:
        from flightdelays import practice_tournament

        return practice_tournament.compete(flights, model)

    @task(trigger_rule="all_done_min_one_success")
    def compare(results: list[dict], params: dict) -> dict:
        from flightdelays import practice_tournament

        standings = sorted(results, key=lambda result: result["accuracy"], reverse=True)
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
