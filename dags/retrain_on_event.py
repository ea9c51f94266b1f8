"""
### Train when Kafka asks for it

**What runs.** A watcher in the triggerer reads the topic `ml.training.requests` and stores each
valid request as an event of the asset `training_requests`, which starts a run. `accept` takes the
requests that no run has taken yet (a ledger in the lake decides: an event id is trained once),
puts those for the same month and model together, and orders the trainings, the most urgent first;
each is a run of `train_delay_model`. Messages of another `event_type` are passed over, malformed
ones go to the topic `ml.training.requests.dead` with the reason in their headers.

**How to start it.** Send a message:
`make send MESSAGE='{"month": "2013-09", "reason": "new carrier"}'`; optional fields are `event_id`,
`train_from`, `model` and `priority` (high, normal, low). A run triggered by hand takes what other
runs have left. While this DAG is paused the messages wait in Kafka.

**When it fails.** `train`: `train_delay_model` is paused, or the training failed; the message
names the run. Mend that, then clear the task: a training that exists is waited for, not started
again. No run after a message: look for it among the dead letters, then in the triggerer's log.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, AssetWatcher, dag, get_current_context, task

from course_pipelines import DEFAULT_ARGS, Tag
from training_requests.tasks import arrivals_in, order, train_and_report
from training_requests.trigger import TrainingRequestTrigger

TRAINING_REQUESTS = Asset(
    name="training_requests",
    group="requests",
    watchers=[AssetWatcher(name="kafka", trigger=TrainingRequestTrigger())],
)
# A run is told of one event of a burst at least, and not of all: those that come between the
# first and the creation of the run are missing. So each run looks at all events of a day.
LOOK_BACK = timedelta(days=1)


@dag(
    schedule=[TRAINING_REQUESTS],
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=[Tag.EVENTS, Tag.TRAINING, Tag.PRODUCTION],
    doc_md=__doc__,
)
def retrain_on_event():
    # [START accept]
    @task(inlets=[TRAINING_REQUESTS])
    def accept() -> list[dict[str, Any]]:
        """Trainings to start for the requests that no run has taken."""
        context = get_current_context()
        since = context["dag_run"].run_after - LOOK_BACK
        events = context["inlet_events"][TRAINING_REQUESTS].after(since.isoformat())
        return order(arrivals_in(events))

    # [END accept]

    train_and_report(accept())


retrain_on_event()
