"""Exercise 3 with a sensor that is put back in the queue, and files that start runs by conf."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.common.messaging.triggers.msg_queue import MessageQueueTrigger
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Asset, AssetWatcher, Param, dag, get_current_context, task

REQUESTED = Asset(
    name="training_wanted",
    watchers=[
        AssetWatcher(
            name="messages",
            trigger=MessageQueueTrigger(
                scheme="kafka",
                kafka_config_id="kafka_ex03",
                topics=["ml.training.requests"],
                apply_function="event_driven_training.request_in",
                poll_interval=0,
            ),
        )
    ],
)
MONTHS = [None, *(f"2013-{number:02d}" for number in range(1, 13))]


def request_in(message: Any) -> dict[str, Any] | None:
    """A request, or None for a message that is none."""
    from flightdelays import practice_events as events
    from flightdelays.errors import DataError

    origin = f"{message.topic()}-{message.partition()}-{message.offset()}"
    try:
        return events.read(message.value(), origin)
    except DataError as error:
        events.set_aside(message.value(), str(error), origin)
    return None


@dag(
    dag_id="ex03_train",
    schedule=REQUESTED,
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["exercise"],
    params={
        "month": Param(None, enum=MONTHS),
        "request": Param(None, type=["null", "object"], description="as a file holds it"),
    },
    default_args={"owner": "you@example.com", "retries": 2},
)
def ex03_train() -> None:
    @task(inlets=[REQUESTED])
    def collect() -> list[dict[str, Any]]:
        """All that this run could train."""
        from flightdelays import practice_events as events

        context = get_current_context()
        run, params = context["dag_run"], context["params"]
        if params["request"]:
            return [params["request"]]
        if params["month"]:
            return [events.request(params["month"], run.run_id)]
        since = run.run_after - timedelta(hours=24)
        arrived = context["inlet_events"][REQUESTED].after(since.isoformat())
        return [event.extra["payload"] for event in arrived if "payload" in event.extra]

    @task
    def accept(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What nobody else has taken."""
        from flightdelays import practice_events as events

        mine, seen = [], set()
        for request in found:
            if request["event_id"] in seen:
                continue
            seen.add(request["event_id"])
            if events.claim(request, get_current_context()["run_id"]):
                mine.append(request)
        return mine

    @task(max_active_tis_per_dagrun=1)
    def train(request: dict[str, Any]) -> dict[str, Any]:
        from flightdelays import practice_events as events

        return events.train(request)

    train.expand(request=accept(collect()))


@dag(
    dag_id="ex03_on_file",
    schedule="*/10 * * * *",
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["exercise"],
    default_args={"owner": "you@example.com", "retries": 2},
)
def ex03_on_file() -> None:
    @task.sensor(mode="reschedule", poke_interval=15, timeout=8 * 60, soft_fail=True)
    def wait_for_file() -> bool:
        """Whether a file is there; between two looks the worker is free."""
        from flightdelays.settings import get_settings

        return any(Path(get_settings().incoming, "ex03").glob("*.json"))

    @task
    def take() -> list[dict[str, Any]]:
        from flightdelays import practice_events as events

        found = events.take(get_current_context()["run_id"])
        return [{"request": request} for request in found]

    taken = take()
    start = TriggerDagRunOperator.partial(
        task_id="start", trigger_dag_id="ex03_train", logical_date=None
    ).expand(conf=taken)

    @task
    def settle() -> list[str]:
        from flightdelays import practice_events as events

        return events.settle(get_current_context()["run_id"])

    wait_for_file() >> taken
    start >> settle()


ex03_train()
ex03_on_file()
