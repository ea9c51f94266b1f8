"""What the demos have in common: pipelines found, months landed, features built, runs followed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from course.api import FINISHED, Airflow
from course.config import Config
from course.demo_view import View
from course.environment import ml_settings
from course.errors import CourseError
from course.follow import failure, follow, wait_for
from course.state import State
from course.verdict import Page
from flightdelays.features import stale_months
from flightdelays.lake import months_between
from flightdelays.settings import Settings
from flightdelays.source import landed_months

INGEST, BUILD, TRAIN = "ingest_flights", "build_features", "train_delay_model"
REPORT = "report"
"""The task of every pipeline that pushes the path of its verdict."""

# Trained on January to August, judged on September.
MONTHS = months_between("2013-01", "2013-09")


class Session:
    """One demo on one running stack."""

    def __init__(self, config: Config, state: State, view: View) -> None:
        self.config, self.state, self.view = config, state, view
        self.airflow, self.base = Airflow.of(state), state.url("airflow")
        self.settings = self.ml_settings()

    def ml_settings(self) -> Settings:
        """The settings that the tasks have, as they are to be used from here."""
        return ml_settings(self.config, self.state)

    def written(self, dag_id: str, run_id: str) -> str:
        """Where the verdict of a run can be read from here."""
        return str(self.airflow.xcom(dag_id, run_id, REPORT))

    def find(self, *dag_ids: str) -> None:
        """Wait until Airflow has read these pipelines."""
        self.view.begin("Airflow reads the DAG files")
        for dag_id in dag_ids:
            wait_for(
                lambda dag_id=dag_id: self._known(dag_id),  # type: ignore[misc]
                seconds=180,
                problem=f"Airflow did not find the DAG {dag_id} in {self.config.dags}.",
                fix="make doctor, which names files that do not import",
            )
        self.view.end(", ".join(dag_ids))

    def _known(self, dag_id: str) -> bool | None:
        dag = self.airflow.dag(dag_id)
        if dag is not None and not dag["has_import_errors"]:
            return True
        for error in self.airflow.import_errors():
            last = error["stack_trace"].strip().splitlines()[-1]
            if dag_id in error["filename"]:
                raise CourseError(f"{error['filename']} does not import: {last}", "make doctor")
        return None

    @contextmanager
    def awake(self, *dag_ids: str) -> Iterator[None]:
        """Unpause these DAGs; pause those again that were paused before."""
        asleep = [name for name in dag_ids if (self.airflow.dag(name) or {}).get("is_paused")]
        for dag_id in asleep:
            self.airflow.pause(dag_id, paused=False)
        try:
            yield
        finally:
            for dag_id in asleep:
                self.airflow.pause(dag_id)

    def land(self, months: list[str]) -> None:
        """Land the months that are missing, by a backfill."""
        self.view.begin(f"Land the flights of {months[0]} to {months[-1]}")
        missing = sorted(set(months) - set(landed_months(self.settings)))
        if not missing:
            self.view.end(f"all {len(months)} months were there already", reused=True)
            return
        # A landed month would start the two others by itself; they run once, at the end.
        for dag_id in (BUILD, TRAIN):
            self.airflow.pause(dag_id)
        self.airflow.pause(INGEST, paused=False)
        for backfill in self.airflow.backfills(INGEST):
            if backfill["completed_at"] is None:
                # Left by a demo that was interrupted; Airflow allows one at a time.
                self.airflow.cancel_backfill(backfill["id"])
        backfill = self.airflow.backfill(
            INGEST,
            f"{missing[0]}-01T00:00:00Z",
            f"{missing[-1]}-01T00:00:00Z",
            max_active_runs=2,
            # The lake says that they are missing, whatever Airflow remembers of them.
            reprocess_behavior="completed",
        )
        wanted = months_between(missing[0], missing[-1])
        wait_for(
            lambda: self._landed(backfill, wanted),
            seconds=1800,
            problem="The months did not land within half an hour.",
            fix=f"look at {self.base}/dags/{INGEST}",
        )
        still = sorted(set(missing) - set(landed_months(self.settings)))
        if still:
            raise CourseError(
                f"The backfill ended, but {', '.join(still)} did not land.",
                f"look at {self.base}/dags/{INGEST}",
            )
        kept = len(months) - len(missing)
        reused = f", {kept} were there already" if kept else ""
        self.view.end(f"{len(missing)} months landed{reused}")

    def _landed(self, backfill: dict[str, Any], wanted: list[str]) -> bool | None:
        """True once every month has ended; raises for the first one that failed."""
        created = datetime.fromisoformat(backfill["created_at"])
        runs = [
            run
            for run in self.airflow.runs(INGEST, run_type="backfill")
            if _month(run) in wanted
            # Of an earlier backfill, not reached by this one yet.
            and not (run["end_date"] and datetime.fromisoformat(run["end_date"]) < created)
        ]
        for run in runs:
            if run["state"] == "failed":
                self.airflow.cancel_backfill(backfill["id"])
                raise failure(self.airflow, self.base, INGEST, run["dag_run_id"])
        ended = {_month(run) for run in runs if run["state"] in FINISHED}
        active = sorted(_month(run) for run in runs if run["state"] == "running")
        now = f", at work on {', '.join(active)}" if active else ""
        self.view.detail(f"{len(ended)} of {len(wanted)} months{now}")
        return True if len(ended) == len(wanted) else None

    def build(self, *, then_train: bool = False) -> str | None:
        """Build stale features; return the training run that their asset event started.

        Without ``then_train`` the event starts none.
        """
        self.view.begin("Build the features")
        stale = stale_months(self.settings)
        if not stale:
            self.view.end("they were built already from the same data and SQL", reused=True)
            return None
        self.airflow.pause(BUILD, paused=False)
        self.airflow.pause(TRAIN, paused=not then_train)
        run_id = self.airflow.trigger(BUILD)
        follow(self.airflow, self.base, self.view, BUILD, run_id)
        self.view.end(f"{len(stale)} months")
        if not then_train:
            return None
        return wait_for(
            lambda: self._started(run_id),
            seconds=120,
            problem=f"The asset event of {BUILD} did not start {TRAIN} within two minutes.",
            fix=f"look at {self.base}/dags/{TRAIN}",
        )

    def _started(self, run_id: str) -> str | None:
        runs = self.airflow.started_by(BUILD, run_id)
        return next((run["run_id"] for run in runs if run["dag_id"] == TRAIN), None)

    def prepare(self, months: list[str] = MONTHS) -> None:
        """Months landed and features built, and no training started by that."""
        self.find(INGEST, BUILD, TRAIN)
        asleep = (self.airflow.dag(TRAIN) or {}).get("is_paused", True)
        self.land(months)
        self.build()
        self.airflow.pause(TRAIN, paused=asleep)

    def page(self, title: str, dag_id: str, conf: dict[str, Any] | None = None) -> Page:
        """Start a run, follow it to its end and return what its report says."""
        self.view.begin(title)
        run_id = self.airflow.trigger(dag_id, conf)
        return self.follow(dag_id, run_id)

    def follow(self, dag_id: str, run_id: str) -> Page:
        """Follow a run to its end and return what its report says."""
        follow(self.airflow, self.base, self.view, dag_id, run_id)
        page = Page.read(self.written(dag_id, run_id))
        self.view.end(page.headline)
        return page

    def end_of(self, dag_id: str, run_id: str) -> str:
        """Follow a run that may fail; its state at the end."""
        while True:
            state = str(self.airflow.run(dag_id, run_id)["state"])
            self.view.tasks(self.airflow.task_instances(dag_id, run_id))
            if state in FINISHED:
                return state
            time.sleep(1)

    def ended(self, dag_id: str, backfill: dict[str, Any], number: int) -> list[str] | None:
        """Ids of the runs of a backfill, in order, once there are ``number`` that have ended."""
        created = datetime.fromisoformat(backfill["created_at"])
        runs = [
            run
            for run in self.airflow.runs(dag_id, run_type="backfill", order_by="run_after")
            if run["end_date"] and datetime.fromisoformat(run["end_date"]) > created
        ]
        for run in runs:
            if run["state"] == "failed":
                raise failure(self.airflow, self.base, dag_id, run["dag_run_id"])
        self.view.detail(f"{len(runs)} of {number} months")
        return [str(run["dag_run_id"]) for run in runs] if len(runs) == number else None

    def run_since(self, dag_id: str, moment: datetime, seconds: float = 120) -> str:
        """The first run of a DAG that was created after ``moment``."""

        def found() -> str | None:
            runs = self.airflow.runs(dag_id, order_by="run_after")
            new = [r for r in runs if datetime.fromisoformat(r["queued_at"] or "") > moment]
            return str(new[0]["dag_run_id"]) if new else None

        return wait_for(
            found,
            seconds=seconds,
            problem=f"No run of {dag_id} began within {seconds:.0f} s.",
            fix=f"look at {self.base}/dags/{dag_id}",
        )


def _month(run: dict[str, Any]) -> str:
    """The month a run of the ingest pipeline is about."""
    return str(run["partition_key"] or run["logical_date"])[:7]
