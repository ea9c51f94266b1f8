"""The trigger reads in the group of another DAG: each message reaches one of the two.

Caught by: task 3, test_a_message_that_was_read_is_committed
"""

from datetime import timedelta
from typing import Any

from airflow.providers.common.messaging.triggers.msg_queue import MessageQueueTrigger
from airflow.providers.standard.sensors.filesystem import FileSensor
from airflow.sdk import Asset, AssetWatcher, Param, dag, get_current_context, task

REQUESTED = Asset(
    name="ex03_requested",
    watchers=[
        AssetWatcher(
            name="kafka",
            trigger=MessageQueueTrigger(
                scheme="kafka",
                kafka_config_id="kafka_retrain_on_event",
                topics=["ml.training.requests"],
                apply_function="event_driven_training.request_in",
                poll_timeout=0.2,
                # The pause after a message that is passed over: the stock 5 s let a topic pile up.
                poll_interval=0.1,
            ),
        )
    ],
)
LOOK_BACK = timedelta(days=1)

DEFAULT_ARGS: dict[str, Any] = {
    "owner": "you@example.com",
    "retries": 1,
    "retry_delay": timedelta(seconds=5),
}


def request_in(message: Any) -> dict[str, Any] | None:
    """What the triggerer calls with each message: a request, or None to pass it over."""
    from flightdelays import practice_events as events
    from flightdelays.errors import DataError

    origin = f"{message.topic()}[{message.partition()}]@{message.offset()}"
    try:
        return events.read(message.value(), origin)
    except DataError as error:
        events.set_aside(message.value(), str(error), origin)
        return None


@dag(
    dag_id="ex03_train",
    schedule=[REQUESTED],
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["exercise"],
    params={
        "month": Param(None, type=["null", "string"], pattern=r"^2013-(0[1-9]|1[0-2])$"),
    },
    default_args=DEFAULT_ARGS,
)
def ex03_train() -> None:
    @task(inlets=[REQUESTED])
    def accept(params: dict) -> list[dict[str, Any]]:
        """Requests that are this run's: the one it was asked for, and those of the events."""
        from flightdelays import practice_events as events

        context = get_current_context()
        run = context["dag_run"].run_id
        since = context["dag_run"].run_after - LOOK_BACK
        found = [
            event.extra["payload"]
            for event in context["inlet_events"][REQUESTED].after(since.isoformat())
            if "payload" in event.extra
        ]
        if params["month"] is not None:
            found.append(events.request(params["month"], run))
        # By its id, an event that came twice is one; the ledger knows what other runs have.
        once = {request["event_id"]: request for request in found}
        return [request for request in once.values() if events.claim(request, run)]

    @task(map_index_template="{{ month }}")
    def train(request: dict[str, Any]) -> dict[str, Any]:
        """Train for one request."""
        from flightdelays import practice_events as events

        get_current_context()["month"] = request["month"]
        return events.train(request)

    train.expand(request=accept())


@dag(
    dag_id="ex03_on_file",
    schedule="*/10 * * * *",
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["exercise"],
    default_args=DEFAULT_ARGS,
)
def ex03_on_file() -> None:
    wait_for_file = FileSensor(
        task_id="wait_for_file",
        fs_conn_id="fs_incoming",
        filepath="ex03/*.json",
        deferrable=True,
        poke_interval=5,
        # The next run waits on; nothing came in time is no failure.
        timeout=timedelta(minutes=9).total_seconds(),
        soft_fail=True,
    )

    @task
    def take() -> list[dict[str, Any]]:
        """The requests in the files, which are this run's from now on."""
        from flightdelays import practice_events as events

        return events.take(get_current_context()["run_id"])

    @task(outlets=[REQUESTED])
    def announce(request: dict[str, Any]) -> None:
        """Make an event of a request, as Kafka would."""
        get_current_context()["outlet_events"][REQUESTED].extra = {"payload": request}

    @task
    def settle() -> list[str]:
        """The files are done with."""
        from flightdelays import practice_events as events

        return events.settle(get_current_context()["run_id"])

    taken = take()
    wait_for_file >> taken
    announce.expand(request=taken) >> settle()


ex03_train()
ex03_on_file()
