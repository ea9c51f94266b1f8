"""
### Watch the champion, month by month, and ask for a retraining when it has drifted

**What runs.** Who is the champion, and what was it trained on? → features from its first training
month to the month in question (the same point-in-time join as in training) → AUC of each month
after its training, and how far each delay feature has moved since (PSI) → drifted or not →
a training request in the Kafka topic `ml.training.requests`, or nothing → report. Drift is a fall
of AUC by more than `FLIGHTDELAYS_DRIFT_AUC_FALL` below what the champion had when it was deployed,
or a mean PSI of the delay features above `FLIGHTDELAYS_DRIFT_PSI`. The same drift found twice is
one request: both have one event id.

**How to start it.** By itself on the 2nd of each month at 06:00 UTC, when the month before has
landed. By hand with the parameter `month` (default: the last landed month).

**When it fails.** `find_champion`: there is none yet, or a month or its features are missing; the
message names the DAG to run. `build_rows`: usually memory; see the task's log. `publish`: no
broker answers at the address of the connection `kafka_default`; the task is tried again, and a
request that arrives twice counts once.
"""

from typing import Any

from airflow.sdk import (
    CronTriggerTimetable,
    Param,
    TriggerRule,
    dag,
    get_current_context,
    task,
    teardown,
)

from course_pipelines import DEFAULT_ARGS, MONTH, Tag


@dag(
    schedule=CronTriggerTimetable("0 6 2 * *", timezone="UTC"),
    catchup=False,
    max_active_runs=2,
    default_args=DEFAULT_ARGS,
    params={
        "month": Param(
            None,
            **MONTH,
            description="month to judge the champion by, YYYY-MM; empty: the last landed one",
        )
    },
    tags=[Tag.MONITORING, Tag.EVENTS],
    doc_md=__doc__,
)
def monitor_drift():
    @task
    def find_champion() -> dict[str, Any]:
        """Version of the champion and the month to judge it by, once all that needs is there."""
        from flightdelays import drift

        champion, month = drift.champion(get_current_context()["params"]["month"])
        return {"version": champion.version, "month": month}

    @task(pool="memory")
    def build_rows(found: dict[str, Any]) -> str:
        """Path of the rows with their features, the champion's training rows first."""
        from flightdelays import dataset, registry, training_set
        from flightdelays.lake import previous_month
        from flightdelays.runs import Window

        month, trained = found["month"], registry.describe(found["version"]).window
        window = Window(trained.train_from, previous_month(month), month)
        return dataset.save(training_set.build(window), run_name())

    @task(pool="training")
    def measure(found: dict[str, Any], source: str) -> dict[str, Any]:
        """AUC and PSI of each month after the champion's training."""
        from course_metrics import send_drift
        from flightdelays import drift, registry

        champion = registry.describe(found["version"])
        months = dict(drift.measure(source, champion))
        send_drift(months, found["month"], champion.metrics["auc"])
        return months

    @task.branch
    def has_drifted(found: dict[str, Any], months: dict[str, Any]) -> str:
        """Ask for a retraining when the champion has fallen too far; otherwise all is well."""
        from flightdelays import drift, registry

        reason = drift.judge(months, found["month"], registry.describe(found["version"]))
        return "publish" if reason else "all_well"

    @task
    def publish(found: dict[str, Any], months: dict[str, Any]) -> dict[str, Any]:
        """Training request, with the offset at which the broker has confirmed it."""
        from airflow.providers.apache.kafka.hooks.produce import KafkaProducerHook

        from flightdelays import delivery, drift, registry

        champion = registry.describe(found["version"])
        request = drift.request(months, found["month"], champion)
        hook = KafkaProducerHook()
        servers = hook.get_connection(hook.kafka_config_id).extra_dejson["bootstrap.servers"]
        offset = delivery.deliver(hook.get_producer(), request, servers)
        return request.model_dump(mode="json") | {"offset": offset}

    @task
    def all_well() -> None:
        """The champion does what it did when it was deployed: nothing is sent."""

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def report(found: dict[str, Any], months: dict[str, Any]) -> str:
        """Path of the verdict; the page for people lies beside it."""
        from flightdelays import drift_report, registry

        champion = registry.describe(found["version"])
        return drift_report.write(months, found["month"], champion, run_name())

    @teardown
    def clean_up() -> None:
        """Remove the run's working files."""
        from flightdelays import runs

        runs.clean_up(run_name())

    found = find_champion()
    months = measure(found, build_rows(found))
    outcomes = [publish(found, months), all_well()]
    has_drifted(found, months) >> outcomes >> report(found, months) >> clean_up()


def run_name() -> str:
    """Name of the run for its files, the same at every try."""
    return get_current_context()["run_id"]


monitor_drift()
