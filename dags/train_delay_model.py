"""
### Train, judge and deploy the delay model

**What runs.** Is everything there? → training set (point-in-time join) → quality gate → train →
evaluate on a later month, beside the champion → deployment gate → deploy to staging, or alert →
report. Whatever happened, the run's working files are removed; that clean-up never decides
whether the run counts as failed.

**How to start it.** By itself when the asset `features` changes and every night at 03:00 UTC,
whichever comes first; never two at a time. By hand with parameters: `model`, `validation_month`
(default: the last landed month), `train_from` (default: the first).

**When it fails.** `check_availability`: the message names the missing month, service or path and
the command that mends it. `quality_gate`: the message lists each failed expectation; open the
Data Docs. `train`: usually memory; see the task's log. A model that does not pass the deployment
gate is no failure: `alert` runs instead of `deploy`, and staging stays what it was.
"""

from dataclasses import asdict
from datetime import timedelta
from typing import Any

from airflow.sdk import (
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    Param,
    TriggerRule,
    dag,
    get_current_context,
    task,
    teardown,
)

from course_pipelines import DEFAULT_ARGS, FEATURES, MONTH, STAGING_MODEL, Tag
from flightdelays.settings import MODELS


@dag(
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("0 3 * * *", timezone="UTC"), assets=FEATURES
    ),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    params={
        "model": Param("hist_gradient", enum=list(MODELS), description="kind of model to train"),
        "train_from": Param(None, **MONTH, description="first month to train on, YYYY-MM"),
        "validation_month": Param(None, **MONTH, description="later month to judge by, YYYY-MM"),
    },
    tags=[Tag.TRAINING, Tag.PRODUCTION],
    doc_md=__doc__,
)
def train_delay_model():
    # [START availability]
    @task
    def check_availability() -> dict[str, str]:
        """Months to train on and to judge by, once all that training needs is there."""
        from flightdelays import availability

        params = get_current_context()["params"]
        return asdict(availability.check(params["train_from"], params["validation_month"]))

    # [END availability]

    @task(pool="memory")
    def build_training_set(window: dict[str, str]) -> str:
        """Path of the run's training set in the lake."""
        from flightdelays import dataset, runs, training_set

        rows = training_set.build(runs.Window(**window))
        print(dataset.describe(rows))
        return dataset.save(rows, run_name())

    @task(retries=0)
    def quality_gate(source: str) -> str:
        """Page with what was expected and found; anything amiss stops the run before training."""
        from flightdelays import dataset, quality

        return quality.require(dataset.load(source)).page

    @task(pool="training", execution_timeout=timedelta(minutes=30))
    def train(source: str, window: dict[str, str]) -> dict[str, Any]:
        """The fitted candidate: MLflow run, address of the model, rows, seconds."""
        from flightdelays.runs import Window
        from flightdelays.train import train as fit

        model = get_current_context()["params"]["model"]
        return fit(source, Window(**window), model, run_name())

    @task(pool="training")
    def evaluate(source: str, window: dict[str, str], candidate: dict[str, Any]) -> dict[str, Any]:
        """Metrics of candidate and champion on the same rows, all later than the training rows."""
        from flightdelays import assessment, runs

        return assessment.evaluate(source, runs.Window(**window), candidate, run_name())

    # [START gate]
    @task.branch
    def deployment_gate(evaluated: dict[str, Any]) -> str:
        """Deploy what is good enough and better than the champion; otherwise alert."""
        from flightdelays.gate import gate

        decision = gate(evaluated["metrics"], evaluated["champion"])
        return "deploy" if decision.deploy else "alert"

    # [END gate]

    @task(outlets=[STAGING_MODEL])
    def deploy(source: str, candidate: dict[str, Any]) -> dict[str, Any]:
        """Version in the registry and its aliases, after a smoke prediction through the alias."""
        from course_metrics import send_deployment
        from flightdelays import dataset, registry

        version, aliases = registry.deploy(
            candidate["run_id"], candidate["address"], dataset.load(source).tail(5)
        )
        send_deployment(version, aliases)
        return {"version": version, "aliases": aliases}

    @task
    def alert(evaluated: dict[str, Any]) -> list[str]:
        """Why the candidate was not deployed."""
        import logging

        from course_metrics import dag_name, send_refusal
        from flightdelays.gate import gate

        send_refusal(dag_name())
        reasons = gate(evaluated["metrics"], evaluated["champion"]).reasons
        for reason in reasons:
            logging.getLogger("airflow.task").error("not deployed: %s", reason)
        return reasons

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def report(
        window: dict[str, str],
        candidate: dict[str, Any],
        evaluated: dict[str, Any],
        quality_page: str,
    ) -> str:
        """Path of the verdict; the page for people lies beside it."""
        from course_metrics import dag_name, send_success, send_training
        from flightdelays.gate import gate
        from flightdelays.report import write
        from flightdelays.runs import Window

        # Only ask for the result of a task that ran: a missing one is logged as an error.
        passed = gate(evaluated["metrics"], evaluated["champion"]).deploy
        deployed = get_current_context()["ti"].xcom_pull(task_ids="deploy") if passed else None
        path = write(Window(**window), candidate, evaluated, deployed, quality_page, run_name())
        send_training(dag_name(), candidate | evaluated["metrics"])
        send_success(dag_name())
        return path

    @teardown
    def clean_up() -> None:
        """Remove the run's working files."""
        from flightdelays import runs

        runs.clean_up(run_name())

    # [START wiring]
    window = check_availability()
    source = build_training_set(window)
    candidate = train(source, window)
    checked = quality_gate(source)
    checked >> candidate
    evaluated = evaluate(source, window, candidate)
    outcomes = [deploy(source, candidate), alert(evaluated)]
    verdict = report(window, candidate, evaluated, checked)
    deployment_gate(evaluated) >> outcomes >> verdict >> clean_up()
    # [END wiring]


def run_name() -> str:
    """Name of the run for files and MLflow, the same at every try."""
    return get_current_context()["run_id"]


train_delay_model()
