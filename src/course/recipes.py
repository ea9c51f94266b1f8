"""How each pipeline is shown: what it needs first, how it is started, what it says at the end."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import uuid4

from pydantic import BaseModel

from course.demo_view import label
from course.files import write_atomic
from course.follow import follow
from course.kafka import send
from course.session import BUILD, INGEST, MONTHS, REPORT, TRAIN, Session
from course.verdict import Page, Verdict
from flightdelays.requests import TOPIC


class Options(BaseModel):
    """What a person may choose for a demo."""

    model: str = ""
    answer: str = ""


class Outcome(Protocol):
    """What a demo ends with."""

    def show(self) -> None:
        """Print it."""

    @property
    def addresses(self) -> dict[str, str]:
        """Pages about it, by name."""

    def model_dump(self) -> dict[str, Any]:
        """Its values, for ``demo.json``."""


Recipe = Callable[[Session, Options], Outcome]


def ingest(session: Session, options: Options) -> Page:
    """Land one month again: it overwrites itself."""
    session.find(INGEST)
    month = MONTHS[-1]
    session.view.begin(f"Land the flights of {month}")
    with session.awake(INGEST):
        run_id = session.airflow.trigger(INGEST, {"month": month})
        follow(session.airflow, session.base, session.view, INGEST, run_id)
    rows = session.airflow.xcom(INGEST, run_id, "land")
    headline = f"{month} landed"
    session.view.end(headline)
    facts = [f"{table}: {count:,} rows" for table, count in rows.items()]
    return Page(dag_id=INGEST, run_id=run_id, headline=headline, facts=facts)


def features(session: Session, options: Options) -> Page:
    """Build what is stale; a second time there is nothing to build."""
    session.find(INGEST, BUILD, TRAIN)
    session.land(MONTHS)
    session.view.begin("Build the features")
    with session.awake(BUILD):
        run_id = session.airflow.trigger(BUILD)
        follow(session.airflow, session.base, session.view, BUILD, run_id)
    states = {label(task): task["state"] for task in session.airflow.task_instances(BUILD, run_id)}
    built = states.get("publish") == "success"
    headline = "features built and published" if built else "nothing to build: all was up to date"
    session.view.end(headline)
    facts = [f"{name}: {state}" for name, state in states.items()]
    return Page(dag_id=BUILD, run_id=run_id, headline=headline, facts=facts)


def training(session: Session, options: Options) -> Verdict:
    """The production pipeline, started by the features where that can be shown."""
    session.find(INGEST, BUILD, TRAIN)
    session.land(MONTHS)
    run_id = session.build(then_train=not options.model)
    model = options.model
    session.view.begin(f"Train {model or 'a candidate'}, judge it, deploy it or not")
    if run_id is None:
        session.airflow.pause(TRAIN, paused=False)
        run_id = session.airflow.trigger(TRAIN, {"model": model} if model else {})
    else:
        session.view.detail("started by the asset `features`")
    follow(session.airflow, session.base, session.view, TRAIN, run_id)
    verdict = Verdict.read(session.airflow.xcom(TRAIN, run_id, REPORT))
    session.view.end(verdict.headline)
    return verdict


def manual(dag_id: str, title: str, conf: Mapping[str, Any] | None = None) -> Recipe:
    """A pipeline that needs the features and is started by hand."""

    def recipe(session: Session, options: Options) -> Page:
        session.prepare()
        session.find(dag_id)
        with session.awake(dag_id):
            return session.page(title, dag_id, dict(conf or {}))

    return recipe


def request(**values: Any) -> str:
    """A training request as JSON: quick, and on the last landed month."""
    return json.dumps(
        {
            "event_id": uuid4().hex,
            "event_type": "training.requested",
            "month": MONTHS[-1],
            "model": "logistic",
            "reason": "shown by the demo",
            **values,
        }
    )


def by_message(dag_id: str) -> Recipe:
    """A pipeline that a Kafka message starts."""

    def recipe(session: Session, options: Options) -> Page:
        session.prepare()
        session.find(dag_id)
        with session.awake(dag_id, TRAIN):
            session.view.begin(f"Send a training request to the topic {TOPIC}")
            moment = datetime.now(UTC)
            sent = send(session.state.bootstrap_servers, TOPIC, request())
            session.view.end(f"partition {sent['partition']}, offset {sent['offset']}")
            session.view.begin(f"{dag_id} takes it and starts {TRAIN}")
            return session.follow(dag_id, session.run_since(dag_id, moment))

    return recipe


def by_file(session: Session, options: Options) -> Page:
    """A file arrives in the folder that a run is waiting on."""
    dag_id = "retrain_on_file"
    session.prepare()
    session.find(dag_id)
    with session.awake(dag_id, TRAIN):
        session.view.begin(f"{dag_id} waits for a file")
        run_id = session.airflow.trigger(dag_id)
        path = session.config.incoming / f"request-{uuid4().hex[:8]}.json"
        write_atomic(path, request())
        session.view.detail(f"{path.name} arrived")
        return session.follow(dag_id, run_id)


RECIPES: dict[str, Recipe] = {
    TRAIN: training,
    INGEST: ingest,
    BUILD: features,
    "model_tournament": manual("model_tournament", "Five kinds of model compete"),
    "tune_hyperparameters": manual("tune_hyperparameters", "Two workers share one study"),
    "retrain_on_event": by_message("retrain_on_event"),
    "await_training_request": by_message("await_training_request"),
    "retrain_on_file": by_file,
    "distributed_training": manual("distributed_training", "Two workers train one model"),
}
