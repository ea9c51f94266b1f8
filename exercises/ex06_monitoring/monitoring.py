"""Exercise 6: a training that tells how it is, and calls for help once, when help is needed."""

from airflow.sdk import CronTriggerTimetable, Param, dag, get_current_context, task

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
    # TODO 4: a task that failed for good tells so, whichever task it is.
    # TODO 5: a try is repeated twice, a few seconds apart; nobody hears of what mends itself.
    default_args={"owner": "you@example.com"},
    # TODO 6: a run that is not done ten minutes after it was queued is late, and tells so.
)
def monitoring() -> None:
    @task
    def sample(params: dict) -> str:
        from flightdelays import practice_monitoring

        return practice_monitoring.sample(params["month"], get_current_context()["run_id"])

    @task
    def train(rows: str, params: dict) -> dict[str, float]:
        from flightdelays import faults, practice_monitoring

        # A fault that you may plant: `flaky` fails the first try, `failure` fails each of them.
        faults.plant(params["plant"], get_current_context()["ti"].try_number)
        trained = practice_monitoring.train(rows, params["model"])
        # TODO 1: send `training.rows` and `training.auc` as gauges.
        # TODO 2: send `training.duration` as a timer.
        # TODO 3: label all three with `dag_id` and `model`, and with nothing that grows.
        return trained

    # TODO 7: add `watch`, which sends one warning when the model has been poor twice in a row.

    train(sample())


monitoring()
