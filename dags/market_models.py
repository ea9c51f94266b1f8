"""
### One model for each market

**What runs.** The DAG of one market (an origin and a group of carriers): is everything there? →
training set of the market's own flights → train → evaluate on a later month against the market's
late rate → report. The model is logged to MLflow under the tag `course.market`; none is deployed.

**How to start it.** By itself every night, at a minute of its own between 04:00 and 08:00 UTC, or
by hand, with any of these as configuration: `{"model": "xgboost", "train_from": "2013-03",
"validation_month": "2013-09"}`. The markets are the entries of `dags/market_models.yaml`: add one
and its DAG appears when the file is next parsed.

**When it fails.** The market has no DAG: its entry is wrong; the import error of
`market_models_check.py` names line and mistake. `check_availability`: the message names what is
missing and the command that brings it. `build_training_set`: the market had no flight in these
months. `evaluate`: all its flights of the month had the same outcome; choose another month.
"""

from dataclasses import asdict
from typing import Any
from zlib import crc32

from airflow.sdk import (
    CronTriggerTimetable,
    dag,
    get_current_context,
    get_parsing_context,
    task,
)

from course_pipelines import DEFAULT_ARGS, Tag
from flightdelays import markets
from flightdelays.markets import Market
from flightdelays.settings import get_settings


@task
def check_availability(market: dict[str, Any]) -> dict[str, str]:
    """Months to train on and to judge by, once all that training needs is there."""
    from flightdelays import availability

    wanted = options(market)
    return asdict(availability.check(wanted.train_from, wanted.validation_month))


@task(pool="memory")
def build_training_set(market: dict[str, Any], window: dict[str, str]) -> str:
    """Path of the training set of the market's flights."""
    from flightdelays import market_training, runs

    return market_training.build(Market(**market), runs.Window(**window), run_name())


@task(pool="training")
def train(market: dict[str, Any], source: str, window: dict[str, str]) -> dict[str, Any]:
    """The fitted model: MLflow run, address of the model, rows, seconds."""
    from flightdelays import market_training, runs

    model = options(market).model
    return market_training.train(Market(**market), source, runs.Window(**window), model, run_name())


@task(pool="training")
def evaluate(source: str, window: dict[str, str], candidate: dict[str, Any]) -> dict[str, Any]:
    """Metrics on the later month, of the model and of the market's late rate alone."""
    from flightdelays import market_training, runs

    return market_training.evaluate(source, runs.Window(**window), candidate)


@task
def report(
    market: dict[str, Any],
    window: dict[str, str],
    candidate: dict[str, Any],
    evaluated: dict[str, Any],
) -> str:
    """Path of the verdict; the page for people lies beside it."""
    from flightdelays import market_training, runs

    return market_training.report(
        Market(**market),
        runs.Window(**window),
        candidate,
        evaluated,
        get_current_context()["run_id"],
    )


@task
def clean_up() -> None:
    """Remove the run's working files."""
    from flightdelays import runs

    runs.clean_up(run_name())


def run_name() -> str:
    """Name of the run for files and MLflow: two markets may have runs of the same id."""
    context = get_current_context()
    return f"{context['dag'].dag_id} {context['run_id']}"


def options(market: dict[str, Any]) -> markets.Options:
    """What this run was asked for; what is not said comes from the market's entry.

    Not DAG parameters: they are checked and stored again for each task, which made a DAG of this
    file six times as slow to serialise (21 ms instead of 3.6).
    """
    return markets.options(Market(**market), get_current_context()["dag_run"].conf)


def make(market: Market) -> Any:
    """The DAG of one market."""
    # From the name and not from the place in the file: other entries do not move it.
    minute = crc32(market.dag_id.encode()) % 240

    @dag(
        dag_id=market.dag_id,
        schedule=CronTriggerTimetable(f"{minute % 60} {4 + minute // 60} * * *", timezone="UTC"),
        catchup=False,
        max_active_runs=1,
        default_args=DEFAULT_ARGS,
        tags=[Tag.TRAINING],
        doc_md=__doc__,
    )
    def market_dag():
        entry = market.model_dump(mode="json")
        window = check_availability(entry)
        source = build_training_set(entry, window)
        candidate = train(entry, source, window)
        evaluated = evaluate(source, window, candidate)
        report(entry, window, candidate, evaluated) >> clean_up().as_teardown()

    return market_dag()


# A task needs the DAG of its own market only, and parses this file to get it.
only = get_parsing_context().dag_id
for listed in markets.load(get_settings().markets).markets:
    if only in (None, listed.dag_id):
        make(listed)
