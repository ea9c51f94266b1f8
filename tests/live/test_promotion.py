"""A person decides over the REST API, in a scheduler that is really running: yes, no, silence."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from course.api import FINISHED, AirflowError
from course.recipes import SETTLED
from flightdelays import models, registry, source, training_set
from flightdelays.dataset import LABEL, feature_columns
from flightdelays.registry import APPROVED_BY, CHAMPION, STAGING
from flightdelays.runs import Window
from flightdelays.settings import Settings

pytestmark = pytest.mark.live

DAG_ID, ASK = "promote_model", "approve"


def wait(what: str, condition: Callable[[], Any], seconds: float = 120) -> Any:
    """The first true value of ``condition``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.3)
    return value


def path(run_id: str) -> str:
    """Where a run's question is read and answered."""
    return f"/api/v2/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/{ASK}/-1/hitlDetails"


def states(stack: Any, run_id: str) -> dict[str, str]:
    return {task["task_id"]: task["state"] for task in stack.api.task_instances(DAG_ID, run_id)}


def finish(stack: Any, run_id: str) -> str:
    return str(
        wait(
            f"{run_id} ends",
            lambda: (state := stack.api.run(DAG_ID, run_id)["state"]) in FINISHED and state,
        )
    )


def headline(stack: Any, run_id: str) -> str:
    return str(json.loads(Path(stack.api.xcom(DAG_ID, run_id, "report")).read_text())["headline"])


@pytest.fixture(scope="module")
def challenge(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Versions of champion and challenger: small real models in the registry of the stack."""
    settings: Settings = stack.settings
    lake = tmp_path_factory.mktemp("lake")
    apart = settings.model_copy(update={"lake": str(lake)})
    source.land("2013-01", apart)
    rows = training_set.prediction_rows(Window("2013-01", "2013-01", "2013-02"), apart)
    # What is known without the feature store is enough here.
    numbers = [c for c in rows.columns if str(rows[c].dtype).startswith(("int", "Int"))]
    rows = rows.tail(3_000).astype(dict.fromkeys(set(numbers) - {LABEL, "flight"}, "float64"))
    fitted = models.make("lightgbm").fit(rows[feature_columns(list(rows.columns))], rows[LABEL])
    number = 0
    for name in ("first", "second"):
        params = {"train_from": "2013-01", "train_to": "2013-01", "validation": "2013-02"}
        run_id, address = registry.log_candidate(fitted, "lightgbm", rows, params, name, settings)
        for metric, value in {"auc": 0.6, "pr_auc": 0.3, "log_loss": 0.5}.items():
            registry.client(settings).log_metric(run_id, metric, value)
        number, _ = registry.deploy(run_id, address, rows.tail(5), settings)
    champion = registry.alias_version(CHAMPION, settings)
    assert champion is not None
    assert champion != number
    yield champion, number
    # No training that follows should be judged beside these.
    registry.client(settings).delete_registered_model(settings.model_name)


@pytest.fixture(scope="module")
def asked(stack: Any, challenge: tuple[int, int]) -> dict[str, str]:
    """Three runs that wait for an answer at once, the first of them started by the asset."""
    wait("the DAG is parsed", lambda: stack.api.dag(DAG_ID))
    stack.api.pause(DAG_ID, paused=False)
    known = {run["dag_run_id"] for run in stack.api.runs(DAG_ID)}
    assets = stack.api.request("GET", "/api/v2/assets", params={"name_pattern": "staging_model"})
    (asset,) = assets["assets"]
    stack.api.request("POST", "/api/v2/assets/events", json={"asset_id": asset["id"]})
    runs = {name: stack.api.trigger(DAG_ID) for name in ("no", "silence")}
    by_asset = {"run_type": "asset_triggered"}
    (runs["yes"],) = wait(
        "the asset starts a run",
        lambda: {run["dag_run_id"] for run in stack.api.runs(DAG_ID, **by_asset)} - known,
    )
    for run_id in runs.values():
        wait(
            f"{run_id} asks",
            lambda run_id=run_id: states(stack, run_id).get(ASK) == "awaiting_input",
        )
    time.sleep(SETTLED)
    return runs


def test_a_no_leaves_the_champion_and_is_no_failure(
    stack: Any, challenge: tuple[int, int], asked: dict[str, str]
) -> None:
    champion, challenger = challenge
    question = stack.api.request("GET", path(asked["no"]))
    assert question["subject"] == f"Shall v{challenger} become the champion?"
    assert f"| champion v{champion} | challenger v{challenger} |" in question["body"]
    assert question["options"] == ["Approve", "Reject"]
    with pytest.raises(AirflowError, match="400"):
        stack.api.request("PATCH", path(asked["no"]), json={"chosen_options": ["Perhaps"]})
    stack.api.request("PATCH", path(asked["no"]), json={"chosen_options": ["Reject"]})
    assert finish(stack, asked["no"]) == "success"
    found = states(stack, asked["no"])
    assert (found["promote"], found["keep"]) == ("skipped", "success")
    assert registry.alias_version(CHAMPION, stack.settings) == champion
    expected = f"v{champion} stays the champion: admin rejected v{challenger}"
    assert headline(stack, asked["no"]).lower() == expected.lower()


def test_silence_counts_as_a_no_when_the_time_has_run_out(
    stack: Any, challenge: tuple[int, int], asked: dict[str, str]
) -> None:
    engine = sqlalchemy.create_engine(stack.env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    with engine.begin() as connection:
        # As if the question had been asked a day earlier.
        changed = connection.execute(
            sqlalchemy.text(
                "UPDATE task_instance SET trigger_timeout = trigger_timeout - INTERVAL '24 hours' "
                "WHERE run_id = :run AND task_id = :task AND trigger_timeout > now()"
            ),
            {"run": asked["silence"], "task": ASK},
        )
    engine.dispose()
    assert changed.rowcount == 1
    assert finish(stack, asked["silence"]) == "success"
    found = states(stack, asked["silence"])
    assert (found["promote"], found["keep"]) == ("skipped", "success")
    assert registry.alias_version(CHAMPION, stack.settings) == challenge[0]
    assert "nobody decided" in headline(stack, asked["silence"])
    # The other questions still wait.
    assert states(stack, asked["yes"])[ASK] == "awaiting_input"


def test_a_yes_makes_the_challenger_champion_once(
    stack: Any, challenge: tuple[int, int], asked: dict[str, str]
) -> None:
    _, challenger = challenge
    answer = {"chosen_options": ["Approve"]}
    stack.api.request("PATCH", path(asked["yes"]), json=answer)
    with pytest.raises(AirflowError, match="409"):
        stack.api.request("PATCH", path(asked["yes"]), json={"chosen_options": ["Reject"]})
    assert finish(stack, asked["yes"]) == "success"
    settings = stack.settings
    assert registry.alias_version(CHAMPION, settings) == challenger
    assert registry.alias_version(STAGING, settings) == challenger
    version = registry.client(settings).get_model_version(settings.model_name, str(challenger))
    assert version.tags[APPROVED_BY].lower() == "admin"
    assert "approved by" in headline(stack, asked["yes"])
