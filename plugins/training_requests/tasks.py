"""What the DAGs that take training requests have in common: accept, train, report."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.providers.standard.triggers.external_task import DagStateTrigger
from airflow.sdk import BaseOperator, Context, DagRunState, get_current_context, task
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException
from pydantic import ValidationError

from flightdelays.errors import CourseError

log = logging.getLogger(__name__)

TRAIN = "train_delay_model"
WAIT_SECONDS = 5


class SkipAfterTimeout(BaseOperator):
    """For a deferrable sensor: nothing came in time is no failure; any other end still is."""

    def resume_execution(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context
    ) -> Any:
        """Go on after the wait."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSensorTimeout as error:
            raise AirflowSkipException("nothing came in time; the next run waits again") from error


class TrainOnce(TriggerDagRunOperator):
    """Starts a training, or waits for it if an earlier try of this task has started it."""

    def execute(self, context: Context) -> None:
        """Start and wait; CourseError if the DAG is paused or that training has failed."""
        run_id = str(self.trigger_run_id)
        state = training_state(context["ti"], run_id)
        if state is None:
            if context["ti"].get_dag(self.trigger_dag_id).is_paused:
                raise CourseError(
                    f"{self.trigger_dag_id} is paused: unpause it, then clear this task"
                )
            super().execute(context)
        elif state in self.failed_states:
            raise CourseError(
                f"the run {run_id} of {self.trigger_dag_id} has failed: see there why, clear its "
                "failed task, and when it has succeeded clear this task"
            )
        elif state not in self.allowed_states:
            self.defer(
                trigger=DagStateTrigger(
                    dag_id=self.trigger_dag_id,
                    run_ids=[run_id],
                    states=self.allowed_states + self.failed_states,
                    poll_interval=self.poke_interval,
                ),
                method_name="execute_complete",
            )


def training_state(ti: Any, run_id: str) -> str | None:
    """State of a run of the training pipeline, None if there is no such run."""
    if not ti.get_dr_count(TRAIN, run_ids=[run_id]):
        return None
    return DagRunState(ti.get_dagrun_state(TRAIN, run_id)).value


def this_run() -> str:
    """``<dag_id>/<run_id>`` of the running task."""
    ti = get_current_context()["ti"]
    return f"{ti.dag_id}/{ti.run_id}"


def arrivals_in(events: Iterable[Any]) -> list[dict[str, Any]]:
    """The requests in asset events; events that somebody made by hand need not hold one."""
    from flightdelays.requests import Arrival

    found = []
    for event in events:
        try:
            arrival = Arrival.model_validate(event.extra.get("payload"))
        except ValidationError as error:
            log.warning("the asset event of %s holds no request: %s", event.timestamp, error)
        else:
            found.append(arrival.model_dump(mode="json"))
    return found


def order(arrivals: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The trainings to start for what came in; without any the rest of the run is skipped."""
    from flightdelays import retraining
    from flightdelays.requests import Arrival

    ti = get_current_context()["ti"]
    orders = retraining.accept(
        [Arrival.model_validate(arrival) for arrival in arrivals],
        this_run(),
        lambda run_id: training_state(ti, run_id),
    )
    if not orders:
        log.info(
            "nothing to train: no request came that no run has taken. To ask for a training, send "
            "a message (make send) or trigger retrain_on_file with a month"
        )
    return orders


def train_and_report(orders: Any) -> None:
    """Start the trainings in the order given, wait for them, and write the verdict."""
    train = TrainOnce.partial(
        task_id="train",
        trigger_dag_id=TRAIN,
        doc="Start the training of an order and wait for it, without holding a worker.",
        map_index_template="{{ task.conf['validation_month'] }} {{ task.conf['model'] }}",
        # One after another, so the most urgent is first.
        max_active_tis_per_dagrun=1,
        logical_date=None,
        wait_for_completion=True,
        deferrable=True,
        poke_interval=WAIT_SECONDS,
    ).expand_kwargs(orders)

    @task
    def report() -> str:
        """Path of the verdict: each request with the training that served it."""
        from flightdelays import retraining

        return retraining.report(this_run())

    train >> report()
