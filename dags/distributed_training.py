"""
### Train one model on several workers

**What runs.** Is everything there, the workers too? → training set, written in parts → XGBoost on
Dask with `workers` workers, each reading its own parts → the same on one worker → both judged on
the same later month → report: the difference in AUC, and where the time went. The models are in
MLflow; whatever happened, the run's working files are removed.

**How to start it.** By hand with `workers`, `rounds` (trees), `train_from`, `validation_month`.
`scheduler_address` names a Dask scheduler whose workers are used, pods for example
(`tcp://dask-scheduler:8786`); they need this package and a lake that they can reach. Without it
the workers are processes of this machine, for the time of the run.

**When it fails.** `check_availability`: the message names the month, service or scheduler that is
missing. A worker killed while training usually ran out of memory: more workers hold less each.
Slower than one worker is no failure: the data are too few to share, and the table shows it.
"""

from dataclasses import asdict
from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task, teardown

from course_pipelines import DEFAULT_ARGS, MONTH, Tag


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    params={
        "workers": Param(2, type="integer", minimum=2, maximum=64),
        "rounds": Param(200, type="integer", minimum=1, description="number of trees"),
        "scheduler_address": Param(
            None, type=["null", "string"], pattern="^(tcp|tls)://", description="of Dask"
        ),
        "train_from": Param(None, **MONTH, description="first month to train on, YYYY-MM"),
        "validation_month": Param(None, **MONTH, description="later month to judge by, YYYY-MM"),
    },
    tags=[Tag.TRAINING, Tag.KUBERNETES],
    doc_md=__doc__,
)
def distributed_training():
    @task
    def check_availability() -> dict[str, str]:
        """Months to train on and to judge by, once data, services and workers are there."""
        from flightdelays import availability, distributed

        params = get_current_context()["params"]
        if params["scheduler_address"]:
            with distributed.cluster(params["workers"], params["scheduler_address"]):
                pass
        return asdict(availability.check(params["train_from"], params["validation_month"]))

    @task(pool="memory")
    def build_training_set(window: dict[str, str]) -> str:
        """Folder of the run's training set: training rows in parts, validation rows apart."""
        from flightdelays import distributed, runs, training_set

        months = runs.Window(**window)
        return distributed.write_parts(training_set.build(months), months, run_name())

    @task(pool="training", execution_timeout=timedelta(minutes=30))
    def train(source: str, workers: int | str) -> dict[str, Any]:
        """The model of so many workers: address in MLflow, rows, seconds."""
        from flightdelays import distributed

        params = get_current_context()["params"]
        return distributed.train(
            source, int(workers), run_name(), params["rounds"], params["scheduler_address"]
        )

    @task
    def evaluate(source: str, candidates: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Each with its metrics, all on the same rows."""
        from flightdelays import distributed

        return distributed.evaluate(source, candidates)

    @task
    def report(window: dict[str, str], judged: list[dict[str, Any]]) -> str:
        """Path of the verdict."""
        from flightdelays import distributed, pages

        return pages.write(
            "distributed_training", run_name(), **distributed.describe(judged, window)
        )

    @teardown
    def clean_up() -> None:
        """Remove the run's working files."""
        from flightdelays import runs

        runs.clean_up(run_name())

    window = check_availability()
    # [START comparison]
    source = build_training_set(window)
    several = train(source, "{{ params.workers }}")
    one = train.override(task_id="train_on_one_worker")(source, 1)
    several >> one  # not at once: they would share the cores that are being compared
    report(window, evaluate(source, [one, several])) >> clean_up()
    # [END comparison]


def run_name() -> str:
    """Name of the run for files and MLflow, the same at every try."""
    return get_current_context()["run_id"]


distributed_training()
