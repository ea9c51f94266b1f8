"""The demo: from raw flights to a model that is deployed, or refused for a reason."""

import json
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from course.api import FINISHED, Airflow
from course.config import Config
from course.console import console, show_addresses
from course.demo_view import View
from course.environment import client_environment
from course.errors import CourseError
from course.files import write_atomic
from course.follow import failure, follow, wait_for
from course.stack import start
from course.state import State
from course.verdict import Verdict, show
from flightdelays.features import stale_months
from flightdelays.lake import months_between
from flightdelays.settings import MODELS, Settings
from flightdelays.source import landed_months

INGEST, BUILD, TRAIN = DAGS = ("ingest_flights", "build_features", "train_delay_model")
REPORT = "report"
"""The task of the training pipeline that pushes the path of the verdict."""

# Trained on January to August, judged on September.
MONTHS = months_between("2013-01", "2013-09")


class Demo:
    """One demo on one running stack."""

    def __init__(self, config: Config, state: State, view: View) -> None:
        self._view, self._base = view, state.url("airflow")
        self._airflow = Airflow.of(state)
        environment = client_environment(config, state)
        self.settings = Settings(lake=environment["FLIGHTDELAYS_LAKE"])
        self._dags = config.dags

    def find_dags(self) -> None:
        """Wait until Airflow has read the three pipelines."""
        self._view.begin("Airflow reads the DAG files")
        for dag_id in DAGS:
            wait_for(
                lambda dag_id=dag_id: self._known(dag_id),  # type: ignore[misc]
                seconds=180,
                problem=f"Airflow did not find the DAG {dag_id} in {self._dags}.",
                fix="make doctor, which names files that do not import",
            )
        self._view.end(", ".join(DAGS))

    def _known(self, dag_id: str) -> bool | None:
        dag = self._airflow.dag(dag_id)
        if dag is not None and not dag["has_import_errors"]:
            return True
        for error in self._airflow.import_errors():
            last = error["stack_trace"].strip().splitlines()[-1]
            if dag_id in error["filename"]:
                raise CourseError(f"{error['filename']} does not import: {last}", "make doctor")
        return None

    def land(self) -> None:
        """Land the months that are missing, by a backfill."""
        self._view.begin("Land the flights of January to September 2013")
        missing = sorted(set(MONTHS) - set(landed_months(self.settings)))
        if not missing:
            self._view.end(f"all {len(MONTHS)} months were there already", reused=True)
            return
        # A landed month would start the two others by itself; they run once, at the end.
        for dag_id in (BUILD, TRAIN):
            self._airflow.pause(dag_id)
        self._airflow.pause(INGEST, paused=False)
        for backfill in self._airflow.backfills(INGEST):
            if backfill["completed_at"] is None:
                # Left by a demo that was interrupted; Airflow allows one at a time.
                self._airflow.cancel_backfill(backfill["id"])
        backfill = self._airflow.backfill(
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
            fix=f"look at {self._base}/dags/{INGEST}",
        )
        still = sorted(set(missing) - set(landed_months(self.settings)))
        if still:
            raise CourseError(
                f"The backfill ended, but {', '.join(still)} did not land.",
                f"look at {self._base}/dags/{INGEST}",
            )
        kept = len(MONTHS) - len(missing)
        reused = f", {kept} were there already" if kept else ""
        self._view.end(f"{len(missing)} months landed{reused}")

    def _landed(self, backfill: dict[str, Any], wanted: list[str]) -> bool | None:
        """True once every month has ended; raises for the first one that failed."""
        created = datetime.fromisoformat(backfill["created_at"])
        runs = [
            run
            for run in self._airflow.runs(INGEST, run_type="backfill")
            if _month(run) in wanted
            # Of an earlier backfill, not reached by this one yet.
            and not (run["end_date"] and datetime.fromisoformat(run["end_date"]) < created)
        ]
        for run in runs:
            if run["state"] == "failed":
                self._airflow.cancel_backfill(backfill["id"])
                raise failure(self._airflow, self._base, INGEST, run["dag_run_id"])
        ended = {_month(run) for run in runs if run["state"] in FINISHED}
        active = sorted(_month(run) for run in runs if run["state"] == "running")
        now = f", at work on {', '.join(active)}" if active else ""
        self._view.detail(f"{len(ended)} of {len(wanted)} months{now}")
        return True if len(ended) == len(wanted) else None

    def build(self, model: str) -> str | None:
        """Build stale features; return the training run that their asset event started."""
        self._view.begin("Build the features")
        stale = stale_months(self.settings)
        if not stale:
            self._view.end("they were built already from the same data and SQL", reused=True)
            return None
        self._airflow.pause(BUILD, paused=False)
        # The finished features start a training by themselves, unless a model was asked for.
        self._airflow.pause(TRAIN, paused=bool(model))
        run_id = self._airflow.trigger(BUILD)
        follow(self._airflow, self._base, self._view, BUILD, run_id)
        self._view.end(f"{len(stale)} months")
        if model:
            return None
        return wait_for(
            lambda: self._started(run_id),
            seconds=120,
            problem=f"The asset event of {BUILD} did not start {TRAIN} within two minutes.",
            fix=f"look at {self._base}/dags/{TRAIN}",
        )

    def _started(self, run_id: str) -> str | None:
        runs = self._airflow.started_by(BUILD, run_id)
        return next((run["run_id"] for run in runs if run["dag_id"] == TRAIN), None)

    def train(self, model: str, run_id: str | None) -> Verdict:
        """Follow the training that the features started, or start one; return its verdict."""
        self._view.begin(f"Train {model or 'a candidate'}, judge it, deploy it or not")
        if run_id is None:
            self._airflow.pause(TRAIN, paused=False)
            run_id = self._airflow.trigger(TRAIN, {"model": model} if model else {})
        else:
            self._view.detail("started by the asset `features`")
        follow(self._airflow, self._base, self._view, TRAIN, run_id)
        verdict = Verdict.read(self._airflow.xcom(TRAIN, run_id, REPORT))
        self._view.end(verdict.headline)
        return verdict


def _month(run: dict[str, Any]) -> str:
    """The month a run of the ingest pipeline is about."""
    return str(run["partition_key"] or run["logical_date"])[:7]


class Record(BaseModel):
    """Content of ``demo.json``: what ran, how long it took, and what came of it."""

    steps: list[dict[str, Any]]
    verdict: dict[str, Any]
    addresses: dict[str, str]


def run_demo(config: Config, model: str) -> None:
    """Run the demo and leave the stack up."""
    if model and model not in MODELS:
        raise CourseError(
            f"There is no model {model!r}; there are {', '.join(MODELS)}.",
            "make demo MODEL=hist_gradient",
        )
    with View() as view:
        view.begin("Start the stack")
        state, fresh = start(config, view.detail)
        view.end("healthy" if fresh else "was running already", reused=not fresh)
        demo = Demo(config, state, view)
        demo.find_dags()
        demo.land()
        verdict = demo.train(model, demo.build(model))
    show(verdict)
    show_addresses(state, {"Data Docs": verdict.data_docs_url, "Report": verdict.report_url})
    record = Record(
        steps=[step.model_dump(exclude={"started"}) for step in view.steps],
        verdict=verdict.model_dump(),
        addresses={
            **{service: state.url(service) for service in state.ports},
            "data_docs": verdict.data_docs_url,
            "report": verdict.report_url,
        },
    )
    path = config.root / "demo.json"
    write_atomic(path, json.dumps(record.model_dump(), indent=2) + "\n")
    console.print(
        f"\nThe stack stays up; make stop ends it. The result is in {path}", soft_wrap=True
    )
