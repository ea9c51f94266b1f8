"""Exercise 2 with operators: the same tasks without a decorator."""

from datetime import timedelta

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Param, TriggerRule

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


def prepare() -> str:
    """Path of the flights."""
    from flightdelays import practice_tournament

    return practice_tournament.prepare()


def candidates(params: dict) -> list[str]:
    """Names of the models that the run asks for."""
    return params["models"]


def compete(ti, model: str) -> dict:
    """Scores of one candidate."""
    from flightdelays import practice_tournament

    return practice_tournament.compete(ti.xcom_pull(task_ids="prepare"), model)


def compare(ti, params: dict) -> dict:
    """Winner, standings, who is missing and the table."""
    from flightdelays import practice_tournament

    # A list of ids, so that this is a list even if one candidate alone finished.
    results = [result for result in ti.xcom_pull(task_ids=["compete"]) if result]
    results.sort(key=lambda result: -result["f1"])
    finished = {result["model"] for result in results}
    return {
        "winner": results[0]["model"],
        "standings": results,
        "missing": sorted(set(params["models"]) - finished),
        "table": practice_tournament.write_table(results),
    }


with DAG(
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
            examples=MODELS,
            uniqueItems=True,
        )
    },
    default_args={
        "owner": "you@example.com",
        "retries": 2,
        "retry_delay": timedelta(seconds=5),
    },
):
    flights = PythonOperator(task_id="prepare", python_callable=prepare)
    names = PythonOperator(task_id="candidates", python_callable=candidates)
    competing = PythonOperator.partial(
        task_id="compete",
        python_callable=compete,
        map_index_template="{{ task.op_kwargs['model'] }}",
    ).expand(
        op_kwargs=names.output.map(lambda name: {"model": name}),
    )
    compared = PythonOperator(
        task_id="compare",
        python_callable=compare,
        trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS,
    )
    flights >> competing >> compared
