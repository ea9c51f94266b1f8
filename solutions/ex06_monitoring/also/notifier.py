"""Airflow's own notifier with templates, for the failed task and for the deadline; a task of
its own for the metrics."""

from datetime import timedelta

from airflow.providers.apprise.notifications.apprise import AppriseNotifier
from airflow.sdk import (
    AsyncCallback,
    CronTriggerTimetable,
    DeadlineAlert,
    DeadlineReference,
    Param,
    dag,
    get_current_context,
    task,
)

FAILED = AppriseNotifier(
    title="{{ ti.dag_id }}: {{ ti.task_id }} failed",
    body="{{ run_id }}\n{{ exception }}\n{{ ti.log_url }}",
    notify_type="failure",
)
LATE = AsyncCallback(
    AppriseNotifier,
    kwargs={
        "title": "{{ dag_run.dag_id }} is late",
        "body": "{{ dag_run.dag_run_id }}",
        "notify_type": "warning",
    },
)
TWICE_MORE = {"retries": 2, "retry_delay": timedelta(seconds=3), "on_failure_callback": FAILED}


@dag(
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
    default_args={"owner": "you@example.com"},
    deadline=[DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(seconds=600), LATE)],
)
def monitoring() -> None:
    @task(**TWICE_MORE)
    def sample(params: dict) -> str:
        from flightdelays import practice_monitoring

        return practice_monitoring.sample(params["month"], get_current_context()["run_id"])

    @task(**TWICE_MORE)
    def train(rows: str, params: dict) -> dict[str, float]:
        from flightdelays import faults, practice_monitoring

        faults.plant(params["plant"], get_current_context()["ti"].try_number)
        return practice_monitoring.train(rows, params["model"])

    @task(**TWICE_MORE)
    def publish(trained: dict[str, float], params: dict) -> None:
        from airflow.sdk.observability.stats import Stats

        tags = {"model": params["model"], "dag_id": "ex06_monitoring", "month": params["month"]}
        for name in ("rows", "auc"):
            Stats.gauge(f"training.{name}", trained[name], tags=tags)
        Stats.timing("training.duration", timedelta(seconds=trained["seconds"]), tags=tags)

    @task(**TWICE_MORE)
    def watch(trained: dict[str, float]) -> str:
        from flightdelays.practice_rules import Rule, apply

        context = get_current_context()
        rule = Rule("ex06 auc", FLOOR, runs=2)
        before, now = apply(rule, context["run_id"], trained["auc"])
        if (before, now) == ("pending", "firing"):
            text = f"{context['run_id']}: AUC {trained['auc']}"
            AppriseNotifier(title="Poor model", body=text, notify_type="warning").notify(context)
        return str(now)

    trained = train(sample())
    publish(trained)
    watch(trained)


FLOOR = 0.65
monitoring()
