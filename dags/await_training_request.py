"""
### Train when Kafka asks for it, with a sensor

**What runs.** `wait_for_message` sleeps in the triggerer until the topic `ml.training.requests`
holds a valid request; then the request is taken, trained by a run of `train_delay_model` and
reported as in `retrain_on_event`, and the next run begins to wait. The group of consumers is its
own: with both DAGs switched on each reads every message, and the ledger lets one of them train.
Prefer `retrain_on_event`. Its offset is committed when the event is stored; this sensor's trigger
commits first and stores then, so a triggerer that dies in between loses the request (at most
once). It also takes one message a run. Its place is in the middle of a pipeline, where a run
that is under way has to wait for a message, and in Airflow before 3.3.

**How to start it.** Switch it on: `@continuous` keeps one run waiting. Send a message with
`make send`. Messages of another `event_type` are passed over; malformed ones go to the topic
`ml.training.requests.dead`, with the reason in their headers, and the sensor waits on.

**When it fails.** An hour without a message is no failure: the run ends, its tasks skipped.
`wait_for_message`: the topic is missing, or a dead letter could not be delivered; `make topics`,
`make status`. `train`: see `retrain_on_event`.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.apache.kafka.sensors.kafka import AwaitMessageSensor
from airflow.sdk import dag, task

from course_pipelines import DEFAULT_ARGS, Tag
from flightdelays.requests import TOPIC
from training_requests.tasks import SkipAfterTimeout, order, train_and_report
from training_requests.trigger import POLL_SECONDS


class WaitForMessage(SkipAfterTimeout, AwaitMessageSensor):
    """Waits for a message, and skips if none comes in time."""


@dag(
    schedule="@continuous",
    # Without a start the first run covers no time, the second has the same logical date, and the
    # scheduler says "run already exists" for ever.
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=[Tag.EVENTS, Tag.TRAINING],
    doc_md=__doc__,
)
def await_training_request():
    wait = WaitForMessage(
        task_id="wait_for_message",
        doc="Sleep in the triggerer until a valid request comes.",
        topics=[TOPIC],
        kafka_config_id="kafka_await_training_request",
        apply_function="training_requests.trigger.arrival_in",
        poll_timeout=POLL_SECONDS,
        # The pause after each message that is passed over; the stock 5 s let a topic pile up.
        poll_interval=0.1,
        timeout=timedelta(hours=1),
    )

    @task
    def accept(arrival: dict[str, Any]) -> list[dict[str, Any]]:
        """The training to start for the request; none if another run has taken it."""
        return order([arrival])

    train_and_report(accept(wait.output))


await_training_request()
