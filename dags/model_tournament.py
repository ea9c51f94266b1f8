"""
### Let several models compete for the best PR-AUC

**What runs.** Is everything there? → training set → one mapped task instance for each name in
`models`, two at a time (pool `training`) → comparison → report. The comparison waits for all and
goes on with those that finished: the winner has the best PR-AUC on the validation month; F1 is
shown beside it, at the threshold that is best on the training rows. MLflow gets table, plots and
winner as a run above those of the candidates. Nothing is deployed. `perpetual` is not in the lock:
it is fitted in a virtual environment of its own, kept below `AIRFLOW_HOME` (on a cluster this would
be a pod with its own image), leaves its probabilities in the lake, and is judged here as well.

**How to start it.** By hand: `models`, `train_from` (first month), `validation_month` (the last).

**When it fails.** A candidate that fails leaves the run green and is named in the report; its log
says why. `elsewhere.fit` with `Unable to create new virtual environment`: pip's or uv's own lines
above it say why their package index was not reached. `compare` fails only if no candidate
finished: mend what the logs name and clear the whole run, whose working files are gone.
"""

import os
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
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
    task_group,
    teardown,
)

from course_pipelines import DEFAULT_ARGS, MONTH, RETRIES, Tag
from flightdelays import perpetual
from flightdelays.settings import MODELS

ELSEWHERE = ["perpetual"]
REFUSED = RetryRule(
    exception=[ValueError, TypeError],
    action=RetryAction.FAIL,
    reason="the library refused the rows or the settings: it would refuse them again",
)
VENVS = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "venvs"


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    params={
        "models": Param(
            ["hist_gradient", "random_forest", "xgboost", "lightgbm", *ELSEWHERE],
            description="models that compete",
            type="array",
            items={"enum": [*MODELS, *ELSEWHERE]},
            examples=[*MODELS, *ELSEWHERE],  # what the form in the UI offers
            minItems=1,
            uniqueItems=True,
        ),
        "train_from": Param(None, **MONTH, description="first month to train on, YYYY-MM"),
        "validation_month": Param(None, **MONTH, description="later month to judge by, YYYY-MM"),
    },
    tags=[Tag.TRAINING],
    doc_md=__doc__,
)
def model_tournament():
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

        return dataset.save(training_set.build(runs.Window(**window)), run_name())

    @task
    def candidates() -> list[str]:
        """Those that are fitted in this environment; none at all skips `compete`."""
        return [name for name in get_current_context()["params"]["models"] if name in MODELS]

    @task
    def assignments() -> list[dict[str, Any]]:
        """What those that cannot import the course's code are told; none skips `elsewhere`."""
        from flightdelays import tournament

        asked = get_current_context()["params"]["models"]
        return [tournament.assignment(name, run_name()) for name in asked if name in ELSEWHERE]

    @task(
        pool="training",
        retry_policy=ExceptionRetryPolicy(rules=[*RETRIES.rules, REFUSED]),
        map_index_template="{{ task.op_kwargs['model'] }}",
        execution_timeout=timedelta(minutes=30),
    )
    def compete(source: str, window: dict[str, str], model: str) -> dict[str, Any]:
        """One candidate, fitted and judged."""
        from flightdelays import runs, tournament

        return tournament.compete(source, runs.Window(**window), model, run_name())

    fit = task.virtualenv(
        requirements=perpetual.REQUIREMENTS,
        system_site_packages=False,
        expect_airflow=False,
        venv_cache_path=VENVS,
        retries=1,
        pool="training",
        map_index_template="{{ task.op_kwargs['assignment']['model'] }}",
        execution_timeout=timedelta(minutes=30),
    )(perpetual.fit)

    @task(map_index_template="{{ task.op_kwargs['fitted']['model'] }}")
    def judge(source: str, window: dict[str, str], fitted: dict[str, Any]) -> dict[str, Any]:
        """The same metrics on the same rows as for every other candidate."""
        from flightdelays import runs, tournament

        return tournament.judge(source, runs.Window(**window), fitted, run_name())

    @task_group
    def elsewhere(source: str, window: dict[str, str], assignment: dict[str, Any]):
        """A candidate that is fitted in an environment of its own and judged in this one."""
        fitted = fit(source=source, window=window, assignment=assignment)
        return judge(source=source, window=window, fitted=fitted)

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def compare(source: str, window: dict[str, str]) -> dict[str, Any]:
        """Winner, standings and the MLflow run that holds them; fails if nobody finished."""
        from flightdelays import runs, tournament

        context = get_current_context()
        # Two ids, so that this is a list even if only one candidate was judged.
        found = context["ti"].xcom_pull(task_ids=["compete", "elsewhere.judge"])
        results, asked = [one for one in found if one], context["params"]["models"]
        months = window and runs.Window(**window)
        return tournament.compare(source, months, results, asked, run_name())

    @task
    def report(window: dict[str, str], compared: dict[str, Any]) -> str:
        """Path of the verdict; the page for people lies beside it."""
        from flightdelays import runs, tournament

        return tournament.report(runs.Window(**window), compared, run_name())

    @teardown
    def clean_up() -> None:
        """Remove the run's working files."""
        from flightdelays import runs

        runs.clean_up(run_name())

    window = check_availability()
    source = build_training_set(window)
    compared = compare(source, window)
    [
        compete.partial(source=source, window=window).expand(model=candidates()),
        elsewhere.partial(source=source, window=window).expand(assignment=assignments()),
    ] >> compared
    report(window, compared) >> clean_up()


def run_name() -> str:
    """Name of the run for files and MLflow, the same at every try."""
    return get_current_context()["run_id"]


model_tournament()
