"""`clean_up` is an ordinary task with the rule `all_done`: as the last one it decides about the run, and
a failed run is green.

Caught by: task 7, test_a_failed_run_counts_as_failed
"""

from datetime import timedelta

from airflow.sdk import (
    AsyncCallback,
    DeadlineAlert,
    DeadlineReference,
    Param,
    TriggerRule,
    dag,
    get_current_context,
    task,
)

import course_alerts

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
    default_args={
        "owner": "you@example.com",
        "retries": 2,
        "retry_delay": timedelta(seconds=5),
        "on_failure_callback": course_alerts.task_failed,
    },
    on_failure_callback=course_alerts.run_failed,
    deadline=[
        DeadlineAlert(
            name="done in half an hour",
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=timedelta(minutes=30),
            callback=AsyncCallback(course_alerts.run_late),
        )
    ],
)
def capstone() -> None:
    @task
    def land(params: dict) -> str:
        from flightdelays import source

        source.land(params["month"])
        return params["month"]

    @task
    def publish(month: str) -> str:
        from flightdelays import features, store
        from flightdelays.practice_features import VIEW

        features.build(VIEW, month)
        store.apply(view=VIEW)
        store.materialize(store.end_of_month(month), view=VIEW)
        return month

    @task
    def training_set(month: str) -> str:
        from flightdelays import practice_features, store

        job = store.open_store().get_historical_features(
            entity_df=practice_features.departures(month), features=practice_features.REFERENCES
        )
        return practice_features.save(job.to_df(), month)

    @task
    def models(params: dict) -> list[str]:
        return params["models"]

    @task(map_index_template="{{ task.op_kwargs['model'] }}")
    def train(table: str, model: str) -> dict[str, str]:
        from flightdelays import practice_models

        return {"model": model, "path": practice_models.fit(table, model, run_name())}

    # A model that could not be trained has left no result, and is not among the candidates.
    @task(trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)
    def evaluate(table: str, candidates: list[dict[str, str]]) -> dict:
        from flightdelays import practice_models

        measured = [
            {**each, "auc": practice_models.evaluate(each["path"], table)} for each in candidates
        ]
        best = max(measured, key=lambda each: each["auc"])
        champion = practice_models.champion()
        rival = practice_models.evaluate(champion["path"], table) if champion else None
        return {**best, "champion_auc": rival}

    @task.branch
    def gate(best: dict) -> str:
        return "deploy" if passes(best) else "alert"

    @task
    def deploy(month: str, best: dict) -> str:
        from flightdelays import practice_models

        return practice_models.deploy(best["path"], best["model"], month, best["auc"])

    @task
    def alert(best: dict) -> None:
        print(f"Not deployed: {best['model']} has {best['auc']:.4f}, the gate is {GATE}", best)

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def report(month: str, best: dict) -> str:
        from flightdelays import practice_models

        said = {"model": best["model"], "auc": best["auc"], "deployed": passes(best)}
        return practice_models.write_report(month, said)

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def clean_up() -> None:
        from flightdelays import runs

        runs.clean_up(run_name())

    month = publish(land())
    table = training_set(month)
    best = evaluate(table, train.partial(table=table).expand(model=models()))
    outcomes = [deploy(month, best), alert(best)]
    gate(best) >> outcomes >> report(month, best) >> clean_up()


def passes(best: dict) -> bool:
    """Whether the best model is good enough, and better than the champion on the same rows."""
    return best["auc"] >= GATE and (
        best["champion_auc"] is None or best["auc"] > best["champion_auc"]
    )


def run_name() -> str:
    """Name of the run's working folder, the same at every try."""
    return get_current_context()["run_id"]


capstone()
