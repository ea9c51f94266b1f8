"""A candidate is judged beside the champion, on the same later rows."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flightdelays import assessment, dataset, evaluation, registry, report
from flightdelays.dataset import LABEL
from flightdelays.gate import gate
from flightdelays.runs import Window
from flightdelays.settings import Settings


@pytest.fixture(scope="module")
def own(settings: Settings) -> Settings:
    return settings.model_copy(update={"model_name": "assessed"})


@pytest.fixture(scope="module")
def alone(
    own: Settings, candidate: dict[str, Any], training_file: str, window: Window
) -> dict[str, Any]:
    """What is found when nothing has been deployed so far."""
    return assessment.evaluate(training_file, window, candidate, "alone", own)


@pytest.fixture(scope="module")
def beside_itself(
    alone: dict[str, Any],
    own: Settings,
    candidate: dict[str, Any],
    training_file: str,
    window: Window,
    rows: pd.DataFrame,
) -> dict[str, Any]:
    """What is found when the candidate itself has become champion."""
    registry.deploy(candidate["run_id"], candidate["address"], rows.head(10), own)
    return assessment.evaluate(training_file, window, candidate, "beside", own)


def test_without_a_champion_there_is_none(alone: dict[str, Any]) -> None:
    assert alone["champion"] is None


def test_metrics_are_those_of_the_validation_month(
    alone: dict[str, Any],
    candidate: dict[str, Any],
    rows: pd.DataFrame,
    window: Window,
    own: Settings,
) -> None:
    _, validation = dataset.split(rows, window)
    model = registry.load_model(candidate["address"], own)
    expected = evaluation.measure(validation[LABEL], evaluation.predict(model, validation))
    assert alone["metrics"] == pytest.approx(expected.as_dict())
    assert alone["validation_rows"] == len(validation)
    assert alone["train_rows"] == candidate["rows"]


def test_the_month_that_judges_is_harder_than_those_it_learnt_from(
    alone: dict[str, Any],
) -> None:
    months = alone["monthly_auc"]
    assert list(months) == ["2013-01", "2013-02", "2013-03"]
    assert months["2013-03"] == pytest.approx(alone["metrics"]["auc"])
    assert months["2013-03"] < min(months["2013-01"], months["2013-02"])


def test_the_champion_is_measured_on_the_same_rows(
    alone: dict[str, Any], beside_itself: dict[str, Any]
) -> None:
    assert beside_itself["champion"] == {"version": 1} | beside_itself["metrics"]
    assert beside_itself["metrics"] == alone["metrics"]


def test_the_champion_does_not_beat_itself(beside_itself: dict[str, Any], own: Settings) -> None:
    decision = gate(beside_itself["metrics"], beside_itself["champion"], own)
    assert not decision.deploy
    assert "no better than the champion" in decision.reasons[-1]


def test_metrics_and_plots_are_logged_to_the_run(
    beside_itself: dict[str, Any], candidate: dict[str, Any], own: Settings
) -> None:
    service = registry.client(own)
    run = service.get_run(candidate["run_id"])
    assert run.data.metrics == pytest.approx(beside_itself["metrics"])
    files = {file.path for file in service.list_artifacts(candidate["run_id"], "evaluation")}
    plots = {"roc.svg", "precision_recall.svg", "calibration.svg", "monthly_auc.svg"}
    assert {f"evaluation/{name}" for name in plots} <= files


def test_the_champion_stands_in_the_plots(beside_itself: dict[str, Any], own: Settings) -> None:
    plot = report.report_folder("beside", own) / "roc.svg"
    assert "champion v1" in plot.read_text("utf-8")
    assert "champion" not in (report.report_folder("alone", own) / "roc.svg").read_text("utf-8")


def test_who_has_not_drawn_them_fetches_the_plots_from_the_run(
    beside_itself: dict[str, Any], candidate: dict[str, Any], own: Settings, tmp_path: Path
) -> None:
    """As in a cluster, where the report is written in another pod."""
    elsewhere = own.model_copy(update={"site": str(tmp_path / "site")})
    months = Window("2013-01", "2013-02", "2013-03")
    path = report.write(months, candidate, beside_itself, None, "page.html", "far", elsewhere)
    assert "champion v1" in Path(path).with_name("roc.svg").read_text("utf-8")
    assert Path(path).with_name("index.html").exists()
