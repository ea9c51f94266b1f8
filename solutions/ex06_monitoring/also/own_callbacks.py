"""Callbacks in the DAG file: of a task, and a synchronous one of the deadline, which a worker runs;
a stopwatch around the training; operators by hand."""

from datetime import timedelta

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import (
    DAG,
    CronTriggerTimetable,
    DeadlineAlert,
    DeadlineReference,
    Param,
    SyncCallback,
    get_current_context,
)


def tell(title: str, body: str) -> None:
    from airflow.providers.apprise.hooks.apprise import AppriseHook

    AppriseHook().notify(title=title, body=body, tag="all")


def tell_of_failure(context: dict) -> None:
    ti = context["ti"]
    tell(f"{ti.task_id} failed", f"{ti.run_id}: {context['exception']!r}, see {ti.log_url}")


def tell_that_it_is_late(context: dict, minutes: int) -> None:
    run = context["dag_run"]
    tell(f"{run['dag_id']} takes more than {minutes} minutes", run["dag_run_id"])


def draw(params: dict, run_id: str) -> str:
    from flightdelays import practice_monitoring

    return practice_monitoring.sample(params["month"], run_id)


def fit(rows: str, params: dict, dag: DAG) -> dict[str, float]:
    from airflow.sdk.observability import stats

    from flightdelays import faults, practice_monitoring

    faults.plant(params["plant"], get_current_context()["ti"].try_number)
    labels = {"dag_id": dag.dag_id, "model": params["model"]}
    with stats.timer("training.duration", tags=labels):
        trained = practice_monitoring.train(rows, params["model"])
    stats.gauge("training.auc", trained["auc"], tags=labels)
    stats.gauge("training.rows", trained["rows"], tags=labels)
    return trained


def judge(trained: dict[str, float], run_id: str) -> str:
    from flightdelays.practice_rules import Rule, State, apply

    change = apply(Rule("auc of exercise 6", 0.65, 2), run_id, trained["auc"])
    if change.now is State.FIRING and change.before is State.PENDING:
        tell("The model is poor", f"{run_id}: {trained['auc']:.2f}")
    return change.now.value


with DAG(
    dag_id="ex06_monitoring",
    schedule=CronTriggerTimetable("47 * * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["exercise"],
    params={
        "month": Param("2013-06", pattern=r"^2013-(0[1-9]|1[01])$"),
        "model": Param("logistic", enum=["logistic", "tree"]),
        "plant": Param("none", enum=["none", "flaky", "failure"]),
    },
    default_args={
        "owner": "you@example.com",
        "retries": 2,
        "retry_delay": timedelta(seconds=5),
        "on_failure_callback": [tell_of_failure],
    },
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(minutes=10),
        callback=SyncCallback(tell_that_it_is_late, kwargs={"minutes": 10}),
    ),
):
    sample = PythonOperator(task_id="sample", python_callable=draw)
    train = PythonOperator(task_id="train", python_callable=fit, op_kwargs={"rows": sample.output})
    watch = PythonOperator(
        task_id="watch", python_callable=judge, op_kwargs={"trained": train.output}
    )
