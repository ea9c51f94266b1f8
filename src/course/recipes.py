"""How each pipeline is shown: what it needs first, how it is started, what it says at the end."""

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import typer
from pydantic import BaseModel

from course.demo_view import label
from course.errors import CourseError
from course.files import write_atomic
from course.follow import failure, follow, wait_for
from course.kafka import send
from course.listener import Listener
from course.session import BUILD, INGEST, MONTHS, TRAIN, Session
from course.verdict import Page, Verdict
from flightdelays import markets, registry
from flightdelays.lake import months_between
from flightdelays.requests import TOPIC

YEAR = months_between("2013-01", "2013-12")
# The executor reports a task that has begun to wait a few seconds later; Airflow 3.3 takes one that
# was answered before that for dead, and asks again.
SETTLED = 8
ANSWERS = {"yes": "Approve", "no": "Reject"}


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
    verdict = Verdict.read(session.written(TRAIN, run_id))
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
            session.airflow.parse(dag_id)
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
        session.airflow.trigger(dag_id)
        over = {run["dag_run_id"] for run in session.airflow.runs(dag_id) if run["end_date"]}
        path = session.config.incoming / f"request-{uuid4().hex[:8]}.json"
        write_atomic(path, request())
        session.view.detail(f"{path.name} arrived")
        return session.follow(dag_id, _taker(session, dag_id, over))


def _taker(session: Session, dag_id: str, over: set[str]) -> str:
    """The run that has taken the file; ``over`` are those that had ended when it arrived.

    Unpausing may start a run of the schedule as well, and then either of the two takes it.
    """

    def found() -> str | None:
        for run_id in {run["dag_run_id"] for run in session.airflow.runs(dag_id)} - over:
            for task in session.airflow.task_instances(dag_id, run_id):
                if task["task_id"] == "take" and task["state"] == "success":
                    return str(run_id)
        return None

    return wait_for(
        found, 120, "No run took the file within two minutes.", f"look at {session.base}"
    )


def drift(session: Session, options: Options) -> Page:
    """Play the year: a champion grows old, and is replaced when it has drifted."""
    dag_id, event = "monitor_drift", "retrain_on_event"
    session.prepare(YEAR)
    session.find(dag_id, event)
    with session.awake(dag_id, event, TRAIN):
        session.airflow.parse(event)
        champion = registry.alias_version(registry.CHAMPION, session.settings)
        if champion is None:
            session.view.begin("Train a champion on January and February alone")
            run_id = session.airflow.trigger(
                TRAIN, {"train_from": YEAR[0], "validation_month": YEAR[2]}
            )
            follow(session.airflow, session.base, session.view, TRAIN, run_id)
            verdict = Verdict.read(session.written(TRAIN, run_id))
            session.view.end(verdict.headline)
            champion = registry.alias_version(registry.CHAMPION, session.settings)
        if champion is None:
            raise CourseError("There is no champion to monitor.", "make demo")
        judged_on = registry.describe(champion, session.settings).window.validation
        return _until_drift(session, [month for month in YEAR if month > judged_on])


def _until_drift(session: Session, months: list[str]) -> Page:
    """Monitor one month after the other; at the first drift follow the retraining."""
    page = None
    for month in months:
        moment = datetime.now(UTC)
        page = session.page(
            f"How is the champion doing in {month}?", "monitor_drift", {"month": month}
        )
        if not page.data.get("drifted"):
            continue
        session.view.begin("Kafka carries the request to retrain_on_event")
        retrained = session.follow(
            "retrain_on_event", session.run_since("retrain_on_event", moment)
        )
        took = (datetime.now(UTC) - moment).total_seconds()
        facts = [*page.facts, retrained.headline, *retrained.facts]
        facts.append(f"From the question to the answer it took {took:.0f} s.")
        if any("deployed as" in fact for fact in retrained.facts):
            facts.append("Next: make demo DAG=promote_model")
        return page.model_copy(update={"facts": facts})
    if page is None:
        raise CourseError(
            "The champion was judged on the last month of the data: there is nothing after it.",
            "make clean, then: make demo DAG=monitor_drift",
        )
    return page


def promotion(session: Session, options: Options) -> Page:
    """A challenger asks a person: you, or the answer that was given with the command."""
    dag_id = "promote_model"
    session.prepare()
    session.find(dag_id)
    settings = session.settings
    for model in ("random_forest", "hist_gradient", "catboost"):
        # The first becomes champion by itself, the next better one a challenger.
        staged, champion = (
            registry.alias_version(alias, settings)
            for alias in (registry.STAGING, registry.CHAMPION)
        )
        if staged != champion:
            break
        with session.awake(TRAIN):
            session.view.begin(f"Train {model}: somebody must challenge the champion")
            run_id = session.airflow.trigger(TRAIN, {"model": model})
            follow(session.airflow, session.base, session.view, TRAIN, run_id)
            verdict = Verdict.read(session.written(TRAIN, run_id))
            session.view.end(verdict.headline)
    with session.awake(dag_id):
        session.view.begin("A person decides")
        run_id = session.airflow.trigger(dag_id)
        _answer(session, dag_id, run_id, options.answer)
        return session.follow(dag_id, run_id)


