"""model_tournament on real months: a contest, one with candidates that fail, one from elsewhere."""

import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from flightdelays.perpetual import REQUIREMENTS

from .conftest import states

Run = Callable[..., Any]
MONTHS = {"train_from": "2013-08", "validation_month": "2013-09"}
BIN = Path(sys.executable).parent


@pytest.fixture(autouse=True, scope="module")
def _path() -> Iterator[None]:
    """The commands of the environment stand on the path, as in the stack."""
    import os

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
        yield


def verdict(dag_run: Any) -> dict[str, Any]:
    """What the report task of a run wrote."""
    from flightdelays import pages

    place = pages.folder(dag_run.dag_id, dag_run.run_id)
    return dict(json.loads((place / "verdict.json").read_text("utf-8")))


def labels_of(dag_run: Any, task_id: str) -> list[str]:
    """What the UI calls the mapped instances of a task."""
    found = [ti for ti in dag_run.get_task_instances() if ti.task_id == task_id]
    return [ti.rendered_map_index for ti in sorted(found, key=lambda ti: ti.map_index)]


@pytest.fixture(scope="module")
def contest(lake_of_nine_months: Any, run: Run) -> Any:
    """A contest of two models of this environment."""
    return run("model_tournament", models=["xgboost", "hist_gradient"], **MONTHS)


def test_each_model_is_an_instance_and_the_best_one_wins(contest: Any, workplace: Path) -> None:
    assert contest.state == "success"
    outcome = states(contest)
    assert {key: outcome[key] for key in ("compete[0]", "compete[1]")} == {
        "compete[0]": "success",
        "compete[1]": "success",
    }
    assert labels_of(contest, "compete") == ["xgboost", "hist_gradient"]
    assert {outcome[key] for key in outcome if key.startswith("elsewhere.")} == {"skipped"}
    assert list((workplace / "lake/runs").rglob("*")) == []
    found = verdict(contest)["data"]
    assert found["missing"] == []
    best = max(found["standings"], key=lambda standing: standing["pr_auc"])
    assert found["winner"] == best["model"]


def test_scores_are_those_of_the_logged_model_on_the_later_month(contest: Any) -> None:
    from flightdelays import dataset, evaluation, registry, runs, training_set

    window = runs.Window("2013-08", "2013-08", "2013-09")
    training, validation = dataset.split(training_set.build(window), window)
    for standing in verdict(contest)["data"]["standings"]:
        (logged,) = registry.client().search_logged_models(
            ["1"], f"source_run_id = '{standing['run_id']}'"
        )
        model = registry.load_model(logged.model_uri)
        later = evaluation.predict(model, validation)
        assert standing["pr_auc"] == pytest.approx(
            average_precision_score(validation["late"], later)
        )
        called = later >= standing["threshold"]
        assert standing["f1"] == pytest.approx(f1_score(validation["late"], called))
        seen = evaluation.predict(model, training)
        others = [f1_score(training["late"], seen >= t) for t in np.linspace(0.05, 0.95, 19)]
        assert f1_score(training["late"], seen >= standing["threshold"]) >= max(others)


def test_candidates_that_fail_do_not_stop_the_one_that_does_not(
    contest: Any, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No package index can be reached, and scikit-learn refuses a seed that XGBoost takes."""
    from flightdelays.settings import get_settings

    monkeypatch.setenv("FLIGHTDELAYS_SEED", str(2**32))
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path))
    get_settings.cache_clear()
    models = ["hist_gradient", "perpetual", "xgboost"]
    try:
        done = run("model_tournament", models=models, **MONTHS)
    finally:
        get_settings.cache_clear()
    assert done.state == "success"
    outcome = states(done)
    assert outcome["compete[0]"] == "failed"
    assert outcome["compete[1]"] == "success"
    assert outcome["elsewhere.fit[0]"] == "failed"
    assert outcome["elsewhere.judge[0]"] == "upstream_failed"
    assert outcome["clean_up"] == "success"
    found = verdict(done)
    assert found["headline"].startswith("xgboost won of 1")
    assert found["data"]["missing"] == ["hist_gradient", "perpetual"]
    # It takes no chances: the same rows gave the same scores before.
    (alone,) = found["data"]["standings"]
    (before,) = [s for s in verdict(contest)["data"]["standings"] if s["model"] == "xgboost"]
    for name in ("pr_auc", "f1", "auc", "log_loss", "threshold"):
        assert alone[name] == before[name]


def test_a_candidate_from_an_environment_of_its_own_is_judged_here(
    contest: Any, run: Run, workplace: Path
) -> None:
    asked = [BIN / "uv", "pip", "install", "--dry-run", "--target", workplace / "none"]
    reached = subprocess.run([*asked, *REQUIREMENTS], capture_output=True, text=True, check=False)
    if reached.returncode:
        reason = f"perpetual was not tried, the package index: {reached.stderr.strip()[-300:]}"
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)
    done = run("model_tournament", models=["perpetual"], **MONTHS)
    assert done.state == "success"
    outcome = states(done)
    assert outcome["compete"] == "skipped"
    assert outcome["elsewhere.fit[0]"] == outcome["elsewhere.judge[0]"] == "success"
    assert labels_of(done, "elsewhere.fit") == labels_of(done, "elsewhere.judge") == ["perpetual"]
    (standing,) = verdict(done)["data"]["standings"]
    # Better than chance by far, and no better than what is possible: 0.13 of the flights are late.
    assert 0.35 < standing["pr_auc"] < 0.5
    assert list((workplace / "lake/runs").rglob("*")) == []


def test_a_contest_that_nobody_finishes_fails_and_says_so(
    lake_of_nine_months: Any, run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    done = run("model_tournament", models=["logistic"], validation_month="2013-12")
    assert done.state == "failed"
    outcome = states(done)
    assert outcome["compete"] == "upstream_failed"
    assert outcome["compare"] == "failed"
    assert outcome["clean_up"] == "success"
    said = "".join(capfd.readouterr())
    assert "2013-12 has not landed" in said
    assert "none of the 1 candidates (logistic) finished" in said
