"""A poor model fails the run, is tried again, and calls for help as if the pipeline were broken.

Caught by: task 7, test_a_poor_model_warns_when_it_is_poor_again
"""

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
)

import course_alerts

FLOOR = 0.65


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
    default_args={
        "owner": "you@example.com",
        "retries": 2,
        "retry_delay": timedelta(seconds=5),
        # Of a task, not of the DAG: only the task knows its exception and its log.
        "on_failure_callback": course_alerts.task_failed,
    },
    deadline=DeadlineAlert(
        name="done within ten minutes",
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(minutes=10),
        callback=AsyncCallback(course_alerts.run_late),
    ),
)
def monitoring() -> None:
    @task
    def sample(params: dict) -> str:
        from flightdelays import practice_monitoring

        return practice_monitoring.sample(params["month"], get_current_context()["run_id"])

    @task
    def train(rows: str, params: dict) -> dict[str, float]:
        from airflow.sdk.observability import stats

        from flightdelays import faults, practice_monitoring

        context = get_current_context()
        # A fault that you may plant: `flaky` fails the first try, `failure` fails each of them.
        faults.plant(params["plant"], context["ti"].try_number)
        trained = practice_monitoring.train(rows, params["model"])
        tags = {"dag_id": context["dag"].dag_id, "model": params["model"]}
        stats.gauge("training.rows", trained["rows"], tags=tags)
        stats.gauge("training.auc", trained["auc"], tags=tags)
        stats.timing("training.duration", trained["seconds"] * 1000, tags=tags)
        return trained

    @task
    def watch(trained: dict[str, float]) -> str:
        from apprise import NotifyType

        from course_notifier import CourseNotifier
        from flightdelays.practice_rules import Rule, State, apply

        context = get_current_context()
        dag_id, run_id = context["dag"].dag_id, context["run_id"]
        rule = Rule(f"{dag_id} auc", below=FLOOR, runs=2)
        change = apply(rule, run_id, trained["auc"])
        if change.now == State.FIRING and change.before != State.FIRING:
            CourseNotifier(
                title=f"Poor model: {dag_id}",
                body=f"run: {run_id}\nAUC: {trained['auc']:.3f}, below {FLOOR} twice in a row",
                notify_type=NotifyType.WARNING,
            ).notify(context)
        if change.now != State.INACTIVE:
            raise ValueError(f"AUC {trained['auc']} is below {FLOOR}")
        return change.now

    watch(train(sample()))


monitoring()