def _answer(session: Session, dag_id: str, run_id: str, answer: str) -> None:
    """Answer the question of a run, unless it found that there is nothing to decide."""
    url = f"{session.base}/dags/{dag_id}/runs/{run_id}/required_actions"

    def asked() -> str | None:
        states = {
            task["task_id"]: task["state"]
            for task in session.airflow.task_instances(dag_id, run_id)
        }
        if states.get("approve") == "awaiting_input":
            return "yes"
        return "no" if states.get("approve") in ("skipped", "upstream_failed") else None

    if wait_for(asked, 120, "Nobody was asked within two minutes.", f"look at {url}") == "no":
        return
    time.sleep(SETTLED)
    if not answer:
        with session.view.silent():
            agreed = typer.confirm(f"Approve? (or answer at {url})", default=False)
        answer = "yes" if agreed else "no"
    session.airflow.answer(dag_id, run_id, "approve", ANSWERS[answer])
    session.view.detail(f"answered: {ANSWERS[answer]}")


def watched(session: Session, options: Options) -> Page:
    """A training that fails once: the notices that people get, the metrics that machines get."""
    dag_id = "monitored_training"
    session.prepare()
    session.find(dag_id)
    alerts = session.config.root / "alerts.jsonl"
    with session.awake(dag_id), Listener(session.state.ports["statsd"]) as listener:
        session.view.begin("A training that fails at its first try")
        run_id = session.airflow.trigger(dag_id, {"plant": "flaky"})
        page = session.follow(dag_id, run_id)
        told = wait_for(
            lambda: _told(alerts, run_id),
            60,
            "The notice of success did not arrive within a minute.",
            "make logs C=dag-processor",
        )
        facts = [f"{notice['type']}: {notice['title']}" for notice in told]
        metrics = [f"metric {line}" for line in listener.lines if ".training." in line]
    return page.model_copy(update={"facts": [*page.facts, *facts, *metrics, f"Alerts: {alerts}"]})


def _told(alerts: Path, run_id: str) -> list[dict[str, Any]] | None:
    """The notices about a run, once the last one is there."""
    lines = alerts.read_text("utf-8").splitlines() if alerts.exists() else []
    told = [notice for line in lines if run_id in (notice := json.loads(line))["body"]]
    return told if any(notice["type"] == "success" for notice in told) else None


def market(session: Session, options: Options) -> Page:
    """One of the DAGs that the list of markets gives."""
    listed = sorted(entry.dag_id for entry in markets.load(session.settings.markets).markets)
    session.prepare()
    session.find(*listed)
    with session.awake(listed[0]):
        page = session.page(f"{len(listed)} markets, one DAG each; this one", listed[0])
    facts = [*page.facts, f"DAGs from {session.settings.markets}: {', '.join(listed)}"]
    return page.model_copy(update={"facts": facts})


def backfill(session: Session, options: Options) -> Page:
    """A feature computed for past months, two at a time, by Airflow's own backfill."""
    dag_id, view, months = "backfill_feature", "origin_delays", MONTHS[:4]
    session.prepare()
    session.find(dag_id)
    with session.awake(dag_id):
        session.view.begin(f"Backfill {view} for {months[0]} to {months[-1]}")
        created = session.airflow.backfill(
            dag_id,
            f"{months[0]}-01T00:00:00Z",
            f"{months[-1]}-01T00:00:00Z",
            max_active_runs=2,
            reprocess_behavior="completed",
            dag_run_conf={"view": view},
        )
        runs = wait_for(
            lambda: session.ended(dag_id, created, len(months)),
            600,
            "The backfill did not end within ten minutes.",
            f"look at {session.base}/dags/{dag_id}",
        )
        pages = [Page.read(session.written(dag_id, run)) for run in runs]
        session.view.end(f"{len(pages)} months")
    facts = [fact for page in pages for fact in (page.headline, *page.facts)]
    headline = f"{view} computed for {len(pages)} months; no other feature was touched"
    return pages[-1].model_copy(update={"headline": headline, "facts": facts, "tables": {}})


def in_pods(dag_id: str, title: str, needs: str) -> Recipe:
    """A training in pods; without a cluster the pipeline says what is missing."""

    def recipe(session: Session, options: Options) -> Page:
        return _in_pods(session, dag_id, title, needs)

    return recipe


def _in_pods(session: Session, dag_id: str, title: str, needs: str) -> Page:
    session.prepare()
    session.find(dag_id)
    with session.awake(dag_id):
        session.view.begin(title)
        run_id = session.airflow.trigger(dag_id)
        ended = session.end_of(dag_id, run_id)
        if ended == "success":
            page = Page.read(session.written(dag_id, run_id))
            session.view.end(page.headline)
            return page
        told = str(failure(session.airflow, session.base, dag_id, run_id)).splitlines()
    session.view.end("not trained")
    marker = "CourseError: "
    reasons = [line.partition(marker)[2] for line in told if marker in line]
    return Page(
        dag_id=dag_id,
        run_id=run_id,
        headline=f"Not trained: this pipeline needs {needs}",
        facts=reasons or told,
    )


RECIPES: dict[str, Recipe] = {
    TRAIN: training,
    INGEST: ingest,
    BUILD: features,
    "backfill_feature": backfill,
    "model_tournament": manual("model_tournament", "Five kinds of model compete"),
    "tune_hyperparameters": manual("tune_hyperparameters", "Two workers share one study"),
    "retrain_on_event": by_message("retrain_on_event"),
    "await_training_request": by_message("await_training_request"),
    "retrain_on_file": by_file,
    "monitor_drift": drift,
    "promote_model": promotion,
    "monitored_training": watched,
    "market_models": market,
    "train_on_gpu_pod": in_pods(
        "train_on_gpu_pod", "Train in a pod with a GPU", "a Kubernetes cluster with a GPU"
    ),
    "distributed_training_on_pods": in_pods(
        "distributed_training_on_pods", "Train on workers that are pods", "a Kubernetes cluster"
    ),
    "distributed_training": manual("distributed_training", "Two workers train one model"),
}
