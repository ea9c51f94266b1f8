"""Exercise 3 with classic operators, the Kafka trigger itself, and one event for all files."""

from datetime import timedelta
from typing import Any

from airflow.providers.apache.kafka.triggers.await_message import AwaitMessageTrigger
from airflow.providers.standard.operators.python import PythonOperator
from airflow.providers.standard.sensors.filesystem import FileSensor
from airflow.sdk import DAG, Asset, AssetWatcher, Context, Param
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException

TRIGGER = AwaitMessageTrigger(
    topics=["ml.training.requests"],
    apply_function="event_driven_training.request_in",
    kafka_config_id="kafka_ex03",
    poll_timeout=0.5,
    poll_interval=0.05,
)
WANTED = Asset(name="ex03_requested", watchers=[AssetWatcher(name="kafka", trigger=TRIGGER)])
ARGS = {"owner": "you@example.com", "retries": 1, "retry_delay": timedelta(seconds=5)}


def request_in(message: Any) -> dict[str, Any] | None:
    """A request; None for anything else."""
    from flightdelays import practice_events as events

    value = message.value()
    origin = f"{message.topic()}/{message.partition()}/{message.offset()}"
    try:
        return events.read(value, origin)
    except Exception as error:
        events.set_aside(value, f"{type(error).__name__}: {error}", origin)
        return None


def accept(
    params: dict[str, Any], dag_run: Any, inlet_events: Any, run_id: str
) -> list[dict[str, Any]]:
    """What this run trains, in the form that a mapped task takes: one set of arguments each."""
    from flightdelays import practice_events as events

    found: dict[str, dict[str, Any]] = {}
    for event in inlet_events[WANTED].after((dag_run.run_after - timedelta(days=1)).isoformat()):
        payload = event.extra.get("payload", [])
        for request in payload if isinstance(payload, list) else [payload]:
            found.setdefault(request["event_id"], request)
    if params["month"]:
        asked = events.request(params["month"], run_id)
        found[asked["event_id"]] = asked
    mine = [request for request in found.values() if events.claim(request, run_id)]
    return [{"request": request} for request in mine]


def train(request: dict[str, Any]) -> dict[str, Any]:
    """Train for one request."""
    from flightdelays import practice_events as events

    return events.train(request)


def hand_on(run_id: str, outlet_events: Any) -> None:
    """Take the files, announce what they hold, and put them away."""
    from flightdelays import practice_events as events

    outlet_events[WANTED].extra = {"payload": events.take(run_id)}
    events.settle(run_id)


class PatientSensor(FileSensor):
    """Skips if no file comes in time; anything else that goes wrong still fails."""

    def resume_execution(self, next_method: str, next_kwargs: Any, context: Context) -> Any:
        """Go on after the wait."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSensorTimeout as error:
            raise AirflowSkipException("no file came in time") from error


with DAG(
    dag_id="ex03_train",
    schedule=[WANTED],
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["exercise"],
    params={"month": Param(None, type=["null", "string"], pattern="^2013-(0[1-9]|1[012])$")},
    default_args=ARGS,
):
    accepted = PythonOperator(task_id="accept", python_callable=accept, inlets=[WANTED])
    PythonOperator.partial(task_id="train", python_callable=train).expand(op_kwargs=accepted.output)

with DAG(
    dag_id="ex03_on_file",
    schedule=timedelta(minutes=10),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["exercise"],
    default_args=ARGS,
):
    wait = PatientSensor(
        task_id="wait_for_file",
        fs_conn_id="fs_incoming",
        filepath="ex03/*.json",
        deferrable=True,
        poke_interval=10,
        timeout=500,
    )
    wait >> PythonOperator(task_id="hand_on", python_callable=hand_on, outlets=[WANTED])
