"""Exercise 2 with ``expand_kwargs`` and a table that a task of its own writes."""

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

    @task
    def assignments(models: list[str], flights: str) -> list[dict[str, str]]:
        return [{"model": model, "flights": flights} for model in models]

    @task(trigger_rule="all_done_min_one_success")
    def rank(results: list[dict]) -> list[dict]:
        return sorted(results, key=lambda result: (-result["f1"], result["model"]))

    @task
    def write(standings: list[dict]) -> str:
        from flightdelays import practice_tournament

        return practice_tournament.write_table(standings)

    @task
    def compare(standings: list[dict], table: str, params: dict) -> dict:
        finished = [result["model"] for result in standings]
        missing = [model for model in params["models"] if model not in finished]
        return {
            "winner": finished[0],
            "standings": standings,
            "missing": missing,
            "table": table,
        }

    standings = rank(compete.expand_kwargs(assignments(candidates(), prepare())))
    compare(standings, write(standings))


dynamic_task_mapping()
