"""The capstone with operators in a `with` block: no decorators, functions that tests can import."""

from datetime import timedelta

from airflow.providers.standard.operators.python import BranchPythonOperator, PythonOperator
from airflow.sdk import (
    DAG,
    AsyncCallback,
    DeadlineAlert,
    DeadlineReference,
    Param,
    get_current_context,
)

import course_alerts

GATE = 0.60


def pulled(task_id: str) -> str:
    """What a task returned, as a template."""
    return f"{{{{ ti.xcom_pull(task_ids='{task_id}') }}}}"


def run_name() -> str:
    """Name of the run's working folder, the same at every try."""
    return get_current_context()["run_id"]


def land_month(month: str) -> None:
    """Copy the month into the lake."""
    from flightdelays import source

    source.land(month)


def publish_month(month: str) -> None:
    """Build the month's facts, and make them known to Feast, offline and online."""
    from flightdelays import features, store
    from flightdelays.practice_features import VIEW

    features.build(VIEW, month)
    store.apply(view=VIEW)
    until = store.end_of_month(month)
    feast = store.open_store()
    feast.materialize(until - timedelta(days=1), until, feature_views=[VIEW])


def join_facts(month: str) -> str:
    """Path of the month's departures with what was known at each."""
    from flightdelays import store
    from flightdelays.practice_features import REFERENCES, departures, save

    rows = departures(month)
    joined = store.open_store().get_historical_features(entity_df=rows, features=REFERENCES)
    return save(joined.to_df(), month)


def list_models() -> list[list[str]]:
    """Arguments of each training."""
    return [[model] for model in get_current_context()["params"]["models"]]


def train_one(model: str) -> list[str]:
    """Name and file of one fitted model."""
    from flightdelays import practice_models

    table = get_current_context()["ti"].xcom_pull(task_ids="training_set")
    return [model, practice_models.fit(table, model, run_name())]


def find_best(table: str, fitted: list[list[str]]) -> dict:
    """Name, AUC and file of the best of those that could be trained."""
    from flightdelays import practice_models

    measured = [(practice_models.evaluate(path, table), model, path) for model, path in fitted]
    auc, model, path = max(measured)
    return {"model": model, "auc": auc, "path": path}


def choose(table: str) -> str:
    """The task to go on with; nothing but a champion on the same rows is a rival."""
    from flightdelays import practice_models

    best = get_current_context()["ti"].xcom_pull(task_ids="evaluate")
    champion = practice_models.champion()
    least = practice_models.evaluate(champion["path"], table) if champion else 0.0
    return "deploy" if best["auc"] >= GATE and best["auc"] > least else "alert"


def deploy_best(month: str) -> str:
    """Make the best model the champion."""
    from flightdelays import practice_models

    best = get_current_context()["ti"].xcom_pull(task_ids="evaluate")
    return practice_models.deploy(best["path"], best["model"], month, best["auc"])


def say_no() -> None:
    """Tell why nothing was deployed."""
    print("Not deployed:", get_current_context()["ti"].xcom_pull(task_ids="evaluate"))


def write_report(month: str) -> str:
    """Path of the report."""
    from flightdelays import practice_models

    ti = get_current_context()["ti"]
    best = ti.xcom_pull(task_ids="evaluate")
    card = ti.xcom_pull(task_ids="deploy")
    said = {"model": best["model"], "auc": best["auc"], "deployed": card is not None}
    return practice_models.write_report(month, said)


def remove_files() -> None:
    """Remove what the run has worked with."""
    from flightdelays import runs

    runs.clean_up(run_name())


with DAG(
    dag_id="capstone",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["exercise"],
    params={
        "month": Param("2013-01", type="string"),
        "models": Param(["bayes", "logistic"], type="array", minItems=1),
    },
    default_args={
        "owner": "you@example.com",
        "retries": 2,
        "retry_delay": timedelta(seconds=5),
        "on_failure_callback": [course_alerts.task_failed],
    },
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(minutes=30),
        callback=AsyncCallback("course_alerts.run_late"),
    ),
):
    month = {"month": "{{ params.month }}"}
    table = {"table": pulled("training_set")}
    land = PythonOperator(task_id="land", python_callable=land_month, op_kwargs=month)
    publish = PythonOperator(task_id="publish", python_callable=publish_month, op_kwargs=month)
    rows = PythonOperator(task_id="training_set", python_callable=join_facts, op_kwargs=month)
    models = PythonOperator(task_id="models", python_callable=list_models)
    train = PythonOperator.partial(task_id="train", python_callable=train_one).expand(
        op_args=models.output
    )
    evaluate = PythonOperator(
        task_id="evaluate",
        python_callable=find_best,
        # Always a list; `xcom_pull` of a single mapped instance would give its value itself.
        op_kwargs={**table, "fitted": train.output},
        trigger_rule="all_done_min_one_success",
    )
    gate = BranchPythonOperator(task_id="gate", python_callable=choose, op_kwargs=table)
    deploy = PythonOperator(task_id="deploy", python_callable=deploy_best, op_kwargs=month)
    alert = PythonOperator(task_id="alert", python_callable=say_no)
    report = PythonOperator(
        task_id="report",
        python_callable=write_report,
        op_kwargs=month,
        trigger_rule="none_failed_min_one_success",
    )
    clean_up = PythonOperator(task_id="clean_up", python_callable=remove_files).as_teardown()
    land >> publish >> rows >> models >> train >> evaluate >> gate >> [deploy, alert] >> report
    report >> clean_up
