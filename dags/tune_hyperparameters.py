"""
### Search for hyper-parameters with many workers on one study

**What runs.** Is everything there? → training set → an Optuna study in a database with `trials`
trials waiting in it → `workers` mapped task instances that take trials from it until all are
finished → best parameters, plots and their worth → report. Trials are judged on the last training
month, never on the validation month, which is looked at once, at the end. PR-AUC is reported after
every 20 boosting rounds, and a trial below the median of the earlier ones is pruned. A worker that
is killed loses nothing: its trial has no heartbeat any more and is run again, and exactly `trials`
trials count however many workers there are.

**How to start it.** By hand: `model`, `trials`, `rows` (sample to fit on), `workers` (2 on a
laptop, 200 with Celery), `train_from`, `validation_month`, and `study`: a name resumes that
study, up to `trials` in all; without one each run has its own. Free slots of the pool `training`
go to production training first; a worker that runs keeps its slot, so leave it a slot
if the search is long: fewer workers than slots.

**When it fails.** `worker`: the message names the database that does not answer (tried again
quickly, five times) or what is wrong (not tried again). One worker that gives up leaves the run
green if the others finish the budget; `best` fails if they do not. Clear the whole run
then: the study goes on where it was.
"""

from dataclasses import asdict
from datetime import timedelta
from typing import Any

from airflow.sdk import (
    ExceptionRetryPolicy,
    Param,
    RetryAction,
    RetryRule,
    TriggerRule,
    dag,
    get_current_context,
    task,
    teardown,
)

from course_pipelines import DEFAULT_ARGS, MONTH, RETRIES, Tag

# A database is back within seconds, and the other workers go on meanwhile.
WORKER_RETRIES = ExceptionRetryPolicy(
    rules=[
        *RETRIES.rules,
        RetryRule(
            exception="flightdelays.errors.ServiceError",
            action=RetryAction.RETRY,
            retry_delay=timedelta(seconds=3),
            reason="the database of the study does not answer: try again soon",
        ),
    ]
)


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    max_active_tasks=512,  # the stock 16 would hold back the workers of a cluster
    default_args=DEFAULT_ARGS,
    params={
        "model": Param("lightgbm", enum=["lightgbm", "xgboost"], description="kind of model"),
        "trials": Param(16, type="integer", minimum=2, description="trials of the study in all"),
        "workers": Param(2, type="integer", minimum=1, maximum=500, description="at a time"),
        "rows": Param(30_000, type="integer", minimum=1_000, description="rows to fit on"),
        "train_from": Param(None, **MONTH, description="first month to train on, YYYY-MM"),
        "validation_month": Param(None, **MONTH, description="later month to judge by, YYYY-MM"),
        "study": Param(
            None, type=["null", "string"], maxLength=200, description="study to resume, or none"
        ),
    },
    tags=[Tag.TRAINING],
    doc_md=__doc__,
)
def tune_hyperparameters():
    @task
    def check_availability() -> dict[str, str]:
        """Months to train on and to judge by, once all that training needs is there."""
        from flightdelays import availability

        params = get_current_context()["params"]
        return asdict(availability.check(params["train_from"], params["validation_month"]))

    @task(pool="memory")
    def build_training_set(window: dict[str, str]) -> str:
        """Path of the run's training set in the lake."""
        from flightdelays import dataset, runs, training_set

        rows = training_set.build(runs.Window(**window))
        print(dataset.describe(rows))
        return dataset.save(rows, run_name())

    @task(retry_policy=WORKER_RETRIES)
    def create_study(window: dict[str, str]) -> list[int]:
        """Numbers of the workers, once every trial of the budget waits in the database."""
        from flightdelays import runs, tuning

        params = get_current_context()["params"]
        months, asked = runs.Window(**window), (params["model"], params["rows"], params["trials"])
        print(tuning.create(study_name(), months, *asked))
        return list(range(params["workers"]))

    # [START worker]
    @task(
        pool="training",
        # The lowest weight there is. By default a task weighs as much as all that wait for it,
        # so `train` of train_delay_model gets a free slot before any worker.
        priority_weight=1,
        weight_rule="absolute",
        retries=5,
        retry_policy=WORKER_RETRIES,
        execution_timeout=timedelta(hours=6),
        map_index_template="worker {{ task.op_kwargs['number'] }}",
    )
    def worker(source: str, window: dict[str, str], number: int) -> int:
        """Trials that this worker finished."""
        from flightdelays import runs, tuning

        trials = get_current_context()["params"]["trials"]
        return tuning.work(source, runs.Window(**window), study_name(), trials)

    # [END worker]

    @task(pool="training", trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)
    def best(source: str, window: dict[str, str]) -> dict[str, Any]:
        """Parameters that won, their importance and worth, logged to MLflow with the plots."""
        from flightdelays import runs, tuning_report

        trials = get_current_context()["params"]["trials"]
        return tuning_report.best(source, runs.Window(**window), study_name(), trials, run_name())

    @task
    def report(window: dict[str, str], found: dict[str, Any]) -> str:
        """Path of the verdict; the page for people lies beside it."""
        from flightdelays import runs, tuning_report

        return tuning_report.report(runs.Window(**window), study_name(), found, run_name())

    @teardown
    def clean_up() -> None:
        """Remove the run's working files; the study stays."""
        from flightdelays import runs

        runs.clean_up(run_name())

    window = check_availability()
    source = build_training_set(window)
    numbers = create_study(window)
    found = best(source, window)
    worker.partial(source=source, window=window).expand(number=numbers) >> found
    report(window, found) >> clean_up()


def run_name() -> str:
    """Name of the run for files and MLflow, the same at every try."""
    return get_current_context()["run_id"]


def study_name() -> str:
    """Name of the study: that of the parameter, else that of the run."""
    return get_current_context()["params"]["study"] or run_name()


tune_hyperparameters()
