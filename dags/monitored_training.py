"""
### A training that is watched

**What runs.** Every hour a small training on a sample of the last three months, which stores no
model: sample → train → report. It sends metrics (`plugins/course_metrics.py`) and tells people
when a try fails, when the run fails, when it is not done within a minute and when it succeeds
(`plugins/course_alerts.py`). Where the messages go is the connection `apprise_default`: on the
laptop to `alerts.jsonl` in the course's folder; another address there, and they reach a webhook,
Slack or e-mail.

**How to start it.** By itself every hour, or by hand with `plant`, a fault to look at: `slow`
misses the deadline, `flaky` fails once and then succeeds, `failure` fails every try. A failed run
alerts once, with the address of the log.

**When it fails.** Open the log that the alert names. `sample`: data or features are missing; the
message names the command that brings them. No alert came: look for `was not delivered` in the
task's log; run callbacks log in the dag-processor, deadlines in the triggerer. A deadline counts
from the moment the run was queued, and the callback must live in `plugins/`. Editing this file does
not stop its deadlines: up to Airflow 3.2 it did (apache/airflow#68732), in 3.3.2 a run of the new
version has its deadline. A run that fails keeps its deadline (apache/airflow#60927): `run_late`
keeps silent about it.
"""

from dataclasses import asdict
from datetime import timedelta

from airflow.sdk import (
    AsyncCallback,
    CronTriggerTimetable,
    DeadlineAlert,
    DeadlineReference,
    Param,
    dag,
    get_current_context,
    task,
    teardown,
)

import course_alerts
from course_pipelines import DEFAULT_ARGS, Tag
from flightdelays.faults import DEADLINE_SECONDS, FAULTS


@dag(
    schedule=CronTriggerTimetable("17 * * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=15),
    default_args=DEFAULT_ARGS
    | {
        "on_failure_callback": course_alerts.task_failed,
        "on_retry_callback": course_alerts.task_retried,
    },
    on_failure_callback=course_alerts.run_failed,
    on_success_callback=course_alerts.run_succeeded,
    deadline=[
        DeadlineAlert(
            name="done within a minute",
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=timedelta(seconds=DEADLINE_SECONDS),
            callback=AsyncCallback(course_alerts.run_late),
        )
    ],
    params={
        "plant": Param(
            "none",
            enum=list(FAULTS),
            description="fault to plant: "
            + "; ".join(f"{name}: {meaning}" for name, meaning in FAULTS.items()),
        )
    },
    tags=[Tag.TRAINING, Tag.MONITORING],
    doc_md=__doc__,
)
def monitored_training():
    @task
    def choose_months() -> dict[str, str]:
        """The last landed months, once all that training needs is there."""
        from flightdelays import canary

        return asdict(canary.window())

    @task(pool="memory")
    def sample(window: dict[str, str]) -> str:
        """Path of a sample of the flights of these months, with their features."""
        from flightdelays import canary, runs

        return canary.sample(runs.Window(**window), run_name())

    @task(pool="training", retries=1, retry_delay=timedelta(seconds=5))
    def train(source: str, window: dict[str, str]) -> dict[str, float]:
        """Rows, seconds and metrics of the fit, which go to the metrics server as well."""
        from course_metrics import send_training
        from flightdelays import canary, faults, runs

        context = get_current_context()
        faults.plant(context["params"]["plant"], context["ti"].try_number)
        trained = canary.train(source, runs.Window(**window))
        send_training(context["dag"].dag_id, trained)
        return trained

    @task
    def report(window: dict[str, str], trained: dict[str, float]) -> str:
        """Path of the verdict; the page for people lies beside it."""
        from course_metrics import send_success, values
        from flightdelays import canary, runs

        context = get_current_context()
        path = canary.report(
            context["dag"].dag_id,
            run_name(),
            runs.Window(**window),
            values(trained),
            context["params"]["plant"],
        )
        send_success(context["dag"].dag_id)
        return path

    @teardown
    def clean_up() -> None:
        """Remove the run's working files."""
        from flightdelays import runs

        runs.clean_up(run_name())

    window = choose_months()
    trained = train(sample(window), window)
    report(window, trained) >> clean_up()


def run_name() -> str:
    """Name of the run for files, the same at every try."""
    return get_current_context()["run_id"]


monitored_training()
