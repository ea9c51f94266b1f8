"""
### Train when a file arrives, or when the REST API asks for it

**What runs.** A scheduled run sleeps in the triggerer until a JSON file lies in the folder
`.course/incoming`, takes all that are there and has them trained as `retrain_on_event` does: the
fields, the ledger and the report are the same. Files go to `done/`, malformed ones to `rejected/`
with a `.reason.txt` beside them. A run that is triggered with a request, or with the name of a
file, waits for nothing and takes exactly that.

**How to start it.** Switch it on; a run begins every ten minutes. Put a file such as
`{"month": "2013-09", "reason": "new carrier"}` there: write it under a name that ends in `.tmp`,
then rename it, so that nobody reads half of it. By REST, or by hand, with parameters: `month` and
the other fields of a request, or `path`, the name of a file in the folder.

**When it fails.** Nine minutes without a file are no failure: the run ends, its tasks skipped.
`choose`: the parameters contradict each other. `take`: `path` leaves the folder, or there is no
such file. `train`: see `retrain_on_event`. Files of a run that failed lie in `taken/`; clear its
failed task and it goes on with them.
"""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.sensors.filesystem import FileSensor
from airflow.sdk import Param, TriggerRule, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from course_pipelines import DEFAULT_ARGS, Tag
from flightdelays.requests import EVENT_ID, MONTH, Priority
from flightdelays.settings import MODELS
from training_requests.tasks import SkipAfterTimeout, order, this_run, train_and_report

OPTIONAL = ["null", "string"]
FIELDS = ("month", "train_from", "model", "reason", "priority", "event_id")


class WaitForFile(SkipAfterTimeout, FileSensor):
    """Waits for a file, and skips if none comes in time."""


@dag(
    schedule="*/10 * * * *",
    catchup=False,
    max_active_runs=4,
    default_args=DEFAULT_ARGS,
    params={
        "path": Param(None, type=OPTIONAL, description="name of a file in the incoming folder"),
        "month": Param(None, type=OPTIONAL, pattern=MONTH, description="month to judge by"),
        "train_from": Param(None, type=OPTIONAL, pattern=MONTH, description="first to train on"),
        "model": Param("hist_gradient", enum=list(MODELS), description="kind of model to train"),
        "reason": Param("asked for by hand or by REST", type="string", minLength=1, maxLength=500),
        "priority": Param(str(Priority.NORMAL), enum=[str(priority) for priority in Priority]),
        "event_id": Param(
            None, type=OPTIONAL, pattern=EVENT_ID, description="default: made from the run's name"
        ),
    },
    tags=[Tag.EVENTS, Tag.TRAINING],
    doc_md=__doc__,
)
def retrain_on_file():
    @task.branch
    def choose() -> str:
        """Wait for a file, unless the run was triggered with a request or with a file's name."""
        from flightdelays.errors import CourseError

        params = get_current_context()["params"]
        if params["path"] is not None and params["month"] is not None:
            raise CourseError("path and month are both given: give a file's name or a request")
        waits = params["path"] is None and params["month"] is None
        return "wait_for_file" if waits else "take"

    wait = WaitForFile(
        task_id="wait_for_file",
        doc="Sleep in the triggerer until a complete file is there.",
        fs_conn_id="fs_incoming",
        filepath="*.json",
        deferrable=True,
        poke_interval=5,
        timeout=timedelta(minutes=9).total_seconds(),
    )

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def take() -> list[dict[str, Any]]:
        """The requests that are this run's from now on; skips if there are none."""
        from flightdelays import incoming
        from flightdelays.requests import from_fields

        context = get_current_context()
        params = context["params"]
        if params["month"] is None:
            arrivals = incoming.take(this_run(), params["path"])
        else:
            fields = {name: params[name] for name in FIELDS if params[name] is not None}
            arrivals = [from_fields(fields, f"run {this_run()}", context["dag_run"].run_after)]
        if not arrivals:
            raise AirflowSkipException("no request: no file came, or all were taken or rejected")
        return [arrival.model_dump(mode="json") for arrival in arrivals]

    @task
    def accept(arrivals: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Trainings to start for the requests that no run has taken; the files are done with."""
        from flightdelays import incoming

        orders = order(arrivals)
        incoming.settle(this_run())
        return orders

    taken = take()
    choose() >> [wait, taken]
    wait >> taken
    train_and_report(accept(taken))


retrain_on_file()
