"""The year played: a champion grows old, is found out, retrained and replaced."""

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from course.recipes import SETTLED
from flightdelays import features, registry, source, store
from flightdelays.settings import Settings
from flightdelays.source import landed_months

from .test_pipelines import finish, tasks, wait

pytestmark = pytest.mark.live

TRAIN, MONITOR, EVENT, PROMOTE = LOOP = (
    "train_delay_model",
    "monitor_drift",
    "retrain_on_event",
    "promote_model",
)
YEAR = [f"2013-{number:02d}" for number in range(1, 13)]


@pytest.fixture(scope="module")
def settings(stack: Any) -> Settings:
    """The whole year landed and built; no model so far, whatever other tests have trained."""
    found: Settings = stack.settings
    for month in YEAR:
        if month not in landed_months(found):
            source.land(month, found)
    for view, months in features.stale(found).items():
        for month in months:
            features.build(view, month, found)
    store.apply(found)
    client = registry.client(found)
    if client.search_registered_models(f"name = '{found.model_name}'"):
        client.delete_registered_model(found.model_name)
    for dag_id in LOOP:
        wait(f"{dag_id} is parsed", lambda dag_id=dag_id: stack.api.dag(dag_id))
        stack.api.pause(dag_id, paused=False)
    return found


def verdict(stack: Any, dag_id: str, run_id: str) -> dict[str, Any]:
    """What the report of a run says."""
    found: dict[str, Any] = json.loads(
        Path(stack.api.xcom(dag_id, run_id, "report")).read_text("utf-8")
    )
    return found


def test_from_drift_to_a_new_champion(stack: Any, settings: Settings) -> None:
    # A champion of January and February. Nothing it sees is later than March.
    run_id = stack.api.trigger(TRAIN, {"train_from": YEAR[0], "validation_month": YEAR[2]})
    assert finish(stack, TRAIN, run_id) == "success"
    first = verdict(stack, TRAIN, run_id)
    assert first["deployed"], first["reasons"]
    assert registry.alias_version("champion", settings) == first["version"]

    # April is well; some later month is not.
    asked = ""
    for month in ("2013-04", *YEAR[6:]):
        run_id = stack.api.trigger(MONITOR, {"month": month})
        assert finish(stack, MONITOR, run_id) == "success"
        found = verdict(stack, MONITOR, run_id)["data"]
        now, before = found["months"][month]["auc"], first["metrics"]["auc"]
        assert found["drifted"] is (tasks(stack, MONITOR, run_id)["publish"]["state"] == "success")
        if found["drifted"]:
            asked = month
            break
        assert before - now <= settings.drift_auc_fall
    assert asked > "2013-04"
    assert before - now > settings.drift_auc_fall
    sent = tasks(stack, MONITOR, run_id)["publish"]
    request_id = stack.api.xcom(MONITOR, run_id, "publish")["event_id"]

    # The message starts a training on everything before that month, judged by that month.
    training = f"request__{request_id}"
    wait("the training runs", lambda: stack.api.runs(TRAIN, run_id_pattern=training))
    assert finish(stack, TRAIN, training) == "success"
    challenger = verdict(stack, TRAIN, training)
    assert challenger["validation_month"] == asked
    assert challenger["train_from"] == YEAR[0]
    # Judged beside the champion on the same rows, and deployed because it is better.
    assert challenger["champion"]["version"] == first["version"]
    assert challenger["champion"]["auc"] == pytest.approx(now, abs=1e-9)
    assert challenger["metrics"]["auc"] > challenger["champion"]["auc"] + 0.01
    assert challenger["metrics"]["pr_auc"] > challenger["champion"]["pr_auc"]
    assert challenger["deployed"]
    assert registry.alias_version("staging", settings) == challenger["version"]
    deploy = tasks(stack, TRAIN, training)["deploy"]
    moments = [datetime.fromisoformat(task["end_date"]) for task in (sent, deploy)]
    print(f"from the message to the challenger in staging: {moments[1] - moments[0]}")

    # Nobody but a person makes it the champion.
    assert registry.alias_version("champion", settings) == first["version"]
    (question,) = wait(
        "the question is asked",
        lambda: [
            run["dag_run_id"]
            for run in stack.api.runs(PROMOTE, state="running")
            if tasks(stack, PROMOTE, run["dag_run_id"])["approve"]["state"] == "awaiting_input"
        ],
    )
    # Answered before the executor has reported it, Airflow 3.3 takes the task for dead.
    time.sleep(SETTLED)
    stack.api.answer(PROMOTE, question, "approve", "Approve")
    ended = finish(stack, PROMOTE, question)
    assert ended == "success", tasks(stack, PROMOTE, question)
    assert registry.alias_version("champion", settings) == challenger["version"]

    # The new champion is well in the month that was the undoing of the old one.
    run_id = stack.api.trigger(MONITOR, {"month": asked})
    assert finish(stack, MONITOR, run_id) == "success"
    assert verdict(stack, MONITOR, run_id)["data"]["drifted"] is False
    (event,) = [run["dag_run_id"] for run in stack.api.runs(EVENT, run_type="asset_triggered")][-1:]
    assert finish(stack, EVENT, event) == "success"
