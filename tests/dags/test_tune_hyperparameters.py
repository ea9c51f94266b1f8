"""tune_hyperparameters on real months: two workers, one study, a few small trials."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import states

Run = Callable[..., Any]
TRIALS = 5


def verdict(dag_run: Any) -> dict[str, Any]:
    """What the report task of a run wrote."""
    from flightdelays import pages

    place = pages.folder(dag_run.dag_id, dag_run.run_id)
    return dict(json.loads((place / "verdict.json").read_text("utf-8")))


@pytest.fixture(scope="module")
def studies(workplace: Path) -> Iterator[str]:
    """The database of the studies."""
    from flightdelays.settings import get_settings

    address = f"sqlite:///{workplace}/optuna.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLIGHTDELAYS_OPTUNA_STORAGE", address)
        get_settings.cache_clear()
        yield address
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def tuned(lake_of_nine_months: Any, studies: str, run: Run) -> Any:
    return run(
        "tune_hyperparameters",
        trials=TRIALS,
        rows=1_000,
        workers=2,
        train_from="2013-07",
        validation_month="2013-09",
    )


def test_two_workers_finish_the_budget_of_one_study(
    tuned: Any, studies: str, workplace: Path
) -> None:
    import optuna

    assert tuned.state == "success"
    outcome = states(tuned)
    assert outcome["worker[0]"] == outcome["worker[1]"] == "success"
    found = optuna.load_study(study_name=tuned.run_id, storage=studies)
    assert len(found.trials) == TRIALS
    assert all(trial.state.is_finished() for trial in found.trials)
    data = verdict(tuned)["data"]
    assert data["complete"] + data["pruned"] == TRIALS
    assert data["params"] == found.best_params
    assert data["score"] == found.best_value
    assert list((workplace / "lake/runs").rglob("*")) == []


def test_the_parameters_and_plots_are_in_mlflow(tuned: Any) -> None:
    from flightdelays import registry

    found = verdict(tuned)["data"]
    service = registry.client()
    logged = service.get_run(found["run_id"])
    for name, value in found["params"].items():
        assert float(logged.data.params[name]) == value
    assert logged.data.metrics["pr_auc"] == found["after"]["pr_auc"]
    plots = {file.path for file in service.list_artifacts(found["run_id"])}
    assert plots >= {"history.svg", "learning_curves.svg"}


def test_what_a_worker_does_after_a_failure_depends_on_its_kind(dagbag: Any) -> None:
    from airflow.sdk import RetryAction

    from flightdelays.errors import LakeError, ServiceError

    worker = dagbag.dags["tune_hyperparameters"].get_task("worker")
    policy = worker.partial_kwargs["retry_policy"]
    down = policy.evaluate(ServiceError("no answer"), 1, 5)
    assert (down.action, down.retry_delay.total_seconds()) == (RetryAction.RETRY, 3)
    assert policy.evaluate(LakeError("gone"), 1, 5).action == RetryAction.FAIL
    assert policy.evaluate(MemoryError(), 1, 5).action == RetryAction.DEFAULT


def test_production_training_is_given_a_free_slot_first(dagbag: Any) -> None:
    production = dagbag.dags["train_delay_model"].get_task("train")
    worker = dagbag.dags["tune_hyperparameters"].get_task("worker")
    assert worker.pool == production.pool == "training"
    assert worker.partial_kwargs["weight_rule"] == "absolute"
    assert worker.partial_kwargs["priority_weight"] == 1
    waiting = production.get_flat_relatives(upstream=False)
    assert production.weight_rule == "downstream"
    assert production.priority_weight + sum(task.priority_weight for task in waiting) > 1
