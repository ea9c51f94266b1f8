"""Exercise 3: one training pipeline, started by a Kafka message, by a file, or by REST."""

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, dag, task

# TODO 3: a watcher belongs to this asset. It reads the topic and hands each message to request_in.
REQUESTED = Asset(name="ex03_requested")

DEFAULT_ARGS: dict[str, Any] = {
    "owner": "you@example.com",
    "retries": 1,
    "retry_delay": timedelta(seconds=5),
}


def request_in(message: Any) -> dict[str, Any] | None:
    """What the triggerer calls with each message: a request, or None to pass it over."""
    # TODO 3: return the request in the message; a message about something else is passed over.
    # TODO 4: put a malformed message aside with the reason, and pass it over.
    return None


@dag(
    dag_id="ex03_train",
    schedule=None,  # TODO 3: an event of the asset starts a run.
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["exercise"],
    params={},  # TODO 1: a month of 2013, or none.
    default_args=DEFAULT_ARGS,
)
def ex03_train() -> None:
    @task
    def accept(params: dict) -> list[dict[str, Any]]:
        # TODO 2: a run that was asked for a month has one request: events.request makes it.
        # TODO 5: a run takes the requests in the asset's events as well, of the whole past day.
        # TODO 6: leave out what this run or another one has taken already.
        return []

    # TODO 2: add `train`, one instance for each request that accept returns.

    accept()


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
    # TODO 7: add `wait_for_file`, a sensor.

    # TODO 8: behind it take the files, announce each request as an event of the asset, and
    # move the files away.
    @task
    def take() -> list[dict[str, Any]]:
        return []

    take()


ex03_train()
ex03_on_file()
